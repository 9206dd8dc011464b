"""The source: records of the assigned partitions, from a Kafka consumer. It knows nothing of state."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final, Protocol, TypeVar, cast

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

from framework.errors import BrokerError, StalledError
from framework.records import Batch, Record, TopicPartition
from framework.runtime.fetched import FetchedBatch
from framework.runtime.internals import client_of, deliver_runs, ended_tasks, position_of, runs_missing
from framework.runtime.lookup import Place, look_up
from framework.runtime.patience import patiently
from framework.runtime.rows import DecodedRows, Rows
from framework.runtime.speedups import working_speedups
from framework.runtime.task import LogRange
from framework.runtime.topics import topic_ids
from framework.runtime.watchdog import LogEnd

__all__ = ["Fetched", "KafkaSource", "OutOfRange", "Source", "SourceListener"]

log = logging.getLogger("framework")

T = TypeVar("T")

_FETCH_BYTES: Final = 16 * 2**20
"""Of all partitions of a broker at a time, unless the user says otherwise: bounds memory, and the time to decode it."""
_PATIENCE: Final = 30.0
"""Seconds to wait for the broker to join, and for records that are looked up."""


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
        """What has come in, waiting at the most `patience` seconds.

        Raises `OutOfRange`, `BrokerError`, and `StalledError` where nothing can come in any more.
        """

    def hold(self, partition: TopicPartition) -> None:
        """Let no records of it flow."""

    def release(self, partition: TopicPartition, position: int) -> None:
        """Let its records flow, from `position` on; nothing, if it has been revoked meanwhile."""

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        """What the log holds of each, with the topic's id where the broker tells."""

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        """The records at these places, keys and values as bytes, of those that the log still has."""

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        """Where records of `timestamp` (ms since the epoch) or later begin; the log's end where there are none."""

    async def commit_hint(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far state is stored, for lag tools alone."""

    async def stop(self) -> None:
        """Leave the group."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]
    """A source over aiokafka's `getmany`, which delivers runs of rows where this version of aiokafka can.

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
        self._client = client
        self._positions: dict[TopicPartition, int] = {}
        self._revoked = False
        self._gives_runs = False
        self._settings: dict[str, Any] = {
            "fetch_max_bytes": _FETCH_BYTES,
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
        self._consumer.subscribe(self._topics, listener=self)
        self._is_running = True

    async def _connected(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**self._settings)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
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
            self.check()
        except KafkaOffsetOutOfRangeError as error:
            raise OutOfRange([TopicPartition(*tp) for tp in error.args[0]]) from error
        except KafkaError as error:
            raise _broker_error(error) from error
        batches = [self._batch(TopicPartition(*tp), rows) for tp, rows in records.items() if tp in self._positions]
        return Fetched([*batches, *self._moved_without_records()], self.assignment)

    def _batch(self, partition: TopicPartition, fetched: Sequence[Any]) -> Batch:
        """A batch of what `getmany` gave: records, or runs of rows."""
        start = self._positions[partition]
        self._positions[partition] = end = position_of(self._consumer, aiokafka.TopicPartition(*partition))
        return FetchedBatch(partition, start, end, self._rows(fetched))

    def _rows(self, fetched: Sequence[Any]) -> Rows:
        if not self._gives_runs or not fetched:
            return DecodedRows(fetched)
        (run,) = fetched
        return cast(Rows, run)

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
        if self._revoked:
            return
        tp = aiokafka.TopicPartition(*partition)
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

    def check(self) -> None:
        """Raises `StalledError` where a task of the consumer has ended: it would look idle for ever."""
        if not self._is_running:
            return
        for name, cause in ended_tasks(self._consumer).items():
            raise StalledError(f"the consumer's {name} has ended: {cause!r}; start the worker again") from cause

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
        if not self._is_running:
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
    if isinstance(error, AuthenticationFailedError | GroupAuthorizationFailedError | TopicAuthorizationFailedError):
        return BrokerError(f"the broker refuses: {error}; check the credentials and the ACLs of this client")
    return BrokerError(f"reading from the broker failed: {error!r}")
