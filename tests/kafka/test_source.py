"""The source, over a consumer that the test plays."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import aiokafka
import pytest

from framework import BrokerError, StalledError
from framework.kafka import patience
from framework.kafka import source as source_module
from framework.kafka.source import KafkaSource
from framework.records import TopicPartition
from framework.runtime.ports import Committed

PARTITION = TopicPartition("topic", 0)


class Consumer:
    """As much of aiokafka's consumer as a rebalance touches."""

    def __init__(self) -> None:
        self.assigned = {aiokafka.TopicPartition(*PARTITION): SimpleNamespace(position=0)}
        self.flowing: set[aiokafka.TopicPartition] = set()
        assignment = SimpleNamespace(state_value=lambda tp: self.assigned.get(tp))
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        running = SimpleNamespace(done=lambda: False)
        self._fetcher = SimpleNamespace(_fetch_task=running)
        self._coordinator = SimpleNamespace(_coordination_task=running)
        self._client = SimpleNamespace(_sync_task=running, force_metadata_update=self.update_metadata)
        self.partitions: list[set[int] | None] = [{0, 1}]
        """The topic's partitions as they are known now, and after each further update of the metadata."""

    def seek(self, tp: aiokafka.TopicPartition, position: int) -> None:
        self.assigned[tp].position = position

    def pause(self, tp: aiokafka.TopicPartition) -> None:
        self.flowing.discard(tp)

    def resume(self, tp: aiokafka.TopicPartition) -> None:
        self.flowing.add(tp)

    def assignment(self) -> frozenset[aiokafka.TopicPartition]:
        return frozenset(self.assigned)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.partitions[0]

    async def update_metadata(self) -> bool:
        if len(self.partitions) > 1:
            del self.partitions[0]
        return True

    async def getmany(self, timeout_ms: int) -> Mapping[aiokafka.TopicPartition, Sequence[aiokafka.ConsumerRecord]]:
        return {}


class Listener:
    def __init__(self) -> None:
        self.assigned: Mapping[TopicPartition, int] | None = None

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        return

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.assigned = partitions

    def on_source_failed(self, error: BaseException) -> None:
        raise error


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
async def source(consumer) -> KafkaSource:
    source = KafkaSource(["topic"], "group", {}, isolation_level="read_committed")
    source._consumer, source._listener = consumer, Listener()
    await source.on_partitions_assigned(set(consumer.assigned))
    return source


async def test_a_partition_flows_from_where_it_is_released(source, consumer):
    assert not consumer.flowing
    source.release(PARTITION, 7)
    assert consumer.flowing == set(consumer.assigned)
    assert await source.fetch(0) == []
    consumer.assigned[aiokafka.TopicPartition(*PARTITION)].position = 9
    (batch,) = await source.fetch(0)
    assert (batch.topic_partition, batch.start, batch.end, len(batch)) == (PARTITION, 7, 9, 0)


async def test_a_partition_that_is_released_too_late_does_not_flow(source, consumer):
    """What was loaded is ready just when the group takes it away: it may be assigned to somebody else from now on."""
    await source.on_partitions_revoked(set(consumer.assigned))
    source.release(PARTITION, 7)
    assert not consumer.flowing
    consumer.assigned.clear()
    assert await source.fetch(0) == []
    await source.on_partitions_assigned(set())
    assert await source.fetch(0) == []


async def test_nothing_flows_while_the_assignment_is_void(source, consumer):
    """A pattern that matches a new topic voids aiokafka's assignment at once; the revocation comes later."""
    source.release(PARTITION, 7)
    for mine in (consumer.assigned, consumer.flowing):
        mine.clear()
    assert await source.fetch(0) == []
    source.release(PARTITION, 7)
    source.hold(PARTITION)
    await source.commit({PARTITION: Committed(7)})
    assert consumer.flowing == set()


async def test_a_topic_whose_partitions_are_not_known_yet_is_waited_for(consumer, monkeypatch):
    """Another member has assigned them, and this one's metadata is older: no partitions would mean lost state."""
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    source = KafkaSource(["topic"], "group", {}, isolation_level="read_committed")
    listener = Listener()
    source._consumer, source._listener = consumer, listener
    consumer.partitions[:] = [None, None, set(), {0, 1, 2}]
    await source.on_partitions_assigned(set(consumer.assigned))
    assert listener.assigned == {PARTITION: 3}


async def test_a_topic_whose_partitions_are_never_known_fails_the_source(consumer, monkeypatch):
    monkeypatch.setattr(source_module, "_PATIENCE", 0)
    source = KafkaSource(["topic"], "group", {}, isolation_level="read_committed")
    listener = Listener()
    source._consumer, source._listener = consumer, listener
    consumer.partitions[:] = [None]
    with pytest.raises(BrokerError, match="topic"):
        await source.on_partitions_assigned(set(consumer.assigned))
    assert listener.assigned is None


async def test_a_consumer_with_an_ended_task_is_dead():
    async def end() -> None:
        raise ValueError("gone")

    alive = asyncio.create_task(asyncio.Event().wait())
    ended = asyncio.create_task(end())
    await asyncio.wait([ended])
    source = KafkaSource(["topic"], "group", {}, isolation_level="read_committed")
    source._is_running = True
    for culprit, name in ((0, "fetching"), (1, "group membership"), (2, "view of the cluster")):
        tasks = [ended if number == culprit else alive for number in range(3)]
        source._consumer = SimpleNamespace(
            _fetcher=SimpleNamespace(_fetch_task=tasks[0]),
            _coordinator=SimpleNamespace(_coordination_task=tasks[1]),
            _client=SimpleNamespace(_sync_task=tasks[2]),
        )
        with pytest.raises(StalledError, match=rf"the consumer's {name} has ended: ValueError: gone"):
            source.check()
    alive.cancel()
