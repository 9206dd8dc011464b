import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaTopicPartition

from framework.embedded.broker import KEPT_BYTES, PARTITIONS, EmbeddedBroker
from framework.embedded.feed import Feed
from framework.embedded.inputs import InputRecord
from framework.errors import BrokerError, RecordsLostError, UsageError
from framework.records import TopicPartition
from framework.testing.brokers.traffic import produce

TOPIC = "t"
MEGABYTE = 1_000_000


@pytest.fixture
def servers() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


class Reader:
    """Reads the whole topic, and tells how far it got."""

    def __init__(self, servers: str) -> None:
        self.positions: dict[TopicPartition, int] = {}
        self.keys: Counter[bytes | None] = Counter()
        self._consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="none")

    async def start(self) -> None:
        await self._consumer.start()
        tps = [KafkaTopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        self._consumer.assign(tps)
        for tp in tps:
            self._consumer.seek(tp, 0)

    async def stop(self) -> None:
        await self._consumer.stop()

    async def applied(self) -> dict[TopicPartition, int]:
        return self.positions

    async def read(self, most: int) -> None:
        for tp, rows in (await self._consumer.getmany(timeout_ms=100, max_records=most)).items():
            self.keys.update(row.key for row in rows)
            self.positions[TopicPartition(*tp)] = rows[-1].offset + 1

    async def read_until(self, records: int) -> None:
        while self.keys.total() < records:
            await self.read(5000)

    async def begin_offsets(self) -> list[int]:
        tps = [KafkaTopicPartition(TOPIC, number) for number in range(PARTITIONS)]
        return list((await self._consumer.beginning_offsets(tps)).values())


@pytest.fixture
async def reader(servers: str) -> AsyncIterator[Reader]:
    reader = Reader(servers)
    await reader.start()
    yield reader
    await reader.stop()


def feed_of(servers: str, **options: object) -> Feed:
    return Feed(TOPIC, {"bootstrap_servers": servers}, **options)  # type: ignore[arg-type]


def records(count: int, size: int = 1000, keys: int = 100) -> Iterator[InputRecord]:
    value = bytes(size)
    return (InputRecord(b"key%d" % (number % keys), value, number) for number in range(count))


async def test_much_more_than_the_broker_keeps_arrives_exactly(servers: str, reader: Reader) -> None:
    count = 30 * MEGABYTE // 1000
    feed = feed_of(servers, embedded=True, applied=reader.applied)
    told: list[int] = []
    await asyncio.gather(feed.run(records(count), told.append), reader.read_until(count))
    assert reader.keys == {b"key%d" % number: count // 100 for number in range(100)}
    assert reader.positions == feed.sent
    assert feed.records == told[-1] == count
    assert told == sorted(told)
    assert feed.bytes > 30 * MEGABYTE
    assert max(await reader.begin_offsets()) > 0


async def test_the_same_without_pace_is_lost(servers: str, reader: Reader) -> None:
    feed = feed_of(servers)
    await feed.run(records(30 * MEGABYTE // 1000))
    assert max(await reader.begin_offsets()) > 0


async def test_it_waits_while_nothing_is_applied(servers: str, reader: Reader) -> None:
    count = 10 * MEGABYTE // 1000
    feed = feed_of(servers, embedded=True, applied=reader.applied)
    full = asyncio.Event()
    running = asyncio.create_task(
        feed.run(records(count, keys=1), lambda _: full.set() if feed.bytes > MEGABYTE else None)
    )
    await full.wait()
    done, _ = await asyncio.wait([running], timeout=0.5)
    assert not done
    assert feed.bytes < KEPT_BYTES
    await asyncio.gather(running, reader.read_until(count))
    assert reader.keys == {b"key0": count}


async def test_with_nobody_to_tell_it_stops_before_a_loss(servers: str, reader: Reader) -> None:
    feed = feed_of(servers, embedded=True)
    with pytest.raises(RecordsLostError, match=r"topic t, partition \d is full: .* about 5 MB .*--group"):
        await feed.run(records(10 * MEGABYTE // 1000, keys=1))
    assert await reader.begin_offsets() == [0] * PARTITIONS
    await reader.read_until(feed.records)


async def test_what_the_topic_holds_already_counts(servers: str, reader: Reader) -> None:
    three_megabytes = 3 * MEGABYTE // 1000
    await feed_of(servers, embedded=True).run(records(three_megabytes, keys=1))
    with pytest.raises(RecordsLostError, match="is full"):
        await feed_of(servers, embedded=True).run(records(three_megabytes, keys=1))
    assert await reader.begin_offsets() == [0] * PARTITIONS


async def test_what_is_applied_already_makes_room(servers: str, reader: Reader) -> None:
    three_megabytes = 3 * MEGABYTE // 1000
    await feed_of(servers, embedded=True).run(records(three_megabytes, keys=1))
    await reader.read_until(three_megabytes)
    await feed_of(servers, embedded=True, applied=reader.applied).run(records(three_megabytes, keys=1))
    await reader.read_until(2 * three_megabytes)


async def test_records_lost_by_others_are_an_error(servers: str) -> None:
    await feed_of(servers).run(records(8 * MEGABYTE // 1000, keys=1))
    with pytest.raises(RecordsLostError, match=r"topic t has lost records: .* partition \d from offset 0 to \d+"):
        await feed_of(servers, embedded=True).run(records(1))


async def test_records_lost_meanwhile_are_an_error(servers: str) -> None:
    feed = feed_of(servers, embedded=True)

    def other_feeds() -> Iterator[InputRecord]:
        yield from records(1)
        asyncio.run(feed_of(servers).run(records(8 * MEGABYTE // 1000, keys=1)))

    with pytest.raises(RecordsLostError, match="topic t has lost records"):
        await feed.run(other_feeds())


async def test_large_records_arrive(servers: str, reader: Reader) -> None:
    feed = feed_of(servers, embedded=True, applied=reader.applied)
    await asyncio.gather(feed.run(records(5, size=2 * MEGABYTE, keys=1)), reader.read_until(5))
    assert reader.keys == {b"key0": 5}


async def test_a_record_too_large_to_keep_is_refused(servers: str, reader: Reader) -> None:
    feed = feed_of(servers, embedded=True, applied=reader.applied)
    with pytest.raises(BrokerError, match=r"a record of 3,000,\d+ bytes is too large for the embedded broker"):
        await feed.run(records(1, size=3 * MEGABYTE))


async def test_keys_go_where_other_clients_send_them(servers: str) -> None:
    keys = [b"", b"a", b"key-17", "grün".encode(), b"\xff\xfe\xfd", bytes(100)]
    placed = await asyncio.to_thread(produce, servers, TOPIC, keys)
    for number, key in enumerate(keys):
        feed = feed_of(servers)
        await feed.run([InputRecord(key, b"", 1)])
        assert [tp.partition for tp in feed.sent] == [placed[number][0]]


async def test_records_without_a_key_are_spread(servers: str, reader: Reader) -> None:
    feed = feed_of(servers)
    await feed.run(InputRecord(None, bytes(1000), number) for number in range(1000))
    await reader.read_until(1000)
    assert reader.keys == {None: 1000}
    assert len(feed.sent) == PARTITIONS


async def test_nulls_arrive_as_nulls(servers: str) -> None:
    feed = feed_of(servers)
    await feed.run([InputRecord(b"k", None, 1), InputRecord(None, b"v", 2)])
    assert feed.records == 2


async def test_a_slow_source_is_sent_as_it_comes(servers: str, reader: Reader) -> None:
    seen = threading.Event()

    def slowly() -> Iterator[InputRecord]:
        yield InputRecord(b"first", b"", 1)
        assert seen.wait(60)
        yield InputRecord(b"second", b"", 2)

    feed = feed_of(servers, embedded=True, applied=reader.applied)
    running = asyncio.create_task(feed.run(slowly()))
    await reader.read_until(1)
    assert reader.keys == {b"first": 1}
    seen.set()
    await asyncio.gather(running, reader.read_until(2))


async def test_what_the_source_raises_ends_the_feed_after_what_came_before(servers: str, reader: Reader) -> None:
    def broken() -> Iterator[InputRecord]:
        yield from records(700)
        raise UsageError("a.csv, line 701: not CSV")

    feed = feed_of(servers, embedded=True, applied=reader.applied)
    with pytest.raises(UsageError, match="line 701"):
        await feed.run(broken())
    await reader.read_until(feed.records)


async def test_cancelling_ends_an_endless_feed(servers: str) -> None:
    ended = threading.Event()

    def endless() -> Iterator[InputRecord]:
        try:
            while True:
                yield from records(100)
        finally:
            ended.set()

    started = asyncio.Event()
    running = asyncio.create_task(feed_of(servers).run(endless(), lambda count: started.set()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(ended.wait, 60)


async def test_a_broker_that_is_gone_is_an_error(servers: str) -> None:
    broker = EmbeddedBroker()
    broker.close()
    with pytest.raises(BrokerError, match="sending to topic t failed"):
        await feed_of(broker.bootstrap_servers).run(records(1))
