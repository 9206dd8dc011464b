"""What a plugin may send: checked when it is handed over."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Output, OutputError
from framework.output import OutputRecord, checked_output


class Topic(StrEnum):
    TOTALS = "totals"


class Shard(IntEnum):
    THIRD = 3


class Whole:
    """A whole number of another library."""

    def __index__(self) -> int:
        return 3


class Text(str):
    def encode(self, *_: Any) -> Any:
        return "no bytes"


class Data(bytes):
    def __bytes__(self) -> bytes:
        return b"other bytes"


def checked(**parts: Any) -> OutputRecord:
    return OutputRecord(*checked_output(**{"topic": "totals", "value": 1, "key": None, "headers": (), **parts}))


def test_a_plugin_sees_no_more_than_it_may_call():
    assert {name for name in vars(Output) if not name.startswith("_")} == {"send", "refuse"}


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"\xff", b"\xff"),
        (Data(b"data"), b"data"),
        (bytearray(b"\xff"), b"\xff"),
        (memoryview(b"abcdef")[::2], b"ace"),
        ("ä", "ä".encode()),
        pytest.param(Text("ä"), "ä".encode(), id="Text"),
        ("", b""),
        (1, b"1"),
        (1.5, b"1.5"),
        (True, b"true"),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        ([], b"[]"),
    ],
)
def test_keys_and_values_go_over_the_wire(value: Any, wire: bytes) -> None:
    assert checked(value=value, key=value) == OutputRecord("totals", wire, wire, ())
    assert checked(value=value, key=None).key is None
    assert checked(value=None, key=value).value is None


def test_what_can_change_later_is_copied() -> None:
    data = bytearray(b"before")
    record = checked(value=data, headers=[("name", data)])
    data[:] = b"after!"
    assert (record.value, record.headers) == (b"before", (("name", b"before"),))


def deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def circular() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


UNSENDABLE: dict[str, Any] = {
    "a set": {1, 2},
    "a decimal that is not finite": Decimal("NaN"),
    "bytes within": {"a": b"x"},
    "an object": object(),
    "NaN": float("nan"),
    "infinity": float("inf"),
    "NaN as a name": {float("nan"): 1},
    "a tuple as a name": {(1, 2): 3},
    "half a character": "\ud800",
    "nested too deep": deep(),
    "circular": circular(),
    "too long a number": 10**5000,
    "released memory": released(),
}


@pytest.mark.parametrize("name", UNSENDABLE)
@pytest.mark.parametrize("part", ["key", "value"])
def test_what_cannot_go_over_the_wire_is_refused(name: str, part: str) -> None:
    value = UNSENDABLE[name]
    with pytest.raises(
        OutputError, match=f"cannot send a {type(value).__name__}: .*; send bytes, str, None or what JSON"
    ):
        checked(**{part: value})


def test_a_null_key_with_a_null_value_is_refused() -> None:
    with pytest.raises(OutputError, match="totals has a null key and a null value"):
        checked(key=None, value=None)


@pytest.mark.parametrize("topic", ["a", "x" * 249, "A.b_c-9", "..."])
def test_names_of_topics_are_those_of_kafka(topic: str) -> None:
    assert checked(topic=topic).topic == topic


def test_the_name_of_a_topic_becomes_a_plain_str() -> None:
    assert type(checked(topic=Topic.TOTALS).topic) is str


@pytest.mark.parametrize("topic", ["", ".", "..", "x" * 250, "a b", "a/b", "ä", "a\n", "\ud800"])
def test_a_name_that_no_topic_can_have_is_refused(topic: str) -> None:
    with pytest.raises(OutputError, match="cannot name a topic; use 1 to 249 of"):
        checked(topic=topic)


@pytest.mark.parametrize("topic", [None, b"totals", 7, pytest.param(10**5000, id="huge"), ["totals"]])
def test_a_topic_that_is_no_text_is_refused(topic: Any) -> None:
    with pytest.raises(OutputError, match="a topic's name is a str, not"):
        checked(topic=topic)


@pytest.mark.parametrize(
    "headers",
    [
        [("a", b"1"), ("b", None), ("a", b"2")],
        (("a", b"1"), ("b", None), ("a", b"2")),
        iter([("a", b"1"), ("b", None), ("a", b"2")]),
        [["a", bytearray(b"1")], ["b", None], [Text("a"), memoryview(b"2")]],
    ],
    ids=["list", "tuple", "iterator", "lists"],
)
def test_headers_are_pairs(headers: Any) -> None:
    taken = checked(headers=headers).headers
    assert taken == (("a", b"1"), ("b", None), ("a", b"2"))
    assert {(type(name), type(value)) for name, value in taken} == {(str, bytes), (str, type(None))}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"a": b"1"}, "headers are {'a': b'1'}, not pairs"),
        ("ab", "headers are 'ab', not pairs"),
        (b"ab", "headers are b'ab', not pairs"),
        (None, "headers are None, not pairs"),
        (7, "headers are 7, not pairs"),
        (["ab"], "a header is 'ab', not a pair"),
        ([("a",)], r"a header is \('a',\), not a pair"),
        ([("a", b"1", b"2")], "not a pair"),
        ([{"a", b"1"}], "not a pair"),
        ([None], "a header is None, not a pair"),
        ([(b"a", b"1")], "the name of a header is b'a', not a str"),
        ([(None, b"1")], "the name of a header is None, not a str"),
        ([("a", "text")], "header 'a' is 'text', not bytes or None"),
        ([("a", 1)], "header 'a' is 1, not bytes or None"),
        ([("a", 10**5000)], "header 'a' is <int that cannot be shown: ValueError>, not bytes or None"),
    ],
)
def test_other_headers_are_refused_with_what_to_write(headers: Any, reason: str) -> None:
    with pytest.raises(OutputError, match=reason) as caught:
        checked(headers=headers)
    assert str(caught.value).endswith('; write headers=[("name", b"value")]')


def test_a_header_whose_name_is_no_unicode_is_refused() -> None:
    with pytest.raises(OutputError, match="is not Unicode text"):
        checked(headers=[("\ud800", b"")])


@pytest.mark.parametrize(
    ("part", "most"),
    [("partition", 2**31 - 1), ("timestamp", 2**63 - 1)],
)
def test_partition_and_timestamp_are_whole_numbers_within_what_kafka_holds(part: str, most: int) -> None:
    assert getattr(checked(), part) is None
    for value, taken in ((0, 0), (most, most), (Shard.THIRD, 3), (Whole(), 3)):
        record = checked(**{part: value})
        assert (getattr(record, part), type(getattr(record, part))) == (taken, int)
    for bad in (-1, most + 1, 1.0, True, "1", b"1", datetime.now(UTC), Decimal(1), [1], 10**5000):
        with pytest.raises(OutputError, match=rf"the {part} of an output to totals is .*; give an int .*leave {part}="):
            checked(**{part: bad})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries(dict.fromkeys(("topic", "value", "key", "headers", "partition", "timestamp"), ANYTHING)))
def test_it_is_taken_or_refused_whatever_it_is(parts: dict[str, Any]) -> None:
    try:
        record = checked(**parts)
    except OutputError:
        return
    assert type(record.topic) is str
    assert {type(record.key), type(record.value)} <= {bytes, type(None)}
    assert {type(record.partition), type(record.timestamp)} <= {int, type(None)}
    assert (record.key, record.value) != (None, None)
