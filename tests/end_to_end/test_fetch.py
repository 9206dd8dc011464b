"""What brokers send is read the same, whichever way the source reads it: batches of all kinds, from all positions."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pytest
from confluent_kafka import Producer

from framework.kafka import source as source_module
from framework.kafka.columns import DecodedColumns
from framework.kafka.source import KafkaSource
from framework.records import Record, TopicPartition
from tests.kafka.batches import NEEDS_SPEEDUPS, SPEEDUPS

pytestmark = pytest.mark.kafka

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
PATHS = ["documented", "aiokafka", pytest.param("speedups", marks=NEEDS_SPEEDUPS)]
SECONDS = 60.0


class Message(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int


def _messages(count: int, seed: int) -> list[Message]:
    draw = random.Random(seed)
    return [
        Message(
            draw.choice([None, b"", b"key-%d" % draw.randrange(20), "schlüssel".encode()]),
            draw.choice([None, b"", b"v" * draw.choice([1, 100, 20_000])]),
            [("näme", draw.choice([None, b"", b"value"]))] * draw.choice([0, 0, 1, 2]),
            1_700_000_000_000 + draw.randrange(1000),
        )
        for _ in range(count)
    ]


@pytest.fixture
def write(broker) -> Callable[..., None]:
    """Sends messages to a partition, some batches, and a transaction where it is told how that ends."""

    def send(
        topic: str,
        partition: int,
        messages: Sequence[Message],
        compression: str = "none",
        transaction: Literal["commit", "abort"] | None = None,
    ) -> None:
        settings = {
            "bootstrap.servers": broker.bootstrap_servers,
            "compression.type": compression,
            "batch.num.messages": 13,
            "linger.ms": 50,
            **({"transactional.id": f"{topic}-{partition}"} if transaction else {}),
        }
        producer = Producer(settings)
        if transaction:
            producer.init_transactions(SECONDS)
            producer.begin_transaction()
        for message in messages:
            producer.produce(topic, partition=partition, **message._asdict())
        assert producer.flush(SECONDS) == 0
        if transaction == "commit":
            producer.commit_transaction(SECONDS)
        elif transaction == "abort":
            producer.abort_transaction(SECONDS)

    return send


class Listener:
    """Waits for the assignment."""

    def __init__(self) -> None:
        self.assigned: asyncio.Future[Mapping[TopicPartition, int]] = asyncio.get_running_loop().create_future()

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        return

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.assigned.set_result(partitions)

    def on_source_failed(self, error: BaseException) -> None:
        self.assigned.set_exception(error)


@pytest.fixture(params=PATHS)
def read(request, broker, monkeypatch) -> Callable[..., Any]:
    """Reads topics to their ends on one of the source's ways: from their beginnings, then from some other positions."""
    if request.param == "documented":
        monkeypatch.setattr(source_module, "runs_missing", lambda: "a test")
    if request.param != "speedups":
        monkeypatch.setattr(source_module, "working_speedups", lambda: None)
    kind = SPEEDUPS.Columns if request.param == "speedups" else DecodedColumns

    async def from_all(topics: Sequence[str], isolation_level: str, positions: Sequence[int]) -> list[list[Record]]:
        client = {"bootstrap_servers": broker.bootstrap_servers}
        source = KafkaSource(topics, f"group-of-{topics[0]}", client, isolation_level=isolation_level)
        listener = Listener()
        await source.start(listener)
        try:
            async with asyncio.timeout(SECONDS):
                partitions = list(await _fetching(source, listener.assigned))
                return [await _read(source, partitions, position, kind) for position in positions]
        finally:
            await source.stop()

    return from_all


async def _fetching(source: KafkaSource, future: asyncio.Future[Any]) -> Any:
    while not future.done():
        assert await source.fetch(0.01) == []
    return future.result()


async def _read(source: KafkaSource, partitions: Sequence[TopicPartition], position: int, kind: type) -> list[Record]:
    """All records of these partitions from that position on; no stretch of their logs is missed, or read twice."""
    ends = {partition: found.end for partition, found in (await source.log_ranges(partitions)).items()}
    positions = {partition: position for partition, end in ends.items() if position < end}
    records: list[Record] = []
    for partition in positions:
        source.release(partition, position)
    while any(positions[partition] < ends[partition] for partition in positions):
        for batch in await source.fetch(0.1):
            assert batch.start == positions[batch.topic_partition]
            assert all(batch.start <= offset < batch.end for offset in batch.offsets)
            assert not len(batch) or type(batch._columns) is kind  # type: ignore[attr-defined]
            positions[batch.topic_partition] = batch.end
            records += batch
    assert positions == {partition: ends[partition] for partition in positions}
    for partition in positions:
        source.hold(partition)
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _is_behind(position: int) -> Callable[[Record], bool]:
    return lambda record: record.offset >= position


@pytest.mark.parametrize("isolation_level", ["read_committed", "read_uncommitted"])
async def test_batches_of_all_kinds(isolation_level, read, topic, write, read_topic):
    name = topic(len(COMPRESSIONS) + 1, {"retention.ms": "-1"})
    for partition, compression in enumerate(COMPRESSIONS):
        await asyncio.to_thread(write, name, partition, _messages(100, partition), compression)
    for number, end in enumerate(["commit", "abort", "abort", None, "commit", "abort"]):
        await asyncio.to_thread(write, name, len(COMPRESSIONS), _messages(30, number), "zstd", end)
    expected = await asyncio.to_thread(read_topic, name, committed=isolation_level == "read_committed")

    positions = [0, 7, 40]
    for position, records in zip(positions, await read([name], isolation_level, positions), strict=True):
        assert records == list(filter(_is_behind(position), expected))
    assert len(expected) == 500 + (90 if isolation_level == "read_committed" else 180)


async def test_times_that_the_broker_sets(read, topic, write, read_topic):
    name = topic(1, {"message.timestamp.type": "LogAppendTime"})
    before = time.time() * 1000 - 60_000
    await asyncio.to_thread(write, name, 0, _messages(50, 1), "lz4")
    expected = await asyncio.to_thread(read_topic, name)
    assert await read([name], "read_committed", [0]) == [expected]
    assert min(record.timestamp for record in expected) > before


async def test_logs_with_gaps(read, topic, write, read_topic):
    compaction = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    name = topic(1, compaction)
    messages = [message for message in _messages(300, 1) if message.key and message.value]
    for compression in COMPRESSIONS:
        await asyncio.to_thread(write, name, 0, messages, compression)
    async with asyncio.timeout(SECONDS):
        while len(expected := await asyncio.to_thread(read_topic, name)) > len(messages):
            rolling = messages[-1]._replace(timestamp=round(time.time() * 1000))
            await asyncio.to_thread(write, name, 0, [rolling])  # a segment is compacted when another has begun
        found = await read([name], "read_committed", [0])
        while found != [expected]:  # compaction went on meanwhile
            expected, found = await asyncio.to_thread(read_topic, name), await read([name], "read_committed", [0])
    offsets = [record.offset for record in expected]
    assert any(after - before > 1 for before, after in itertools.pairwise(offsets))
