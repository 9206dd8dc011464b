"""Batches as they are fetched: over columns, with columns that are made when they are first read."""

from collections.abc import Sequence
from typing import Any, Final

from framework.kafka.columns import Columns
from framework.records import Batch, TopicPartition

__all__ = ["FetchedBatch"]


class _Column:
    """A column that is made when it is first read; from then on the batch has it under its name."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, batch: "FetchedBatch", _: type) -> Any:
        column: Sequence[Any] = getattr(batch._columns, self._name)()
        batch.__dict__[self._name] = column
        return column


class FetchedBatch(Batch):  # without __slots__: what is there is in its __dict__
    """A batch of which only those columns are made that somebody reads: most plugins read one or two."""

    offsets: Any = _Column()
    timestamps: Any = _Column()
    keys: Any = _Column()
    values: Any = _Column()
    headers: Any = _Column()

    def __init__(self, topic_partition: TopicPartition, start: int, end: int, columns: Columns) -> None:
        self.topic_partition, self.start, self.end = topic_partition, start, end
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<{len(self)} records of {self.topic_partition}, read from offset {self.start} to {self.end}>"

    def slice(self, first: int, stop: int) -> "FetchedBatch":
        """As that of any batch, in fewer steps: where records fail it is called for every few of them."""
        offsets = self.offsets
        cut: FetchedBatch = _new(FetchedBatch)
        cut.topic_partition = self.topic_partition
        cut.start = offsets[first] if 0 < first < len(offsets) else self._border(first) if first else self.start
        cut.end = offsets[stop] if 0 < stop < len(offsets) else self._border(stop)
        part, parts = slice(first, stop), cut.__dict__
        for name, whole in self.__dict__.items():  # the columns, and each column that is there
            parts[name] = whole[part]
        return cut

    def with_columns(self, **columns: Sequence[Any]) -> "FetchedBatch":
        batch = FetchedBatch(self.topic_partition, self.start, self.end, self._columns)
        batch.__dict__ |= {**self.__dict__, **columns}
        return batch

    def key_texts(self) -> Sequence[str | None]:
        return self._columns.key_texts()


_new: Final[Any] = object.__new__
