"""Tracks which rows of a table are in force, that is, read by a load. No I/O.

The rows of a table are *changes* and the *pieces* of its bases. Changes are numbered consecutively, and so are the
pieces within each base. In force are the `pieces` of `base`, and after them the changes from `first_change` up to, not
including, `next_change`. A new base that has begun has the number `newest_base`. When it ends, it replaces the old
base, and only the changes from `new_first_change` on stay in force. Other rows are outdated. They are never read, and
are deleted some at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from framework.stores import Changes, StoredTable

__all__ = ["CHANGE", "Series"]

CHANGE = 0
"""The base number of rows of changes. Bases are numbered from 1."""


@dataclass(frozen=True, slots=True)
class Series:
    """The rows of one table. The names of the fields are part of the stored format."""

    keys: int = 0
    base: int = 0
    newest_base: int = 0
    pieces: int = 0
    base_bytes: int = 0
    first_change: int = 0
    next_change: int = 0
    change_bytes: int = 0
    new_first_change: int | None = None
    """None if no new base has begun."""
    new_pieces: int = 0
    new_base_bytes: int = 0
    new_change_bytes: int = 0
    outdated: int = 0
    """Number of outdated rows that are not deleted yet."""

    @property
    def stored(self) -> StoredTable:
        """The number of keys and the sizes of the table."""
        return StoredTable(self.keys, self.base_bytes + self.change_bytes, self.base_bytes)

    @property
    def base_has_begun(self) -> bool:
        """Whether a new base has begun and not ended."""
        return self.new_first_change is not None

    def saved(self, changes: Changes) -> "Series":
        """The series after `changes`, which may have pieces of a base only if one has begun."""
        series = self._with_base_begun() if changes.base_begins else self
        series = series._with_pieces(changes.base)._with_changes(changes.rows)
        if changes.base_ends:
            series = series._with_base_ended()
        return replace(series, keys=changes.keys)

    def rows_of(self, changes: Changes) -> list[tuple[int, int, bytes]]:
        """The rows that `changes` add: base, number, body."""
        base, first = (self.newest_base + 1, 0) if changes.base_begins else (self.newest_base, self.new_pieces)
        pieces = [(base, number, body) for number, body in enumerate(changes.base, first)]
        return pieces + [(CHANGE, number, body) for number, body in enumerate(changes.rows, self.next_change)]

    def without_new_base(self) -> "Series":
        """The series after dropping a new base that has not ended; its pieces are outdated then."""
        return replace(
            self,
            new_first_change=None,
            new_pieces=0,
            new_base_bytes=0,
            new_change_bytes=0,
            outdated=self.outdated + self.new_pieces,
        )

    def swept(self, rows: int) -> "Series":
        """The series after `rows` outdated rows were deleted."""
        return replace(self, outdated=self.outdated - rows)

    def _with_base_begun(self) -> "Series":
        series = self.without_new_base()
        return replace(series, newest_base=self.newest_base + 1, new_first_change=self.next_change)

    def _with_pieces(self, pieces: Sequence[bytes]) -> "Series":
        size = sum(map(len, pieces))
        return replace(self, new_pieces=self.new_pieces + len(pieces), new_base_bytes=self.new_base_bytes + size)

    def _with_changes(self, rows: Sequence[bytes]) -> "Series":
        size = sum(map(len, rows))
        return replace(
            self,
            next_change=self.next_change + len(rows),
            change_bytes=self.change_bytes + size,
            new_change_bytes=self.new_change_bytes + size if self.base_has_begun else 0,
        )

    def _with_base_ended(self) -> "Series":
        first_change = self.next_change if self.new_first_change is None else self.new_first_change
        return replace(
            self,
            base=self.newest_base,
            pieces=self.new_pieces,
            base_bytes=self.new_base_bytes,
            first_change=first_change,
            change_bytes=self.new_change_bytes,
            new_first_change=None,
            new_pieces=0,
            new_base_bytes=0,
            new_change_bytes=0,
            outdated=self.outdated + self.pieces + first_change - self.first_change,
        )
