"""Runs of columns are what aiokafka itself reads of the same bytes, its own iteration being the plain twin."""

import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from framework.kafka.columns import Columns, DecodedColumns
from framework.kafka.internals import Speedups, _Client, _facts_of_columns, deliver_runs, runs_missing
from framework.kafka.speedups import working_speedups
from tests.kafka.batches import DECODERS, NEEDS_SPEEDUPS, SPEEDUPS, Row, default_batch, legacy_batch, with_crc

TP = aiokafka.TopicPartition("orders", 3)
PRODUCERS = [7, 8]
COMPRESSIONS = [0, 1, 2, 3, 4]  # none, gzip, snappy, lz4, zstd
ABORT_KEY, COMMIT_KEY = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
ATTRIBUTES_AT, COUNT_AT, RECORDS_AT = 22, 57, 61

BYTES = st.none() | st.binary(max_size=4)
ROW = st.builds(
    Row,
    gap=st.integers(0, 2),
    timestamp=st.integers(1000, 1009),
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(st.text(max_size=2), BYTES), max_size=2).map(tuple),
)


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int | None]], int]:
    """The bytes of a fetch, its aborted transactions, and the offset at which it ends.

    All of one format, since aiokafka mistakes a batch for one of the format of the batch before it.
    """
    magic = draw(st.sampled_from([2, 2, 2, 1, 0]))
    kinds = ["default", "transactional", "marker", "emptied"] if magic == 2 else ["legacy"]
    parts, offset, aborted = [], 0, []
    opened: dict[int, int | None] = dict.fromkeys(PRODUCERS)
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=8)):
        columns = draw(st.lists(ROW, min_size=1, max_size=4))
        compression = draw(st.sampled_from(COMPRESSIONS))
        producer = draw(st.sampled_from(PRODUCERS))
        last_gap = draw(st.integers(0, 2))
        length = sum(1 + row.gap for row in columns) + last_gap
        if kind == "marker":
            is_abort = draw(st.booleans()) and opened[producer] is not None
            marker = Row(key=ABORT_KEY if is_abort else COMMIT_KEY, value=b"\x00\x00\x00\x00\x00\x00")
            parts.append(default_batch(offset, [marker], producer=producer, control=True))
            if is_abort:
                aborted.append((producer, opened[producer]))
            opened[producer], length = None, 1
        elif kind == "legacy":
            length = len(columns)
            compression = draw(st.sampled_from([0, 1, 2] if magic == 0 else [0, 1, 2, 3]))
            parts.append(legacy_batch(offset, columns, magic, compression))
        elif kind == "emptied":
            parts.append(default_batch(offset, [], last_gap=length))
        else:
            owner = producer if kind == "transactional" else -1
            appended_at = draw(st.none() | st.integers(1000, 2000))
            parts.append(
                default_batch(
                    offset, columns, compression=compression, producer=owner, last_gap=last_gap, appended_at=appended_at
                )
            )
            if kind == "transactional" and opened[producer] is None:
                opened[producer] = offset
        offset += length
    return b"".join(parts), aborted, offset


def _partition_records(log: bytes, aborted: Any, position: int, isolation_level: int) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(log), aborted, position, None, None, True, isolation_level)


def _response(log: bytes) -> Any:
    return SimpleNamespace(topics=[(TP.topic, [(TP.partition, 0, 100, 100, 0, [], log)])])


class Partition:
    """A partition that has been fetched by a consumer which delivers runs, or as it comes."""

    def __init__(self, log: bytes, records: PartitionRecords, speedups: Speedups | None) -> None:
        self.position = records.next_fetch_offset
        self.paused = False
        consumer = SimpleNamespace(_fetcher=SimpleNamespace(_client=Client(_response(log)), _records={}))
        deliver_runs(consumer, speedups)
        with suppress(StopIteration):  # this client has nothing to wait for
            consumer._fetcher._client.send(1, FetchRequest(100, 1, 1, 0, [])).send(None)
        assignment = SimpleNamespace(active=True, state_value=lambda tp: self)
        result = FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
        consumer._fetcher._records[TP] = result
        self.getall = result.getall

    def consumed_to(self, position: int) -> None:
        self.position = position


