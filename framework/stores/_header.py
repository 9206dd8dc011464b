"""What the `sqlite` store knows of a unit, and how a checkpoint moves it. No I/O.

A unit's rows are *changes*, numbered on and on, and the *pieces* of its bases, numbered within each. In force are
the `pieces` of `base`, then the changes from `first_change` up to, not including, `next_change`. A new base that has
begun has the number `newest_base`; when it ends, only it and the changes from `new_first_change` on stay in force.
Rows that are not in force any more are outdated: they are deleted bit by bit, and never read.
"""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from framework.errors import InternalError
from framework.stores import Anchor, Checkpoint, Description, StoredUnit, Unit

__all__ = ["CHANGE", "Header"]

CHANGE = 0
"""The base number that a row of changes has; bases count from 1."""


@dataclass(frozen=True, slots=True)
class Header:
    """A unit as stored. The fields are the columns of table `unit`, its checksum apart."""

    id: int
    group_name: str
    plugin: str
    topic: str
    partition: int
    epoch: int
    codec: str | None = None
    state_version: int | None = None
    partitions: int | None = None
    cluster_id: str | None = None
    topic_id: str | None = None
    anchor_timestamp: int | None = None
    anchor_checksum: int | None = None
    missing_offsets: int = 0
    last_offset: int = -1
    position: int | None = None
    keys: int = 0
    saved_at: float | None = None
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
    def unit(self) -> Unit:
        return Unit(self.group_name, self.plugin, self.topic, self.partition)

    @property
    def stored(self) -> StoredUnit:
        return StoredUnit(
            unit=self.unit,
            description=self._description,
            epoch=self.epoch,
            last_offset=self.last_offset,
            position=self.position,
            keys=self.keys,
            bytes=self.base_bytes + self.change_bytes,
            base_bytes=self.base_bytes,
            saved_at=self.saved_at,
            anchor=Anchor(self.topic_id, self.anchor_timestamp, self.anchor_checksum),
            missing_offsets=self.missing_offsets,
        )

    @property
    def _description(self) -> Description | None:
        if self.codec is None or self.state_version is None or self.partitions is None:
            return None
        return Description(self.codec, self.state_version, self.partitions, self.cluster_id)

    def columns(self) -> tuple[Any, ...]:
        """The values to store, their checksum last."""
        values = _values(self)
        return (*values, _checksum(values))

    @classmethod
    def from_columns(cls, columns: Sequence[Any]) -> "Header | None":
        """The header of which `columns` were stored; None where they are damaged."""
        *values, checksum = columns
        return cls(*values) if _checksum(values) == checksum else None

    def row_checksum(self, base: int, number: int, body: Any) -> int | None:
        """What guards a row; None for what cannot be one. The group is left out: a unit set aside keeps its rows."""
        if not isinstance(body, bytes):
            return None
        return zlib.crc32(body, _checksum((self.id, self.plugin, self.topic, self.partition, base, number)))

    def claimed(self) -> "Header":
        """The next owner's."""
        return replace(self._without_new_base(), epoch=self.epoch + 1)

    def saved(self, checkpoint: Checkpoint) -> "Header":
        """What the unit is after `checkpoint`. Raises `InternalError` for pieces of a base that has not begun."""
        header = self
        if checkpoint.base_begins:
            header = self._with_base_begun()
        elif self.new_first_change is None and (checkpoint.base or checkpoint.base_ends):
            raise InternalError(f"{self.unit}: pieces of a base that has not begun. Please report this")
        header = header._with_pieces(checkpoint.base)
        if checkpoint.rows:
            header = header._with_changes(checkpoint.rows)
        if checkpoint.base_ends:
            header = header._with_base_ended()
        return replace(
            header,
            codec=checkpoint.description.codec,
            state_version=checkpoint.description.state_version,
            partitions=checkpoint.description.partitions,
            cluster_id=checkpoint.description.cluster_id,
            topic_id=checkpoint.anchor.topic_id,
            anchor_timestamp=checkpoint.anchor.timestamp,
            anchor_checksum=checkpoint.anchor.checksum,
            missing_offsets=checkpoint.missing_offsets,
            last_offset=checkpoint.last_offset,
            position=checkpoint.position,
            keys=checkpoint.keys,
            saved_at=time.time(),
        )

    def rows_of(self, checkpoint: Checkpoint) -> list[tuple[int, int, bytes]]:
        """The rows that `checkpoint` adds: base, number, body."""
        base, first = (self.newest_base + 1, 0) if checkpoint.base_begins else (self.newest_base, self.new_pieces)
        pieces = [(base, number, body) for number, body in enumerate(checkpoint.base, first)]
        changes = [(CHANGE, number, body) for number, body in enumerate(checkpoint.rows, self.next_change)]
        return pieces + changes

    def swept(self, rows: int) -> "Header":
        """After `rows` of the outdated ones were deleted."""
        return replace(self, outdated=self.outdated - rows)

    def _without_new_base(self) -> "Header":
        """What there is of a new base that has not ended is void."""
        return replace(
            self,
            new_first_change=None,
            new_pieces=0,
            new_base_bytes=0,
            new_change_bytes=0,
            outdated=self.outdated + self.new_pieces,
        )

    def _with_base_begun(self) -> "Header":
        header = self._without_new_base()
        return replace(header, newest_base=self.newest_base + 1, new_first_change=self.next_change)

    def _with_pieces(self, pieces: Sequence[bytes]) -> "Header":
        size = sum(map(len, pieces))
        return replace(self, new_pieces=self.new_pieces + len(pieces), new_base_bytes=self.new_base_bytes + size)

    def _with_changes(self, rows: Sequence[bytes]) -> "Header":
        size = sum(map(len, rows))
        return replace(
            self,
            next_change=self.next_change + len(rows),
            change_bytes=self.change_bytes + size,
            new_change_bytes=0 if self.new_first_change is None else self.new_change_bytes + size,
        )

    def _with_base_ended(self) -> "Header":
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


_values = attrgetter(*(field.name for field in fields(Header)))


def _checksum(values: Sequence[Any]) -> int:
    """CRC-32 finds every burst of up to 32 flipped bits; it guards against accident, not malice."""
    return zlib.crc32(ascii(tuple(values)).encode())
