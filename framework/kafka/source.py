"""The source: records of the assigned partitions, from a Kafka consumer. It knows nothing of state."""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Final, TypeVar, cast

import aiokafka
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    OffsetMetadataTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.errors import OffsetOutOfRangeError as KafkaOffsetOutOfRangeError

from framework.errors import BrokerError, StalledError
from framework.kafka.columns import Columns, DecodedColumns
from framework.kafka.errors import explain, not_authorized
from framework.kafka.fetched import FetchedBatch
from framework.kafka.internals import (
    client_of,
    committed_offsets,
    deliver_runs,
    ended_tasks,
    position_of,
    retrieve_commit_errors,
    runs_missing,
)
from framework.kafka.lookup import look_up
from framework.kafka.patience import patiently
from framework.kafka.speedups import working_speedups
from framework.kafka.topics import topic_ids
from framework.records import Batch, Record, TopicPartition
from framework.runtime.ports import Committed, Fetched, LogEnd, LogRange, OutOfRange, Place, SourceListener

__all__ = ["KafkaSource"]

log = logging.getLogger("framework")

T = TypeVar("T")

_FETCH_BYTES: Final = 16 * 2**20
"""Of all partitions of a broker at a time, unless the user says otherwise: bounds memory, and the time to decode it."""
_PATTERN_AGE_MS: Final = 30_000
"""How old the list of topics may get where a pattern chooses from it, unless the user says otherwise."""
_LASTING: Final = (GroupAuthorizationFailedError, OffsetMetadataTooLargeError, TopicAuthorizationFailedError)
"""Errors of a commit that the next one meets again."""
_PATIENCE: Final = 30.0
"""Seconds to wait for the broker to join, and for records that are looked up."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]
    """A source over aiokafka's `getmany`, which delivers runs of columns where this version of aiokafka can.

    aiokafka's fetching begins before its `on_partitions_assigned` is awaited, so that callback pauses and seeks every
    partition before anything else, and then returns: state is loaded elsewhere, while heartbeats go on.
    """

    def __init__(
        self,
        topics: Sequence[str] | re.Pattern[str],
        group: str,
        client: Mapping[str, Any],
        *,
        isolation_level: str,
        assignor: type[AbstractPartitionAssignor] | None = None,
    ) -> None:
        """`topics` are names, or a pattern that the whole name of a topic matches, of topics that come later, too."""
        self.assignment = 0
        self._topics = topics
        self._client = client
        self._positions: dict[TopicPartition, int] = {}
        self._revoked = False
        self._gives_runs = False
        self._settings: dict[str, Any] = {
            "fetch_max_bytes": _FETCH_BYTES,
            **({"metadata_max_age_ms": _PATTERN_AGE_MS} if isinstance(topics, re.Pattern) else {}),
            **client,
            "group_id": group,
            "isolation_level": isolation_level,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
        }
        if assignor is not None:
            self._settings["partition_assignment_strategy"] = (assignor,)
        self._consumer: Any = None
        self._listener: SourceListener | None = None
        self._is_running = False

    async def start(self, listener: SourceListener) -> None:
        self._listener = listener
        self._consumer = await _ask(self._connected, _PATIENCE)
        if isinstance(self._topics, re.Pattern):
            self._consumer.subscribe(pattern=rf"(?:{self._topics.pattern})\Z", listener=self)
        else:
            self._consumer.subscribe(list(self._topics), listener=self)
        self._is_running = True

    async def _connected(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**self._settings)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        retrieve_commit_errors(consumer)
        missing = runs_missing()
        if missing is None:
            deliver_runs(consumer, working_speedups())
        else:
            log.warning(
                "aiokafka %s has no fast path that is known here, so it is slower: %s", aiokafka.__version__, missing
            )
        self._gives_runs = missing is None
        return consumer

    async def on_partitions_revoked(self, revoked: Iterable[aiokafka.TopicPartition]) -> None:
        """Called by aiokafka, which only logs what is raised here."""
        self.assignment += 1
        self._revoked = True
        self._positions.clear()
        if self._listener is None:
            return
        try:
            await self._listener.on_revoked([TopicPartition(*tp) for tp in revoked])
        except BaseException as error:
            self._listener.on_source_failed(error)
            raise

    async def on_partitions_assigned(self, assigned: Iterable[aiokafka.TopicPartition]) -> None:
        """Called by aiokafka, which only logs what is raised here."""
        if self._listener is None:
            return
        try:
            self.assignment += 1
            self._revoked = False
            partitions = [TopicPartition(*tp) for tp in assigned]
            for partition in partitions:
                self._consumer.seek(aiokafka.TopicPartition(*partition), 0)
                self._consumer.pause(aiokafka.TopicPartition(*partition))
            topics = {partition.topic for partition in partitions}
            counts = {topic: await _ask(partial(self._partition_count, topic), _PATIENCE) for topic in topics}
            if self._listener is not None:
                self._listener.on_assigned({partition: counts[partition.topic] for partition in partitions})
        except BaseException as error:
            if self._listener is not None:
                self._listener.on_source_failed(error)
            raise

    async def _partition_count(self, topic: str) -> int:
        """How many partitions a topic has. Another member assigns them, so this one may not know the topic yet.

        Raises `UnknownTopicOrPartitionError` where the brokers do not tell, either.
        """
        known = self._consumer.partitions_for_topic(topic)
        if not known:
            await client_of(self._consumer).force_metadata_update()
            known = self._consumer.partitions_for_topic(topic)
        if not known:
            raise UnknownTopicOrPartitionError(topic)
        return len(known)

    async def fetch(self, patience: float) -> Fetched:
        try:
            records = await self._consumer.getmany(timeout_ms=round(patience * 1000))
            self.check()
        except KafkaOffsetOutOfRangeError as error:
            raise OutOfRange([TopicPartition(*tp) for tp in error.args[0]]) from error
        except KafkaError as error:
            raise _broker_error(error) from error
        self._drop_unassigned()
        batches = [
            self._batch(TopicPartition(*tp), columns) for tp, columns in records.items() if tp in self._positions
        ]
        return Fetched([*batches, *self._moved_without_records()], self.assignment)

    def _drop_unassigned(self) -> None:
        """A pattern that matches other topics voids the assignment at once, before aiokafka says so."""
        assigned = self._consumer.assignment()
        if len(assigned) < len(self._positions):
            self._positions = {each: at for each, at in self._positions.items() if each in assigned}

    def _batch(self, partition: TopicPartition, fetched: Sequence[Any]) -> Batch:
        """A batch of what `getmany` gave: records, or runs of columns."""
        start = self._positions[partition]
        self._positions[partition] = end = position_of(self._consumer, aiokafka.TopicPartition(*partition))
        return FetchedBatch(partition, start, end, self._columns(fetched))

    def _columns(self, fetched: Sequence[Any]) -> Columns:
        if not self._gives_runs or not fetched:
            return DecodedColumns(fetched)
        (run,) = fetched
        return cast(Columns, run)

    def _moved_without_records(self) -> list[Batch]:
        """Partitions that read on over records that nobody sees: transaction markers, aborted or compacted ones."""
        return [
            self._batch(partition, ())
            for partition, position in self._positions.items()
            if position_of(self._consumer, aiokafka.TopicPartition(*partition)) != position
        ]

    def hold(self, partition: TopicPartition) -> None:
        tp = aiokafka.TopicPartition(*partition)
        self._positions.pop(partition, None)
        if tp in self._consumer.assignment():
            self._consumer.pause(tp)

    def release(self, partition: TopicPartition, position: int) -> None:
        tp = aiokafka.TopicPartition(*partition)
        if self._revoked or tp not in self._consumer.assignment():
            return
        self._consumer.seek(tp, position)
        self._consumer.resume(tp)
        self._positions[partition] = position

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        return await _ask(lambda: self._log_ranges([aiokafka.TopicPartition(*partition) for partition in partitions]))

    async def _log_ranges(self, tps: Sequence[aiokafka.TopicPartition]) -> dict[TopicPartition, LogRange]:
        starts = await self._consumer.beginning_offsets(tps)
        ends = await self._consumer.end_offsets(tps)
        ids = await topic_ids(client_of(self._consumer), {tp.topic for tp in tps})
        return {TopicPartition(*tp): LogRange(starts[tp], ends[tp], ids.get(tp.topic)) for tp in tps}

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        return await _ask(lambda: look_up(self._client, places, _PATIENCE))

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        tps = [aiokafka.TopicPartition(*partition) for partition in partitions]
        return await _ask(lambda: self._positions_at(tps, timestamp))

    async def _positions_at(self, tps: Sequence[aiokafka.TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        found = await self._consumer.offsets_for_times(dict.fromkeys(tps, timestamp))
        ends = await self._consumer.end_offsets([tp for tp in tps if found[tp] is None])
        return {TopicPartition(*tp): ends[tp] if found[tp] is None else found[tp].offset for tp in tps}

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        tps = [aiokafka.TopicPartition(*partition) for partition in partitions]
        found = await _ask(lambda: committed_offsets(self._consumer, tps))
        return {TopicPartition(*tp): Committed(each.offset, each.metadata or "") for tp, each in found.items()}

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        assigned = self._consumer.assignment()
        named = {aiokafka.TopicPartition(*partition): tuple(each) for partition, each in offsets.items()}
        named = {tp: each for tp, each in named.items() if tp in assigned}
        if not named:
            return
        try:
            await self._consumer.commit(named)
        except KafkaError as error:
            level = logging.WARNING if isinstance(error, _LASTING) else logging.DEBUG
            log.log(
                level, "the offsets were not committed to the group, so a lost state is not missed: %s", explain(error)
            )

    def check(self) -> None:
        """Raises `StalledError` where a task of the consumer has ended: it would look idle for ever."""
        if not self._is_running:
            return
        for name, cause in ended_tasks(self._consumer).items():
            reason = explain(cause) if cause else "it was cancelled"
            raise StalledError(f"the consumer's {name} has ended: {reason}; start the worker again") from cause

    def log_ends(self) -> dict[TopicPartition, LogEnd]:
        """The ends of the assigned partitions' logs, as fetches have told them."""
        ends = {}
        for tp in self._consumer.assignment() if self._is_running else ():
            end = self._consumer.highwater(tp)
            if self._settings["isolation_level"] == "read_committed":
                end = self._consumer.last_stable_offset(tp)
            if end is not None:
                ends[TopicPartition(*tp)] = LogEnd(end, self._consumer.last_poll_timestamp(tp))
        return ends

    def missing_topics(self) -> list[str]:
        """Topics of the subscription that the brokers do not have."""
        if not self._is_running or isinstance(self._topics, re.Pattern):
            return []
        return [topic for topic in self._topics if not self._consumer.partitions_for_topic(topic)]

    async def stop(self) -> None:
        self._listener = None
        self._is_running = False
        if self._consumer is not None:
            await self._consumer.stop()


async def _ask(question: Callable[[], Awaitable[T]], patience: float = inf) -> T:
    """The answer, once the broker is there to give it. Raises `BrokerError`."""
    try:
        return await patiently(question, patience, "the broker is away")
    except (KafkaError, OSError) as error:
        raise _broker_error(error) from error


def _broker_error(error: KafkaError | OSError) -> BrokerError:
    match error:
        case GroupAuthorizationFailedError(args=(str(group),)):
            return BrokerError(not_authorized("READ", "group", group))
        case TopicAuthorizationFailedError(args=(str(topics) | set(topics) | frozenset(topics),)):
            return BrokerError(not_authorized("READ", "topic", topics))
    return BrokerError(f"reading from the broker failed: {explain(error)}")
