"""The source: records of the assigned partitions, from a Kafka consumer. It knows nothing of state."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import aiokafka
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.errors import OffsetOutOfRangeError as KafkaOffsetOutOfRangeError

from framework.errors import BrokerError
from framework.records import Batch, TopicPartition
from framework.runtime.task import LogRange

__all__ = ["Fetched", "KafkaSource", "OutOfRange", "Source", "SourceListener"]

log = logging.getLogger("framework")


class SourceListener(Protocol):
    """Who is told about the partitions that come and go."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions may belong to somebody else once this returns."""

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """These are all the partitions now, each with how many its topic has; none flows before `release`."""

    def on_source_failed(self, error: BaseException) -> None:
        """The consumer's own callbacks went wrong."""


class Fetched(list[Batch]):
    """Batches of one fetch, and the assignment they were fetched under."""

    def __init__(self, batches: Iterable[Batch], assignment: int) -> None:
        super().__init__(batches)
        self.assignment = assignment


class OutOfRange(Exception):  # noqa: N818 - told to the worker, which knows what to do about it
    """The log does not hold the position of these partitions any more."""

    def __init__(self, partitions: Sequence[TopicPartition]) -> None:
        super().__init__(partitions)
        self.partitions = partitions


class Source(Protocol):
    """What the worker needs of a consumer. Positions are offsets of the next record to read."""

    assignment: int
    """Counts the assignments; what was fetched under an older one is void."""

    async def start(self, listener: SourceListener) -> None:
        """Join the group; the listener is called from now on."""

    async def fetch(self, patience: float) -> Fetched:
        """What has come in, waiting at the most `patience` seconds. Raises `OutOfRange`, `BrokerError`."""

    def hold(self, partition: TopicPartition) -> None:
        """Let no records of it flow."""

    def release(self, partition: TopicPartition, position: int) -> None:
        """Let its records flow, from `position` on."""

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        """What the log holds of each."""

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        """Where records of `timestamp` (ms since the epoch) or later begin; the log's end where there are none."""

    async def commit_hint(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far state is stored, for lag tools alone."""

    async def stop(self) -> None:
        """Leave the group."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]
    """A source over aiokafka, by its public `getmany`.

    aiokafka's fetching begins before its `on_partitions_assigned` is awaited, so that callback pauses and seeks every
    partition before anything else, and returns at once: state is loaded elsewhere, while heartbeats go on.
    """

    def __init__(
        self,
        topics: Sequence[str],
        group: str,
        client: Mapping[str, Any],
        *,
        isolation_level: str,
        assignor: type[AbstractPartitionAssignor] | None = None,
    ) -> None:
        self.assignment = 0
        self._topics = list(topics)
        self._positions: dict[TopicPartition, int] = {}
        self._settings: dict[str, Any] = {
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

    async def start(self, listener: SourceListener) -> None:
        self._listener = listener
        self._consumer = AIOKafkaConsumer(**self._settings)
        try:
            await self._consumer.start()
        except KafkaError as error:
            raise _broker_error(error) from error
        self._consumer.subscribe(self._topics, listener=self)

    async def on_partitions_revoked(self, revoked: Iterable[aiokafka.TopicPartition]) -> None:
        """Called by aiokafka, which only logs what is raised here."""
        self.assignment += 1
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
            partitions = {}
            for tp in assigned:
                self._consumer.seek(tp, 0)
                self._consumer.pause(tp)
                partitions[TopicPartition(*tp)] = len(self._consumer.partitions_for_topic(tp.topic) or ())
            self._listener.on_assigned(partitions)
        except BaseException as error:
            self._listener.on_source_failed(error)
            raise

    async def fetch(self, patience: float) -> Fetched:
        try:
            records = await self._consumer.getmany(timeout_ms=round(patience * 1000))
        except KafkaOffsetOutOfRangeError as error:
            raise OutOfRange([TopicPartition(*tp) for tp in error.args[0]]) from error
        except KafkaError as error:
            raise _broker_error(error) from error
        batches = [self._batch(TopicPartition(*tp), rows) for tp, rows in records.items() if tp in self._positions]
        return Fetched([*batches, *self._moved_without_records()], self.assignment)

    def _batch(self, partition: TopicPartition, rows: Sequence[aiokafka.ConsumerRecord]) -> Batch:
        start = self._positions[partition]
        self._positions[partition] = end = self._position(partition)
        return Batch(
            source=partition,
            start=start,
            end=end,
            offsets=[row.offset for row in rows],
            timestamps=[row.timestamp for row in rows],
            keys=[row.key for row in rows],
            values=[row.value for row in rows],
            headers=[row.headers for row in rows],
        )

    def _moved_without_records(self) -> list[Batch]:
        """Partitions that read on over records that nobody sees: transaction markers, aborted or compacted ones."""
        return [
            self._batch(partition, ())
            for partition, position in self._positions.items()
            if self._position(partition) != position
        ]

    def _position(self, partition: TopicPartition) -> int:
        """The position, without the round trip that the public coroutine makes where there is none."""
        state = self._consumer._subscription.subscription.assignment.state_value(aiokafka.TopicPartition(*partition))
        return int(state.position)

    def hold(self, partition: TopicPartition) -> None:
        tp = aiokafka.TopicPartition(*partition)
        self._positions.pop(partition, None)
        if tp in self._consumer.assignment():
            self._consumer.pause(tp)

    def release(self, partition: TopicPartition, position: int) -> None:
        tp = aiokafka.TopicPartition(*partition)
        self._consumer.seek(tp, position)
        self._consumer.resume(tp)
        self._positions[partition] = position

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        tps = [aiokafka.TopicPartition(*partition) for partition in partitions]
        try:
            starts = await self._consumer.beginning_offsets(tps)
            ends = await self._consumer.end_offsets(tps)
        except KafkaError as error:
            raise _broker_error(error) from error
        return {TopicPartition(*tp): LogRange(starts[tp], ends[tp]) for tp in tps}

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        tps = [aiokafka.TopicPartition(*partition) for partition in partitions]
        try:
            found = await self._consumer.offsets_for_times(dict.fromkeys(tps, timestamp))
            ends = await self._consumer.end_offsets([tp for tp in tps if found[tp] is None])
        except KafkaError as error:
            raise _broker_error(error) from error
        return {TopicPartition(*tp): ends[tp] if found[tp] is None else found[tp].offset for tp in tps}

    async def commit_hint(self, positions: Mapping[TopicPartition, int]) -> None:
        assigned = self._consumer.assignment()
        offsets = {aiokafka.TopicPartition(*tp): position for tp, position in positions.items()}
        offsets = {tp: position for tp, position in offsets.items() if tp in assigned}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            log.debug("offsets not committed to the group, which only lag tools read: %r", error)

    async def stop(self) -> None:
        self._listener = None
        if self._consumer is not None:
            await self._consumer.stop()


def _broker_error(error: KafkaError) -> BrokerError:
    if isinstance(error, AuthenticationFailedError | GroupAuthorizationFailedError | TopicAuthorizationFailedError):
        return BrokerError(f"the broker refuses: {error}; check the credentials and the ACLs of this client")
    return BrokerError(f"reading from the broker failed: {error!r}")
