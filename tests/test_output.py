from decimal import Decimal
from typing import Any

import pytest

from framework import Output, OutputError
from framework.output import SOURCE_HEADERS, OutputRecord


@pytest.fixture
def out() -> Output:
    return Output("keycount", "orders", 3)


def sources(records: list[OutputRecord]) -> list[tuple[str, ...]]:
    """The source headers of each output: plugin, topic, partition, offset and index."""
    return [tuple((dict(record.headers)[name] or b"").decode() for name in SOURCE_HEADERS) for record in records]


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"\xff", b"\xff"),
        ("ä", "ä".encode()),
        ("", b""),
        (None, None),
        (1, b"1"),
        (1.5, b"1.5"),
        (True, b"true"),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        ([], b"[]"),
    ],
)
def test_keys_and_values_go_over_the_wire(out: Output, value: Any, wire: bytes | None) -> None:
    out._begin_record(7)
    out.send("totals", value, key=value)
    (record,) = out._take()
    assert (record.topic, record.key, record.value) == ("totals", wire, wire)


@pytest.mark.parametrize("value", [{1, 2}, Decimal("0.1"), object(), float("nan"), float("inf"), "\ud800", bytearray()])
@pytest.mark.parametrize("part", ["key", "value"])
def test_what_cannot_go_over_the_wire_is_refused(out: Output, value: Any, part: str) -> None:
    out._begin_record(7)
    with pytest.raises(OutputError, match=f"cannot send a {type(value).__name__}"):
        out.send("totals", **{"value": 1, part: value})
    assert out._take() == []


def test_headers_name_the_output(out: Output) -> None:
    for offset in (7, 9):
        out._begin_record(offset)
        out.send("totals", 1, headers=[("mine", b"x"), ("none", None)])
        out.send("totals", 2)
    records = out._take()
    assert records[0].headers[:2] == (("mine", b"x"), ("none", None))
    assert sources(records) == [
        ("keycount", "orders", "3", "7", "0"),
        ("keycount", "orders", "3", "7", "1"),
        ("keycount", "orders", "3", "9", "0"),
        ("keycount", "orders", "3", "9", "1"),
    ]


def test_a_batch_names_its_outputs_as_its_records_would(out: Output) -> None:
    out._begin_batch([7, 9, 12])
    for position in (0, 0, 2):
        out.send("totals", 1, position=position)
    assert [source[3:] for source in sources(out._take())] == [("7", "0"), ("7", "1"), ("12", "0")]


@pytest.mark.parametrize("position", [None, -1, 3])
def test_a_batch_needs_the_position_of_a_record(out: Output, position: int | None) -> None:
    out._begin_batch([7, 9, 12])
    with pytest.raises(OutputError, match="position"):
        out.send("totals", 1, position=position)


def test_a_batch_must_send_in_record_order(out: Output) -> None:
    out._begin_batch([7, 9])
    out.send("totals", 1, position=1)
    with pytest.raises(OutputError, match="in record order"):
        out.send("totals", 1, position=0)


def test_the_input_topic_is_refused(out: Output) -> None:
    out._begin_record(7)
    with pytest.raises(OutputError, match="own input topic orders"):
        out.send("orders", 1)


def test_what_a_failed_record_sent_is_forgotten(out: Output) -> None:
    out._begin_record(7)
    out.send("totals", "kept")
    mark = out._mark()
    out._begin_record(8)
    out.send("totals", "lost")
    out._cut(mark)
    out._begin_record(8)
    out.send("totals", "sent again")
    records = out._take()
    assert [record.value for record in records] == [b"kept", b"sent again"]
    assert sources(records)[1][3:] == ("8", "0")


def test_outputs_are_taken_once(out: Output) -> None:
    out._begin_record(7)
    out.send("totals", 1)
    assert len(out._take()) == 1
    assert out._take() == []


def test_what_is_refused_is_taken_once_and_cut_with_the_rest(out: Output) -> None:
    first, second = ValueError("first"), ValueError("second")
    out._begin_batch([7, 9, 12])
    out.refuse(2, second)
    out.refuse(0, first)
    assert out._take_refused() == {0: first, 2: second}
    assert out._take_refused() == {}
    out.refuse(1, first)
    out._cut(out._mark())
    assert out._take_refused() == {}


@pytest.mark.parametrize("position", [-1, 3])
def test_only_records_of_the_batch_can_be_refused(out: Output, position: int) -> None:
    out._begin_batch([7, 9, 12])
    with pytest.raises(OutputError, match=r"out\.refuse needs the position"):
        out.refuse(position, ValueError())
    out._begin_record(7)
    with pytest.raises(OutputError, match="in process, raise the error"):
        out.refuse(0, ValueError())
