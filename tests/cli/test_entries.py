import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.cli.entries import Entry, entry_line, entry_rows, ordered
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


def test_top_needs_numbers() -> None:
    with pytest.raises(UsageError, match=r'must be numbers; that of "" is a dict'):
        ordered(entries({"a": 1, "": {}}), 3)


def test_what_looks_alike_is_told_apart() -> None:
    state = dict.fromkeys([None, "", "null", "a b", " a", "1", "é", "tab\t", "\ud800", '"', "a"], 1)
    assert [key for key, _ in texts(state)] == [
        *("null", '""', '"null"', "a b", '" a"', "1", "é"),
        *('"tab\\t"', '"\\ud800"', '"\\""', "a"),
    ]
    assert [key for key, _ in texts({1: 0, "1": 0, "a": 0})] == ["1", '"1"', '"a"']


def test_values_as_a_person_wants_them() -> None:
    values = [None, 1, 1.5, Decimal("1.50"), "x", ["a", {"b": 1}], datetime(2024, 5, 1, tzinfo=UTC), b"x", 10**5000]
    shown = [value for _, value in texts(dict(enumerate(values)))]
    assert shown[:8] == [
        *("null", "1", "1.5", "1.50", "x", '["a", {"b": 1}]', "2024-05-01 00:00:00+00:00"),
        '{"$bytes": "eA=="}',
    ]


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
