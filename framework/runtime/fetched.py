"""Batches as they are fetched: over rows, with columns that are made when they are first read."""

from collections.abc import Mapping, Sequence
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
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """`columns`: those that are there already."""
        self.source, self.start, self.end = source, start, end
        self._rows = rows
        self._columns: dict[str, Sequence[Any]] = {}
        for name, column in (columns or {}).items():
            self._set(name, column)

    def __getattr__(self, name: str) -> Any:
        """Called where a column is not there yet."""
        if name not in _COLUMNS:
            raise AttributeError(f"a batch has no {name}", name=name, obj=self)
        return self._set(name, getattr(self._rows, name)())

    def _set(self, name: str, column: Sequence[Any]) -> Sequence[Any]:
        self._columns[name] = column
        setattr(self, name, column)
        return column

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{len(self)} records of {self.source}, read from offset {self.start} to {self.end}>"

    def slice(self, first: int, stop: int) -> "FetchedBatch":
        start, end = self._border(first) if first else self.start, self._border(stop)
        columns = {name: column[first:stop] for name, column in self._columns.items()}
        return FetchedBatch(self.source, start, end, self._rows[first:stop], columns)

    def with_columns(self, **columns: Sequence[Any]) -> "FetchedBatch":
        return FetchedBatch(self.source, self.start, self.end, self._rows, {**self._columns, **columns})

    def key_texts(self) -> Sequence[str | None]:
        return self._rows.key_texts()
