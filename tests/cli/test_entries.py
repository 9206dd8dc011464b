import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import PluginError, Processor
from framework.cli.entries import Entry, entries_of, entry_line, entry_rows, keys_named, ordered, shown
from framework.codecs.json import JsonCodec
from framework.errors import UsageError
from framework.stores import Unit

UNIT = Unit("g", "keycount", "tést", 3)


def entries(state: dict[Any, Any]) -> list[Entry]:
    return [Entry(UNIT, key, value) for key, value in state.items()]


def keys(state: dict[Any, Any], top: int | None = None) -> list[Any]:
    return [entry.key for entry in ordered(entries(state), top)]


def texts(state: dict[Any, Any]) -> list[tuple[str, str]]:
    return [(row["key"], row["value"]) for row in entry_rows(entries(state))]


def test_numbers_go_by_value_then_key() -> None:
    state = {"b": 2, "a": 2, "c": Decimal("2.5"), "d": -1.5, "e": math.nan, "f": math.inf, "g": Decimal("NaN")}
    assert keys(state)[:5] == ["f", "c", "a", "b", "d"]
    assert keys(state, 2) == ["f", "c"]


def test_other_values_go_by_key() -> None:
    assert keys({"b": "x", "a": 2, None: 3, 10: 0, 9: 0, 2.5: 0}) == [2.5, 9, 10, "a", "b", None]


NAMED = {"a": {"n": 2, "in": {"x": [1, 9]}}, "b": {"n": 3, "in": {"x": [1, 8]}}}


@pytest.mark.parametrize(
    ("state", "by", "expected"),
    [
        ({"a": "x", "b": "y"}, None, ["b", "a"]),
        ({"a": date(2024, 1, 1), "b": date(2023, 1, 1)}, None, ["a", "b"]),
        (NAMED, "n", ["b", "a"]),
        (NAMED, "in.x.1", ["a", "b"]),
        ({"a": (1, 2), "b": [3, 4]}, "0", ["b", "a"]),
        ({"d": {}, "c": {"n": None}, "b": {"n": 1}, "a": 5, "e": {"n": 2}}, "n", ["e", "b", "a", "c", "d"]),
    ],
)
def test_top_goes_by_values_or_a_field_of_them(state: dict[Any, Any], by: str | None, expected: list[str]) -> None:
    assert [entry.key for entry in ordered(entries(state), 5, by=by, top=True)] == expected
    assert [entry.key for entry in ordered(entries(state), 1, by=by, top=True)] == expected[:1]


@pytest.mark.parametrize(
    ("state", "by", "told"),
    [
        ({"a": 1, "": {"n": 1}}, None, 'but the value of "" is a dict; name one of its fields with --by (it has: n)'),
        ({"a": (1, 2)}, None, "but the value of a is a tuple; name one of its fields with --by (it has: 0 to 1)"),
        ({"a": 1, "b": "x"}, None, "but the value of b is a str"),
        ({"a": None}, None, "but the value of a is a NoneType"),
        ({"a": []}, None, "but the value of a is a list"),
        (NAMED, "in", "but field in of a is a dict; name one of its fields with --by (it has: x)"),
        (NAMED, "m", "--by m: the value of a has no such field (it has: n, in)"),
        (NAMED, "in.x.2", "--by in.x.2: the value of a has no such field"),
        ({"a": [1]}, "-1", "--by -1: the value of a has no such field (it has: 0)"),
        ({"a": 5}, "n", "--by n: the value of a has no such field (it is 5)"),
        ({"a": datetime(2024, 1, 1), "b": datetime(2024, 1, 1, tzinfo=UTC)}, None, "cannot be ordered: can't compare"),
    ],
)
def test_values_that_cannot_be_ordered_are_refused(state: dict[Any, Any], by: str | None, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        ordered(entries(state), 3, by=by, top=True)
    assert told in str(caught.value)


@given(
    st.dictionaries(st.text(max_size=2), st.integers(0, 3) | st.floats() | st.decimals(), max_size=30),
    st.integers(1, 10),
)
def test_a_limit_gives_the_first_of_all(state: dict[str, Any], limit: int) -> None:
    assert keys(state, limit) == keys(state)[:limit]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a", ["a"]),
        ("null", ["null", None]),
        ('"null"', ["null"]),
        ("1", ["1", 1]),
        ("2.50", [Decimal("2.50")]),
        ("true", [True]),
        ('(1, "x")', [(1, "x")]),
        ('[1, "x"]', [(1, "x")]),
        ('{"$tuple": [1, "x"]}', [(1, "x")]),
        ("2024-05-01", [date(2024, 5, 1)]),
        ("b'x'", [b"x"]),
        ("", [""]),
        ("{}", []),
        ("[[1]]", []),
        ("\ud800", []),
    ],
)
def test_keys_are_named_as_they_are_shown_or_as_json(text: str, named: list[Any]) -> None:
    known: list[Any] = ["a", "null", None, "1", Decimal("2.50"), (1, "x"), date(2024, 5, 1), b"x", ""]
    assert keys_named([*known, True if text == "true" else 1], text) == named


def test_what_looks_alike_is_told_apart() -> None:
    state = dict.fromkeys([None, "", "null", "a b", " a", "1", "é", "tab\t", "\ud800", '"', "a"], 1)
    assert [key for key, _ in texts(state)] == [
        *("null", '""', '"null"', "a b", '" a"', "1", "é"),
        *('"tab\\t"', '"\\ud800"', '"\\""', "a"),
    ]
    assert [key for key, _ in texts({1: 0, "1": 0, "a": 0})] == ["1", '"1"', '"a"']


