import struct
import uuid
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import UsageError
from framework.formats import FORMATS, Format
from framework.plugins import load

BIG = 10**40
OPTIONLESS = [name for name in FORMATS if name not in ("avro", "csv", "protobuf")]


def format_named(name: str) -> Format:
    return load([]).format(name, "value")


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("utf8", "grün".encode(), "grün"),
        ("utf8", b"", ""),
        ("bytes", b"\xff\x00", b"\xff\x00"),
        ("json", b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ("json", b"1e3", 1000.0),
        ("json", str(BIG).encode(), BIG),
        ("json-decimal", b"[0.10, 1e2, 3]", [Decimal("0.10"), Decimal("1e2"), 3]),
        ("int", b"-42", -42),
        ("int", str(BIG).encode(), BIG),
        ("int32", b"\xff\xff\xff\xfe", -2),
        ("int64", b"\x00\x00\x00\x01\x00\x00\x00\x00", 2**32),
        ("float", b"2.5e-1", 0.25),
        ("double", struct.pack(">d", -0.5), -0.5),
        ("uuid", b"12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ],
)
def test_a_format_reads(name: str, data: bytes, value: object) -> None:
    read = format_named(name).read(data)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("utf8", b"\xff", "can't decode byte 0xff"),
        ("json", b"{", "truncated"),
        ("json", b"", "truncated"),
        ("json", b"1 2", "trailing characters"),
        ("json", b'"\xff"', "can't decode"),
        ("json", '{"a": 1}'.encode("utf-16"), "malformed"),
        ("json", b"NaN", "malformed"),
        ("json", b"[-Infinity]", "malformed|[Ii]nvalid"),
        ("json", b"1e999", "out of range"),
        ("json", b"[" * 100_000, "nested too deep"),
        ("json-decimal", b"NaN", "malformed"),
        ("json-decimal", b"1e9999999999999999999999", "beyond the range of a decimal"),
        ("int", b"4.2", "invalid literal"),
        ("int", b"1_000", "not a number"),
        ("int", b"", "invalid literal"),
        ("int32", b"\x00\x01", "2 bytes where 4 are needed"),
        ("int64", b"\x00\x00\x00\x01", "4 bytes where 8 are needed"),
        ("float", b"x", "could not convert"),
        ("float", b"1_0.5", "not a number"),
        ("double", b"1.5", "3 bytes where 8 are needed"),
        ("uuid", b"1234", "badly formed"),
    ],
)
def test_a_format_refuses_what_it_cannot_read(name: str, data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        format_named(name).read(data)
    with pytest.raises((ValueError, RecursionError)):
        format_named(name).read_column([None, data])


@pytest.mark.parametrize("name", OPTIONLESS)
def test_a_column_keeps_its_nulls(name: str) -> None:
    assert list(format_named(name).read_column([None, None])) == [None, None]


def test_of_a_name_that_comes_twice_the_last_one_counts() -> None:
    assert format_named("json").read(b'{"a": 1, "a": 2}') == {"a": 2}


def test_a_column_is_read_in_order() -> None:
    assert format_named("int").read_column([b"1", None, b"3"]) == [1, None, 3]


def test_a_column_of_bytes_is_not_copied() -> None:
    column = [b"a", None]
    assert format_named("bytes").read_column(column) is column


@given(st.integers(-(2**63), 2**63 - 1))
def test_int64_is_what_kafka_writes(number: int) -> None:
    assert format_named("int64").read(number.to_bytes(8, "big", signed=True)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_json_decimal_loses_no_digit(number: Decimal) -> None:
    read = format_named("json-decimal").read(f"[{number}]".encode())
    assert read == [number]


def test_an_unknown_format_is_told_with_the_closest_or_else_with_all() -> None:
    with pytest.raises(UsageError, match=r"no format named 'jsn' \(did you mean json\b"):
        format_named("jsn")
    with pytest.raises(UsageError, match="no format named 'xylophone'; there are: ") as caught:
        format_named("xylophone")
    assert all(name in str(caught.value) for name in FORMATS)
