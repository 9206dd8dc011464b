"""Which rows of one table are in force, and how a checkpoint moves that. No I/O.

A table's rows are *changes*, numbered on and on, and the *pieces* of its bases, numbered within each. In force are
the `pieces` of `base`, then the changes from `first_change` up to, not including, `next_change`. A new base that has
begun has the number `newest_base`; when it ends, only it and the changes from `new_first_change` on stay in force.
Rows that are not in force any more are outdated: they are deleted bit by bit, and never read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from framework.stores import Changes, StoredTable

__all__ = ["CHANGE", "Series"]

CHANGE = 0
"""The base number that a row of changes has; bases count from 1."""


@dataclass(frozen=True, slots=True)
class Series:
    """The rows of one table. The fields are stored as they are."""

    keys: int = 0
    base: int = 0
    newest_base: int = 0
    pieces: int = 0
    base_bytes: int = 0
    first_change: int = 0
    next_change: int = 0
    change_bytes: int = 0
    new_first_change: int | None = None
    """None: no new base has begun."""
    new_pieces: int = 0
    new_base_bytes: int = 0
    new_change_bytes: int = 0
    outdated: int = 0
    """How many outdated rows are still there."""

    @property
    def stored(self) -> StoredTable:
        """What observers and loads want to know of it."""
        return StoredTable(self.keys, self.base_bytes + self.change_bytes, self.base_bytes)

    @property
    def base_has_begun(self) -> bool:
        """Whether a new base has begun and not ended."""
        return self.new_first_change is not None

    def saved(self, changes: Changes) -> "Series":
        """After `changes`, which have pieces of a new base only where one has begun."""
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
        """What there is of a new base that has not ended is void."""
        return replace(
            self,
            new_first_change=None,
            new_pieces=0,
            new_base_bytes=0,
            new_change_bytes=0,
            outdated=self.outdated + self.new_pieces,
        )

    def swept(self, rows: int) -> "Series":
        """After `rows` of the outdated ones were deleted."""
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
