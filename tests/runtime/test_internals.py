"""Runs of rows are what aiokafka itself reads of the same bytes, its own iteration being the plain twin."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import aiokafka
import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from framework.runtime.internals import _runs, runs_missing

TP = aiokafka.TopicPartition("orders", 3)
PRODUCERS = [7, 8]
COMPRESSIONS = [0, 1, 2, 3, 4]  # none, gzip, snappy, lz4, zstd
BASE_OFFSET_BYTES, ATTRIBUTES_AT, CRC_AT, CRC_FROM = 8, 22, 17, 21
CONTROL = 0x20
ABORT_KEY, COMMIT_KEY = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"

RECORD = st.tuples(
    st.integers(0, 2),  # offsets that compaction took before it
    st.integers(0, 9),
    st.none() | st.binary(max_size=4),
    st.none() | st.binary(max_size=4),
    st.lists(st.tuples(st.text(max_size=2), st.none() | st.binary(max_size=2)), max_size=2),
)


def _default_batch(base: int, records: Sequence[Any], compression: int = 0, producer: int = -1) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=producer >= 0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    delta = -1
    for gap, timestamp, key, value, headers in records:
        delta += 1 + gap
        builder.append(delta, timestamp=1000 + timestamp, key=key, value=value, headers=headers)
    return base.to_bytes(8, "big") + bytes(builder.build())[BASE_OFFSET_BYTES:]


def _control_batch(base: int, producer: int, key: bytes) -> bytes:
    batch = bytearray(_default_batch(base, [(0, 0, key, b"\x00\x00\x00\x00\x00\x00", [])], 0, producer))
    batch[ATTRIBUTES_AT] |= CONTROL
    batch[CRC_AT : CRC_AT + 4] = calc_crc32c(bytes(batch[CRC_FROM:])).to_bytes(4, "big")
    return bytes(batch)


def _legacy_batch(base: int, records: Sequence[Any], magic: int, compression: int) -> bytes:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=compression, batch_size=1 << 20)
    for number, (_, timestamp, key, value, _) in enumerate(records):  # it cannot read again all that it writes
        stamp = 1000 + timestamp if magic else None
        builder.append(base + number, timestamp=stamp, key=key or b"key", value=value or b"value")
    return bytes(builder.build())


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int | None]], int]:
    """The bytes of a fetch, its aborted transactions, and the offset at which it ends.

    All of one format, since aiokafka mistakes a batch for one of the format of the batch before it.
    """
    magic = draw(st.sampled_from([2, 2, 2, 1, 0]))
    kinds = ["default", "transactional", "marker"] if magic == 2 else ["legacy"]
    parts, offset, aborted = [], 0, []
    opened: dict[int, int | None] = dict.fromkeys(PRODUCERS)
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=8)):
        records = draw(st.lists(RECORD, min_size=1, max_size=4))
        compression = draw(st.sampled_from(COMPRESSIONS))
        producer = draw(st.sampled_from(PRODUCERS))
        length = sum(1 + gap for gap, *_ in records)
        if kind == "marker":
            is_abort = draw(st.booleans()) and opened[producer] is not None
            parts.append(_control_batch(offset, producer, ABORT_KEY if is_abort else COMMIT_KEY))
            if is_abort:
                aborted.append((producer, opened[producer]))
            opened[producer], length = None, 1
        elif kind == "legacy":
            length = len(records)
            compression = draw(st.sampled_from([0, 1, 2] if magic == 0 else [0, 1, 2, 3]))
            parts.append(_legacy_batch(offset, records, magic, compression))
        else:
            parts.append(_default_batch(offset, records, compression, producer if kind == "transactional" else -1))
            if kind == "transactional" and opened[producer] is None:
                opened[producer] = offset
        offset += length
    return b"".join(parts), aborted, offset


def _partition_records(log: bytes, aborted: Any, position: int, isolation_level: int) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(log), aborted, position, None, None, True, isolation_level)


def _facts(rows: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [(row.offset, row.timestamp, row.key, row.value, tuple(row.headers)) for row in rows]


@given(logs(), st.data(), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_runs_are_the_records(fetched, data, isolation_level):
    log, aborted, end = fetched
    position = data.draw(st.integers(0, max(0, end - 1)))
    plain = _partition_records(log, aborted, position, isolation_level)
    records = _facts(plain)
    fast = _partition_records(log, aborted, position, isolation_level)
    assert _facts(chain.from_iterable(_runs(fast))) == records
    assert fast.next_fetch_offset == plain.next_fetch_offset


def test_a_broken_batch_is_refused_after_those_before_it():
    whole = _default_batch(0, [(0, 1, b"key", b"value", [])])
    broken = bytearray(_default_batch(1, [(0, 1, b"key", b"value", [])]))
    broken[-2] ^= 1
    runs = _runs(_partition_records(whole + bytes(broken), [], 0, READ_COMMITTED))
    assert len(next(runs)) == 1
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        next(runs)


def test_this_aiokafka_delivers_runs():
    assert runs_missing() is None


def test_another_aiokafka_is_noticed(monkeypatch):
    monkeypatch.setattr(fetcher.PartitionRecords, "_consume_aborted_up_to", None)
    assert "NoneType" in str(runs_missing())
