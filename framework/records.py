"""Records and batches of records, the input of a processor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, NamedTuple

__all__ = ["Batch", "Headers", "Record", "TopicPartition"]

Headers = tuple[tuple[str, bytes | None], ...]
"""Pairs of name and value. A name may occur more than once."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Record(NamedTuple):
    """One Kafka message. `key` and `value` are decoded as the processor's formats say; None stands for null.

    `timestamp` is the broker's, in milliseconds since the epoch.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: Any
    value: Any
    headers: Headers = ()


@dataclass(slots=True)
class Batch:
    """Consecutive records of one partition in offset order, as columns of equal length.

    The batch holds all records that the log has from offset `start` up to, not including, `end`. Offsets may have gaps,
    and `end` may be beyond the last offset + 1. `len(batch)` is the number of records; `batch[i]` and iteration give
    `Record` objects.
    """

    topic_partition: TopicPartition
    start: int
    end: int
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[Any]
    values: Sequence[Any]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Record:
        position = range(len(self))[index]
        return next(iter(self.slice(position, position + 1)))

    def __iter__(self) -> Iterator[Record]:
        topic, partition = (repeat(part, len(self)) for part in self.topic_partition)
        columns = zip(
            topic, partition, self.offsets, self.timestamps, self.keys, self.values, self.headers, strict=True
        )
        return map(tuple.__new__, repeat(Record), columns)  # as Record(*columns), without a call of Python code

    def slice(self, first: int, stop: int) -> "Batch":
        """The records at positions `first` up to, not including, `stop`."""
        return Batch(
            self.topic_partition,
            self._border(first) if first else self.start,
            self._border(stop),
            self.offsets[first:stop],
            self.timestamps[first:stop],
            self.keys[first:stop],
            self.values[first:stop],
            self.headers[first:stop],
        )

    def _border(self, position: int) -> int:
        """The offset at which a slice begins that starts at this position."""
        offsets = self.offsets
        if position == len(offsets):
            return self.end
        return offsets[position] if position else self.start

    def with_columns(self, **columns: Sequence[Any]) -> "Batch":
        """A copy with some columns replaced, such as decoded ones."""
        named: dict[str, Any] = columns
        return replace(self, **named)

    def key_texts(self) -> Sequence[str | None]:
        """The keys, which must be bytes or None, as text. Raises `UnicodeDecodeError` for a key that is not UTF-8."""
        return [None if key is None else key.decode() for key in self.keys]
