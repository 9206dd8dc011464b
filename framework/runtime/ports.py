"""What the runtime needs of Kafka: protocols, and the values that they pass. `framework.kafka` implements them."""

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
    """None where the broker does not tell."""

    def __str__(self) -> str:
        if self.start == self.end:
            return f"no records, and goes on at offset {self.end}"
        return f"offsets {self.start} to {self.end - 1}"


class LogEnd(NamedTuple):
    """Where a partition's log ended when the broker last told."""

    offset: int
    told_at: float
    """Another number whenever the broker tells again."""


class Committed(NamedTuple):
    """An offset as a group has committed it."""

    position: int
    """Offset of the next record to read."""
    metadata: str = ""
    """What was committed beside it."""


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


class SourceListener(Protocol):
    """Is told about the partitions that come and go."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These partitions may belong to another worker once this returns."""

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """These are all the partitions now, each with how many its topic has; none flows before `release`."""

    def on_source_failed(self, error: BaseException) -> None:
        """The consumer's own callbacks went wrong."""


class Source(Protocol):
    """A consumer in a group. Positions are offsets of the next record to read."""

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

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What the group has committed of these partitions; nothing for those without a committed offset."""

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit these offsets to the group. A failure is logged, not raised: what is stored does not depend on it."""

    async def stop(self) -> None:
        """Leave the group."""


class Sink(Protocol):
    """Takes outputs to Kafka."""

    async def send(self, records: Sequence[OutputRecord]) -> None:
        """Hand over, waiting while too much is under way. Raises `OutputError`."""

    def flushed(self) -> Awaitable[None]:
        """Done when all that was handed over before this call is acknowledged. Raises `OutputError`."""

    async def stop(self) -> None:
        """Let go of the connection. Raises nothing for outputs that are still under way."""
