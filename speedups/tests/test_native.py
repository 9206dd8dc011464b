"""The extension against aiokafka's decoder, and against damaged bytes: they give an error or columns, never a crash."""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.codec import gzip_decode, gzip_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, encode_varint
from hypothesis import example, given
from hypothesis import strategies as st

speedups = pytest.importorskip("framework_speedups", reason="framework-speedups is not installed")

HEADER = struct.Struct(">qiibIhiqqqhii")
COLUMNS = ["offsets", "timestamps", "keys", "values", "headers"]
LENGTH_AT, CRC_AT, ATTRIBUTES_AT, LAST_OFFSET_DELTA_AT, COUNT_AT = 8, 17, 21, 23, 57
GZIP, CONTROL, TRANSACTIONAL = 0x01, 0x20, 0x10

BYTES = st.none() | st.binary(max_size=4) | st.integers(60, 20_000).map(bytes)
RECORDS = st.lists(
    st.tuples(
        st.integers(-(2**62), 2**62),
        st.none() | st.text(max_size=4).map(str.encode) | st.integers(60, 20_000).map(lambda size: b"k" * size),
        BYTES,
        st.lists(st.tuples(st.text(max_size=4), BYTES), max_size=3),
    ),
    min_size=1,
    max_size=6,
)


FIELDS = {
    "base_offset": 5,
    "length": 0,
    "leader_epoch": -1,
    "magic": 2,
    "crc": 0,
    "attributes": 0,
    "last_offset_delta": 0,
    "first_timestamp": 1000,
    "max_timestamp": 2000,
    "producer_id": -1,
    "producer_epoch": -1,
    "base_sequence": -1,
    "count": 1,
}


def _batch(body: bytes, **fields: int) -> bytes:
    """A batch around a body, whose header says this."""
    return HEADER.pack(*{**FIELDS, "length": HEADER.size - 12 + len(body), **fields}.values()) + body


def _record(*parts: int | bytes) -> bytes:
    """A record of these varints and bytes behind its attributes."""
    body = bytearray(b"\x00")
    for part in parts:
        if isinstance(part, int):
            encode_varint(part, body.append)
        else:
            body += part
    record = bytearray()
    encode_varint(len(body), record.append)
    return bytes(record + body)


def _built(records: Sequence[Any], base: int = 5) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 24)
    for number, record in enumerate(records):
        builder.append(2 * number, *record)
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def _columns(columns: Any) -> list[list[Any]]:
    return [list(getattr(columns, name)()) for name in COLUMNS]


def _read_all(data: bytes) -> Any:
    """Everything that can be read of these bytes, ValueErrors for damage aside."""
    try:
        found = speedups.batches(data)
        for batch in found:
            batch.validate_crc()
            assert batch.data in data
        columns = speedups.Columns(found, 0, _decompress)
    except ValueError:
        return None
    _columns(columns)
    with suppress(UnicodeDecodeError):
        columns.key_texts()
    return columns


def _decompress(codec: int, data: bytes) -> bytes:
    try:
        return bytes(gzip_decode(data))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError from error


def _aiokafkas(data: bytes) -> Iterator[Any]:
    batches = MemoryRecords(data)
    while batches.has_next():
        yield from batches.next_batch()


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_what_was_built_is_read(built, data):
    fetched = b"".join(_built(records, base=100 * number) for number, records in enumerate(built))
    batches = speedups.batches(fetched)
    assert b"".join(batch.data for batch in batches) == fetched
    assert all(batch.validate_crc() for batch in batches)
    position = data.draw(st.integers(0, 100 * len(built)))
    records = [record for record in _aiokafkas(fetched) if record.offset >= position]
    columns = speedups.Columns(batches, position)
    expected = [[getattr(record, name[:-1]) for record in records] for name in COLUMNS[:-1]]
    expected.append([tuple(record.headers) for record in records])
    assert _columns(columns) == expected
    assert columns.key_texts() == [None if record.key is None else record.key.decode() for record in records]
    first, stop = (data.draw(st.integers(-8, 8)) for _ in range(2))
    assert _columns(columns[first:stop]) == [column[first:stop] for column in expected]
    assert _columns(columns[first:stop][1:-1]) == [column[first:stop][1:-1] for column in expected]


@given(st.binary(max_size=300), st.integers(0, 300))
@example(b"123456789", 0)
def test_crc(data, repeated):
    for part in data, data * repeated, data[3:]:
        assert speedups.crc32c(part) == speedups.crc32c(part, portable=True) == calc_crc32c(part)


