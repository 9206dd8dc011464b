"""Records, and batches of them: what a processor reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

__all__ = ["Batch", "Headers", "Record", "TopicPartition"]

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(slots=True)
class Record:
    """One Kafka message, its key and value in the formats that the processor reads.

    `timestamp` is in milliseconds since the epoch, as the broker has it.
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
    """A run of records of one partition in offset order, as columns of equal length.

    Offsets rise but may have gaps. The log was read from `start` up to, not including, `end`; every
    record in between that the log holds is here, so `end` may lie beyond the last offset.
    """

    source: TopicPartition
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
        return Record(
            self.source.topic,
            self.source.partition,
            self.offsets[index],
            self.timestamps[index],
            self.keys[index],
            self.values[index],
            self.headers[index],
        )

    def __iter__(self) -> Iterator[Record]:
        topic, partition = self.source
        for offset, timestamp, key, value, headers in zip(
            self.offsets, self.timestamps, self.keys, self.values, self.headers, strict=True
        ):
            yield Record(topic, partition, offset, timestamp, key, value, headers)

    def slice(self, first: int, stop: int) -> "Batch":
        """The records at positions `first` up to, not including, `stop`."""
        return Batch(
            self.source,
            self._border(first) if first else self.start,
            self._border(stop),
            self.offsets[first:stop],
            self.timestamps[first:stop],
            self.keys[first:stop],
            self.values[first:stop],
            self.headers[first:stop],
        )

    def _border(self, index: int) -> int:
        if index == len(self):
            return self.end
        return self.offsets[index] if index else self.start

    def with_columns(self, keys: Sequence[Any], values: Sequence[Any]) -> "Batch":
        """The same records with other keys and values, as after deserializing."""
        return replace(self, keys=keys, values=values)
