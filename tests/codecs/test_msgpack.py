from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack
import pytest

from framework.codecs.msgpack import MsgpackCodec
from framework.errors import CodecError
from framework.testing.values import same

CODEC = MsgpackCodec()

EXTENSIONS: dict[int, tuple[Any, Any]] = {
    1: (2**64, "0x10000000000000000"),
    2: ((1, "x"), [1, "x"]),
    3: ({1}, [1]),
    4: (frozenset({1}), [1]),
    5: (datetime(2024, 2, 29, 12), "2024-02-29T12:00:00"),
    6: (date(2024, 2, 29), "2024-02-29"),
    7: (timedelta(1, 2, 3), [1, 2, 3]),
    8: (Decimal("1.10"), "1.10"),
    9: (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
}


@pytest.mark.parametrize("code", EXTENSIONS)
def test_the_numbers_of_the_extension_types_never_change(code: int) -> None:
    value, plain = EXTENSIONS[code]
    data = CODEC.encode(value)
    assert data == msgpack.packb(msgpack.ExtType(code, msgpack.packb(plain)))
    assert same(CODEC.decode(data), value)


@pytest.mark.parametrize(
    "value",
    [None, True, -(2**63), 2**64 - 1, -0.0, float("inf"), "é", b"\xff", [1, [2]], {1: {"a": 1}, b"k": [], None: 0.5}],
)
def test_what_msgpack_has_is_written_as_it_is(value: Any) -> None:
    assert CODEC.encode(value) == msgpack.packb(value)


def test_a_value_of_many_megabytes_comes_back() -> None:
    value = {"blob": bytes(2**24), "text": "x" * 2**24, "ints": list(range(2**20)), "tuple": (bytes(2**24),)}
    assert CODEC.decode(CODEC.encode(value)) == value


def test_what_could_not_be_read_back_is_refused_with_its_size() -> None:
    codec = MsgpackCodec(most_bytes=1000)
    value = {"blob": bytes(1000 - 9)}
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(CodecError, match="can decode 1,000 bytes at most, and this value takes 1,001; keep less in"):
        codec.encode({"blob": bytes(1001 - 9)})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "incomplete input"),
        (b"\x92\x01", "incomplete input"),
        (b"\xc1", "FormatError|Unknown header"),
        (b"\x01\x02", "extra data"),
        (b"\xa1\xff", "can't decode byte 0xff"),
        (b"\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
        (b"\x81\x90\x01", "unhashable type"),
        (msgpack.packb(msgpack.ExtType(99, b"")), "unknown extension type 99"),
        (b"\xc7\x00\xfe", "unknown extension type -2"),
        (msgpack.packb(msgpack.ExtType(2, b"\xa2ab")), "a tuple is not written as a str"),
        (msgpack.packb(msgpack.ExtType(2, b"\x90\x90")), "extra data"),
        (msgpack.packb(msgpack.ExtType(6, b"\xa2ab")), "Invalid isoformat string"),
    ],
)
def test_what_it_did_not_write_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=f"^codec msgpack cannot read these {len(data)} bytes: .*(?:{reason})"):
        CODEC.decode(data)


def test_a_timestamp_of_msgpack_is_read_as_a_supported_type() -> None:
    assert same(CODEC.decode(msgpack.packb([msgpack.Timestamp(1, 500_000_000)])), [1.5])