def test_crc_of_the_standard():
    assert speedups.crc32c(b"123456789") == speedups.crc32c(memoryview(b"123456789"), portable=True) == 0xE3069283


def test_crc_of_a_batch():
    batch = _built([(1000, b"key", b"value", [("name", b"value")])])
    assert speedups.batches(batch)[0].validate_crc()
    for place in range(ATTRIBUTES_AT, len(batch)):
        if place not in range(LAST_OFFSET_DELTA_AT, LAST_OFFSET_DELTA_AT + 4):
            (damaged,) = speedups.batches(batch[:place] + bytes([batch[place] ^ 1]) + batch[place + 1 :])
            assert not damaged.validate_crc()


SMALL = _built([(1000, b"k", b"v", []), (1001, None, None, [("n", b"v"), ("", None)])]) + _built(
    [(1002, b"\xc3\xa4", b"", [("\xe4", b"")])], base=100
)


def test_every_truncation():
    ends = [batch.next_offset for batch in speedups.batches(SMALL)]
    assert ends == [8, 101]
    for size in range(len(SMALL)):
        _read_all(SMALL[:size])
        _read_all(SMALL[size:])
        cut = bytearray(SMALL[:size])
        if size > HEADER.size:  # a whole batch, by its length
            cut[LENGTH_AT : LENGTH_AT + 4] = (size - 12).to_bytes(4, "big")
            _read_all(bytes(cut))


@pytest.mark.parametrize("whole", [SMALL, _batch(gzip_encode(SMALL[HEADER.size :]), attributes=GZIP, count=2)])
def test_every_other_byte_in_every_place(whole):
    read = 0
    for place in range(len(whole)):
        for byte in range(256):
            read += _read_all(whole[:place] + bytes([byte]) + whole[place + 1 :]) is not None
    assert 0 < read < 256 * len(whole)


@given(
    st.binary(max_size=60),
    st.integers(-2, 40) | st.sampled_from([2**31 - 1, -(2**31)]),
    st.integers(0, 255),
    st.integers(0, 2**31 - 1),
)
def test_any_records(body, count, attributes, last_offset_delta):
    _read_all(_batch(body, count=count, attributes=attributes, last_offset_delta=last_offset_delta))


VALID = (0, 0, -1, -1, 0)  # timestamp, offset, key, value, headers
WRONG: dict[str, tuple[bytes, str]] = {
    "no length": (b"\x80" * 7, "record 1 of 1 in the batch at offset 5: its length"),
    "an endless length": (b"\x80" * 11, "its length"),
    "a negative length": (b"\x01" + bytes(6), "its length"),
    "a length beyond the batch": (b"\x7e" + bytes(6), "its length"),
    "a key beyond the record": (_record(0, 0, 9, b"ab", 0, 0), "a length goes beyond"),
    "a huge value": (_record(0, 0, -1, 2**62, 0), "a length goes beyond"),
    "no offset": (_record(0, b"\x80\x80\x80\x80\x80\x80"), "its timestamp or offset"),
    "an offset behind the last": (_record(0, 1, -1, -1, 0), "its offset"),
    "a negative offset": (_record(0, -1, -1, -1, 0), "its offset"),
    "a negative number of headers": (_record(0, 0, -1, -1, -1), "its number of headers"),
    "too many headers": (_record(0, 0, -1, -1, 2**62), "a length is cut short"),
    "a header without a name": (_record(0, 0, -1, -1, 1, -1, -1), "a header has no name"),
    "a header's name that is no text": (_record(0, 0, -1, -1, 1, 1, b"\xff", -1), "not UTF-8"),
    "bytes behind the headers": (_record(*VALID, b"?"), "longer than its fields"),
    "bytes behind the records": (_record(*VALID) + b"?", "more bytes follow"),
    "too few bytes": (b"", "too short"),
}


