"""Batches as they are fetched: over rows, with columns that are made when they are first read."""

from collections.abc import Sequence
from typing import Any

from framework.records import Batch, TopicPartition
from framework.runtime.rows import Rows

__all__ = ["FetchedBatch"]

_COLUMNS = frozenset({"offsets", "timestamps", "keys", "values", "headers"})


class FetchedBatch(Batch):
    """A batch of which only those columns are made that somebody reads: most plugins read one or two."""

    __slots__ = ("_columns", "_rows")

    def __init__(
        self,
        source: TopicPartition,
        start: int,
        end: int,
        rows: Rows,
        columns: dict[str, Sequence[Any]] | None = None,
    ) -> None:
        """`columns`: those that are there already; the batch adds to them."""
        self.source, self.start, self.end = source, start, end
        self._rows = rows
        self._columns = columns = {} if columns is None else columns
        for name, column in columns.items():
            setattr(self, name, column)

    def __getattr__(self, name: str) -> Any:
        """Called where a column is not there yet."""
        if name not in _COLUMNS:
            raise AttributeError(f"a batch has no {name}", name=name, obj=self)
        column: Sequence[Any] = getattr(self._rows, name)()
        self._columns[name] = column
        setattr(self, name, column)
        return column

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self)} records of {self.source}, read from offset {self.start} to {self.end}>"

    def slice(self, first: int, stop: int) -> "FetchedBatch":
        """As that of any batch, in fewer steps: where records fail it is called for every few of them."""
        columns = {}
        for name, column in self._columns.items():
            columns[name] = column[first:stop]
        offsets = self.offsets
        start = self.start if not first else offsets[first] if first < len(offsets) else self.end
        end = self.end if stop == len(offsets) else offsets[stop] if stop else self.start
        return FetchedBatch(self.source, start, end, self._rows[first:stop], columns)

    def with_columns(self, **columns: Sequence[Any]) -> "FetchedBatch":
        return FetchedBatch(self.source, self.start, self.end, self._rows, {**self._columns, **columns})

    def key_texts(self) -> Sequence[str | None]:
        return self._rows.key_texts()