class Client:
    """A client that knows one answer."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.cluster = "cluster"

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        return self.response


def _columns(runs: Iterable[Columns]) -> list[tuple[Any, ...]]:
    return [row for run in runs for row in _facts_of_columns(run)]


@pytest.mark.parametrize("speedups", DECODERS)
@given(logs(), st.data(), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_runs_are_the_records(speedups, fetched, data, isolation_level):
    log, aborted, end = fetched
    position = data.draw(st.integers(0, max(0, end - 1)))
    plain = _partition_records(log, aborted, 0, isolation_level)
    records = [(row.offset, row.timestamp, row.key, row.value, row.headers) for row in plain if row.offset >= position]
    partition = Partition(log, _partition_records(log, aborted, position, isolation_level), speedups)
    runs = partition.getall()
    assert _columns(runs) == records
    assert partition.position == plain.next_fetch_offset
    assert len(runs) == bool(records)
    if speedups is not None and runs and log[16] == 2:
        assert type(runs[0]) is speedups.Columns


BATCH = default_batch(0, [Row(), Row()])
NAMED = default_batch(0, [Row(headers=(("name", None),))])
DAMAGED = {
    "a byte of a value": BATCH[:-2] + b"?" + BATCH[-1:],
    "the number of records": with_crc(BATCH[:COUNT_AT] + b"\x00\x00\x00\x03" + BATCH[RECORDS_AT:]),
    "a batch within the header": BATCH[:11] + b"\x0a" + BATCH[12:],
    "a header's name": with_crc(NAMED.replace(b"name", b"\xff\xff\xff\xff")),
    "records that are not gzip": with_crc(BATCH[:ATTRIBUTES_AT] + b"\x01" + BATCH[ATTRIBUTES_AT + 1 :]),
}


@pytest.mark.parametrize("speedups", [pytest.param(SPEEDUPS, marks=NEEDS_SPEEDUPS)])
@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused(damaged, speedups):
    log = default_batch(0, [Row()]) + (1).to_bytes(8, "big") + damaged[8:]
    partition = Partition(log, _partition_records(log, [], 0, READ_COMMITTED), speedups)
    with pytest.raises(CorruptRecordException):
        partition.getall()
    assert partition.getall() == []  # so all of it is fetched again
    assert partition.position == 0


@pytest.mark.parametrize("speedups", DECODERS)
def test_a_broken_checksum_is_refused(speedups):
    log = default_batch(0, [Row()]) + (1).to_bytes(8, "big") + DAMAGED["a byte of a value"][8:]
    partition = Partition(log, _partition_records(log, [], 0, READ_COMMITTED), speedups)
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        partition.getall()
    assert partition.getall() == []
    assert partition.position == 0


@NEEDS_SPEEDUPS
def test_an_unknown_codec_is_refused():
    log = with_crc(BATCH[:ATTRIBUTES_AT] + b"\x05" + BATCH[ATTRIBUTES_AT + 1 :])
    partition = Partition(log, _partition_records(log, [], 0, READ_COMMITTED), SPEEDUPS)
    with pytest.raises(UnsupportedCodecError, match="codec 5"):
        partition.getall()


@NEEDS_SPEEDUPS
def test_older_batches_behind_newer_ones_are_left_to_the_next_fetch():
    log = BATCH + legacy_batch(2, [Row()], 1, 0)
    partition = Partition(log, _partition_records(log, [], 0, READ_COMMITTED), SPEEDUPS)
    (columns,) = partition.getall()
    assert list(columns.offsets()) == [0, 1]
    assert partition.position == 2


@NEEDS_SPEEDUPS
async def test_only_the_bytes_of_the_last_fetch_are_used():
    client = _Client(Client(_response(BATCH)), SPEEDUPS)
    assert client.cluster == "cluster"
    await client.send(1, MetadataRequest([]))
    records = _partition_records(BATCH, [], 0, READ_COMMITTED)
    assert [type(run) for run in client.runs_of(records)] == [DecodedColumns]
    await client.send(1, FetchRequest(100, 1, 1, 0, []))
    for expected in SPEEDUPS.Columns, DecodedColumns:
        records = _partition_records(BATCH, [], 0, READ_COMMITTED)
        assert [type(run) for run in client.runs_of(records)] == [expected]


@pytest.mark.parametrize("speedups", DECODERS)
def test_this_aiokafka_delivers_runs(speedups):
    assert runs_missing(speedups) is None


@pytest.mark.parametrize("speedups", DECODERS)
def test_another_aiokafka_is_noticed(speedups, monkeypatch):
    monkeypatch.setattr(fetcher.PartitionRecords, "_consume_aborted_up_to", None)
    assert "NoneType" in str(runs_missing(speedups))


def test_another_accelerator_is_not_used(monkeypatch, caplog):
    other = SimpleNamespace(batches=lambda data: [], Columns=lambda batches, position, decompress: DecodedColumns(()))
    monkeypatch.setitem(sys.modules, "framework_speedups", other)
    assert working_speedups() is None
    assert caplog.record_tuples == [("framework", logging.WARNING, caplog.messages[0])]
    assert "cannot be used" in caplog.text


@pytest.mark.parametrize(("blocked", "lines"), [("framework_speedups", 0), ("framework_speedups._native", 1)])
def test_an_accelerator_that_is_not_there_or_broken(blocked, lines, monkeypatch, caplog):
    for name in ["framework_speedups", "framework_speedups._native"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, blocked, None)
    if lines and SPEEDUPS is None:
        pytest.skip("framework-speedups is not installed")
    assert working_speedups() is None
    assert len(caplog.records) == lines