def test_values_as_a_person_wants_them() -> None:
    values = [None, 1, 1.5, Decimal("1.50"), "x", ["a", {"b": 1}], datetime(2024, 5, 1, tzinfo=UTC), b"x", 10**5000]
    shown_values = [value for _, value in texts(dict(enumerate(values)))]
    assert shown_values[:8] == [
        *("null", "1", "1.5", "1.50", "x", '["a", {"b": 1}]', "2024-05-01 00:00:00+00:00"),
        "b'x'",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, "x"), '(1, "x")'),
        (("x",), '("x",)'),
        ((), "()"),
        ((None, (True, b"y")), "(null, (true, b'y'))"),
        ([Decimal("1.50"), {"a": (1, 2)}], '[1.50, {"a": (1, 2)}]'),
        ({1: "a"}, '{1: "a"}'),
        ({"$tuple": [1]}, '{"$tuple": [1]}'),
        ({3, 1}, "{1, 3}"),
        (frozenset(), "set()"),
        (math.nan, "nan"),
        ("(1)", '"(1)"'),
        (date(2024, 5, 1), "2024-05-01"),
    ],
)
def test_what_json_lacks_is_readable(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x9b31m", "\u202e"])
def test_nothing_in_a_value_reaches_the_terminal_as_a_command(odd: str) -> None:
    for value in (odd, [odd], {"k": odd}, {odd: 1}, (odd,), [[odd]]):
        assert shown(value).isprintable()
        assert shown(value, quoted=True).isprintable()


def test_an_int_of_very_many_digits_is_shown() -> None:
    assert shown(10**5000) == shown([10**5000])[1:-1]


def test_partitions_are_shown_where_a_key_is_in_several() -> None:
    other = Unit("g", "keycount", "tést", 4)
    assert entry_rows([Entry(UNIT, "a", 1), Entry(other, "b", 2)])[0] == {"key": "a", "value": "1"}
    assert entry_rows([Entry(UNIT, "a", 1), Entry(other, "a", 2)])[1] == {
        "partition": "tést-4",
        "key": "a",
        "value": "2",
    }
    assert "partition" not in entry_rows([Entry(UNIT, 1, 1), Entry(other, True, 2)])[0]


def test_plain_values_are_plain_in_a_line() -> None:
    line = entry_line(Entry(UNIT, None, {"a": [1, "é"]}), "plugin", "topic", "partition")
    assert json.loads(line) == {
        "plugin": "keycount",
        "topic": "tést",
        "partition": 3,
        "key": None,
        "value": {"a": [1, "é"]},
    }


VALUES = st.one_of(
    st.none(), st.integers(), st.text(), st.binary(), st.decimals(allow_nan=False), st.tuples(st.integers(), st.text())
)


@given(key=VALUES, value=st.lists(VALUES) | st.dictionaries(VALUES, VALUES))
def test_a_line_loses_nothing(key: Any, value: Any) -> None:
    line = entry_line(Entry(UNIT, key, value), "topic")
    assert b"\n" not in line
    assert JsonCodec().decode(line) == {"topic": "tést", "key": key, "value": value}


# ---- entries that a plugin names


class Days(Processor):
    """Keeps days under keys that are not for readers."""

    api_version = 1

    @classmethod
    def entries(cls, state):
        return ({"key": key, "day": day, "value": value, "open": day > 1} for (day, key), value in state.items())


NAMED_STATE = {(2, "a"): 1, (1, "b"): 9, (1, "a"): 5}


def test_a_plugin_names_the_entries_of_its_state() -> None:
    found = entries_of(UNIT, NAMED_STATE, Days)
    assert [(entry.key, entry.value) for entry in found] == [("a", 1), ("b", 9), ("a", 5)]
    assert json.loads(entry_line(found[0], "plugin", "partition")) == {
        "plugin": "keycount",
        "partition": 3,
        "key": "a",
        "day": 2,
        "value": 1,
        "open": True,
    }
    assert entry_rows(found)[0] == {"key": "a", "day": "2", "value": "1", "open": "true"}
    assert entries_of(UNIT, {"a": 1}, Processor) == entries_of(UNIT, {"a": 1}, None) == [Entry(UNIT, "a", 1)]


def test_named_entries_go_by_key_and_then_as_the_plugin_gives_them() -> None:
    found = entries_of(UNIT, NAMED_STATE, Days)
    assert [(entry.key, entry.value) for entry in ordered(found)] == [("a", 1), ("a", 5), ("b", 9)]
    assert [entry.value for entry in ordered(found, by="day")] == [1, 5, 9]
    assert [entry.value for entry in ordered(found, 2, top=True)] == [9, 5]


def test_the_same_entry_in_two_partitions_is_told_apart() -> None:
    found = [*entries_of(UNIT, NAMED_STATE, Days), *entries_of(Unit("g", "keycount", "tést", 4), NAMED_STATE, Days)]
    assert {row["partition"] for row in entry_rows(found)} == {"tést-3", "tést-4"}


@pytest.mark.parametrize("state", [{"a": 1}, {(1, "a", 2): 1}])
def test_a_plugin_that_cannot_read_its_state_is_named(state: dict[Any, Any]) -> None:
    with pytest.raises(PluginError, match=r"plugin keycount cannot read the state of keycount on tést-3 .*ValueError"):
        entries_of(UNIT, state, Days)


def test_an_entry_without_a_value_is_told() -> None:
    class NoValue(Days):
        @classmethod
        def entries(cls, state: Any) -> Any:
            return [{"key": "a", "total": 3}]

    with pytest.raises(PluginError, match=r"plugin keycount: entries gives an entry with the fields key, total, but"):
        entries_of(UNIT, {}, NoValue)