@pytest.mark.parametrize(("body", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(body, reason):
    with pytest.raises(ValueError, match=reason):
        speedups.Columns(speedups.batches(_batch(body)))


def test_offsets_rise():
    same = _batch(_record(*VALID) * 2, count=2, last_offset_delta=1)
    with pytest.raises(ValueError, match=r"record 2 of 2 .* its offset"):
        speedups.Columns(speedups.batches(same))
    one = _batch(_record(*VALID))
    with pytest.raises(ValueError, match="offset 5 comes before 6"):
        speedups.Columns(speedups.batches(one + one))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"length": 48}, "48 bytes"),
        ({"length": -1}, "-1 bytes"),
        ({"base_offset": -1}, "offsets from -1"),
        ({"base_offset": 2**63 - 1}, "offsets from"),
        ({"last_offset_delta": -1}, r"\+ -1"),
    ],
)
def test_headers_that_cannot_be(fields, reason):
    with pytest.raises(ValueError, match=reason):
        speedups.batches(_batch(_record(*VALID), **fields))


@pytest.mark.parametrize("behind", [b"", bytes(16), bytes(100), _batch(b"", magic=1), _batch(b"", length=50)])
def test_batches_end_where_no_whole_one_of_this_format_begins(behind):
    (batch,) = speedups.batches(_batch(_record(*VALID)) + behind)
    assert (batch.base_offset, batch.next_offset) == (5, 6)
    assert speedups.batches(behind) == []


@pytest.mark.parametrize(("attributes", "expected"), [(0, 999), (0x08, 2000)])
def test_whose_timestamps_they_are(attributes, expected):
    columns = speedups.Columns(speedups.batches(_batch(_record(-1, 0, -1, -1, 0), attributes=attributes)))
    assert columns.timestamps() == [expected]


def test_headers_of_batches():
    (batch,) = speedups.batches(_batch(b"", attributes=CONTROL | TRANSACTIONAL, producer_id=2**40))
    assert (batch.is_control_batch, batch.is_transactional, batch.producer_id) == (True, True, 2**40)
    with pytest.raises(AttributeError):
        batch.producer_id = 1
    with pytest.raises(TypeError):
        type(batch)()


def test_offsets_are_a_range_where_they_can_be():
    columns = speedups.Columns(speedups.batches(_batch(_record(*VALID)) + _batch(_record(*VALID), base_offset=6)))
    assert columns.offsets() == range(5, 7)
    assert columns[:0].offsets() == range(0)
    assert speedups.Columns([]).offsets() == range(0)
    gap = speedups.Columns(speedups.batches(_batch(_record(*VALID)) + _batch(_record(*VALID), base_offset=8)))
    assert gap.offsets() == [5, 8]
    assert gap[1:].offsets() == range(8, 9)


def test_compressed_records():
    body = b"".join(_record(0, number, -1, -1, 0) for number in range(1000))
    compressed = gzip_encode(body)
    assert len(compressed) < 7 * 1000  # less than so many records have when they are not compressed
    fetched = _batch(compressed, attributes=GZIP, count=1000, last_offset_delta=999)
    asked = []

    def decompress(codec: int, data: bytes) -> bytes:
        asked.append((codec, data))
        return bytes(gzip_decode(data))

    columns = speedups.Columns(speedups.batches(fetched), 10, decompress)
    assert columns.offsets() == range(10, 1005)
    assert asked == [(GZIP, compressed)]


def _refuse(codec: int, data: bytes) -> bytes:
    raise KeyError(codec)


@pytest.mark.parametrize(
    ("decompress", "error"), [(_refuse, KeyError), (lambda codec, data: bytearray(data), TypeError), (None, TypeError)]
)
def test_decompressing_may_fail(decompress: Callable[[int, bytes], bytes], error):
    with pytest.raises(error):
        speedups.Columns(speedups.batches(_batch(_record(*VALID), attributes=GZIP)), 0, decompress)


def test_rows_keep_their_bytes_and_let_go_of_them():
    fetched = _batch(_record(0, 0, 3, b"key", -1, 0) + _record(0, 1, 3, b"yek", -1, 0), count=2, last_offset_delta=1)
    before = sys.getrefcount(fetched)
    columns = speedups.Columns(iter(speedups.batches(fetched)))[:][1:]
    assert sys.getrefcount(fetched) > before
    assert columns.keys() == [b"yek"]
    del columns
    assert sys.getrefcount(fetched) == before


def test_wrong_uses():
    columns = speedups.Columns([])
    for use in (
        lambda: columns[0],
        lambda: speedups.Columns([object()]),
        lambda: speedups.Columns(7),
        lambda: speedups.batches(bytearray()),
        lambda: speedups.crc32c("text"),
    ):
        with pytest.raises(TypeError):
            use()
    with pytest.raises(ValueError, match="step"):
        _ = columns[::2]
