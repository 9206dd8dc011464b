"""Ports: the protocols through which the runtime uses Kafka, and their values. `framework.kafka` implements them."""

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from framework.output import OutputRecord
from framework.records import Batch, Record, TopicPartition

__all__ = ["Committed", "Fetched", "LogEnd", "LogRange", "OutOfRange", "Place", "Sink", "Source", "SourceListener"]

Place = tuple[TopicPartition, int]
"""A partition, and an offset in it."""


class LogRange(NamedTuple):
    """The offsets that a partition's log holds: `start` up to, not including, `end`."""

    start: int
    end: int
    topic_id: str | None = None
    """The broker's id of the topic; None if it does not tell."""

    def __str__(self) -> str:
        if self.start == self.end:
            return f"no records, and goes on at offset {self.end}"
        return f"offsets {self.start} to {self.end - 1}"


class LogEnd(NamedTuple):
    """The end of a partition's log, according to the broker's last answer."""

    offset: int
    told_at: float
    """Changes with each answer of the broker."""


class Committed(NamedTuple):
    """A committed offset of a group."""

    position: int
    """Offset of the next record to read."""
    metadata: str = ""
    """The metadata string of the committed offset."""


class Fetched(list[Batch]):
    """Batches of one fetch, and the value that `Source.assignment` had when they were fetched."""

    def __init__(self, batches: Iterable[Batch], assignment: int) -> None:
        super().__init__(batches)
        self.assignment = assignment


class OutOfRange(Exception):  # noqa: N818 - the worker handles it
    """The logs of these partitions no longer hold the position of the consumer."""

    def __init__(self, partitions: Sequence[TopicPartition]) -> None:
        super().__init__(partitions)
        self.partitions = partitions


class SourceListener(Protocol):
    """Receives the callbacks of a source."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions may belong to another worker once this returns."""

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """These are all assigned partitions, each mapped to the number of partitions of its topic.

        The source returns no records of a partition before `release`.
        """

    def on_source_failed(self, error: BaseException) -> None:
        """A callback of the consumer raised this error."""


class Source(Protocol):
    """A consumer in a group. Positions are offsets of the next record to read."""

    assignment: int
    """Number of the current assignment. Records that were fetched under an older one must not be applied."""

    async def start(self, listener: SourceListener) -> None:
        """Join the group. From now on, the listener is called."""

    async def fetch(self, patience: float) -> Fetched:
        """Returns fetched batches. Waits for records for `patience` seconds at most.

        Raises `OutOfRange`, `BrokerError`, and `StalledError` if the consumer can fetch nothing any more.
        """

    def hold(self, partition: TopicPartition) -> None:
        """Stop returning records of this partition."""

    def release(self, partition: TopicPartition, position: int) -> None:
        """Return records of this partition, from `position` on. Does nothing if it was revoked meanwhile."""

    def log_ends(self) -> Mapping[TopicPartition, LogEnd]:
        """The ends of the assigned partitions' logs, as the broker's last answers told them, as far as it has."""

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        """The offsets that the log of each partition holds, with the topic's id if the broker tells it."""

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        """The records at these places that the log still has. Keys and values are bytes."""

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        """The offset of the first record at or after `timestamp` (ms since the epoch); the log's end if none."""

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """The group's committed offsets of these partitions. Partitions without one are left out."""

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit these offsets to the group. A failure is logged and not raised, as stored state does not need them."""

    async def stop(self) -> None:
        """Leave the group."""


class Sink(Protocol):
    """Sends outputs to Kafka."""

    async def send(self, records: Sequence[OutputRecord]) -> None:
        """Queue outputs for sending. Waits while too many are not acknowledged. Raises `OutputError`."""

    def flushed(self) -> Awaitable[None]:
        """Waits until all outputs that were sent before this call are acknowledged. Raises `OutputError`."""

    async def stop(self) -> None:
        """Close the connection. Raises nothing for outputs that are not acknowledged."""
