"""The simulated log: what the broker holds of a topic's partitions, and what it ever held."""

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from random import Random

from framework.records import Record, TopicPartition

__all__ = ["LogRecord", "PartitionLog"]

_OFFSET = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as bytes."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class PartitionLog:
    """One partition: records from `start` up to `end`, with gaps where compaction or a transaction's marker was.

    A topic that is deleted and made anew has new logs, with another topic id.
    """

    def __init__(self, partition: TopicPartition, before: "PartitionLog | None" = None) -> None:
        self.partition = partition
        self._before = before
        self._generation: int = before._generation + 1 if before else 0
        self.start = 0
        self.end = 0
        self.written: list[LogRecord] = []
        """Every record that ever was, deleted ones included: the model's memory."""

    @property
    def topic_id(self) -> str:
        """The id of the topic that it belongs to."""
        return f"topic-{self._generation}"

    def of(self, topic_id: str | None) -> "PartitionLog":
        """This log, or the one with that id that was there before."""
        return self if self._before is None or topic_id == self.topic_id else self._before.of(topic_id)

    def append(self, timestamp: int, key: bytes | None, value: bytes | None) -> None:
        """Write a record."""
        self.written.append(LogRecord(self.end, timestamp, key, value))
        self.end += 1

    def skip(self, offsets: int) -> None:
        """Leave offsets that no reader gets to see."""
        self.end += offsets

    def delete_before(self, offset: int) -> None:
        """As Kafka's DeleteRecords."""
        self.start = max(self.start, min(offset, self.end))

    def index(self, offset: int) -> int:
        """Where in `written` the first record at `offset` or later is."""
        return bisect_left(self.written, offset, key=_OFFSET)

    def record(self, offset: int) -> Record | None:
        """The record at `offset`, while the log has it."""
        index = self.index(offset)
        if offset < self.start or index == len(self.written) or self.written[index].offset != offset:
            return None
        found = self.written[index]
        return Record(*self.partition, found.offset, found.timestamp, found.key, found.value)

    def read(self, position: int, limit: int, random: Random) -> tuple[list[LogRecord], int]:
        """Up to `limit` records from `position` on, and the position after them; gaps count or not, at random."""
        first = self.index(position)
        records = self.written[first : first + limit]
        after = records[-1].offset + 1 if records else position
        next_index = first + len(records)
        visible_end = self.written[next_index].offset if next_index < len(self.written) else self.end
        return records, visible_end if random.random() < 0.5 else after
