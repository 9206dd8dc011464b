"""Records and batches of records, the input of a processor."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, cast

from typing_extensions import TypeVar

__all__ = ["Batch", "Headers", "Record", "TopicPartition"]

K = TypeVar("K", default=Any, covariant=True)
V = TypeVar("V", default=Any, covariant=True)
R = TypeVar("R", bound=tuple[Any, ...])

Headers = tuple[tuple[str, bytes | None], ...]
"""Pairs of name and value. A name may occur more than once."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Record(NamedTuple, Generic[K, V]):
    """One Kafka message. `key` and `value` are decoded as the processor's formats say; None stands for null.

    `timestamp` is the event time, in milliseconds since the epoch: the record's timestamp in Kafka, unless
    `--event-time` or the processor names a field of the value.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: K
    value: V
    headers: Headers = ()


def plain_rows(record: type[R], topic: str, partition: int, *columns: Sequence[Any]) -> Iterator[R]:
    """The records of these columns, each as `record(topic, partition, *items)`.

    Raises `ValueError` for columns of different lengths.
    """
    lengths = list(map(len, columns))
    if len(set(lengths)) > 1:
        raise ValueError(f"columns of {lengths} items are no records")
    return map(tuple.__new__, repeat(record), zip(repeat(topic), repeat(partition), *columns))


if TYPE_CHECKING:
    rows = plain_rows
else:
    try:
        from framework_speedups import Rows as rows  # noqa: N813 - it is called like a function
    except ImportError:
        rows = plain_rows


@dataclass(slots=True)
class Batch(Generic[K, V]):
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
    keys: Sequence[K]
    values: Sequence[V]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Record[K, V]:
        position = range(len(self))[index]
        return next(iter(self.slice(position, position + 1)))

    def __iter__(self) -> Iterator[Record[K, V]]:
        columns = (self.offsets, self.timestamps, self.keys, self.values, self.headers)
        return rows(Record, *self.topic_partition, *columns)

    def slice(self, first: int, stop: int) -> "Batch[K, V]":
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

    def with_columns(self, **columns: Sequence[Any]) -> "Batch[Any, Any]":
        """A copy with some columns replaced, such as decoded ones."""
        named: dict[str, Any] = columns
        return replace(self, **named)

    def key_texts(self) -> Sequence[str | None]:
        """The keys, which must be bytes or None, as text. Raises `UnicodeDecodeError` for a key that is not UTF-8."""
        return [None if key is None else key.decode() for key in cast(Sequence[bytes | None], self.keys)]
