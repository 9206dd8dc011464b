"""The `memory` store: keeps state in memory, until the process ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self
from uuid import uuid4

from framework.errors import UsageError
from framework.stores import (
    SAVED,
    Accept,
    Changes,
    Checkpoint,
    Claim,
    Outcome,
    Store,
    StoredTable,
    StoredUnit,
    StoreOptions,
    Unit,
)
from framework.stores._location import location_rest
from framework.stores.rules import (
    another_owner,
    aside_names,
    check_base,
    check_owner,
    check_writable,
    outcome_of,
    saved_unit,
)

__all__ = ["MemoryStore"]


@dataclass(frozen=True, slots=True)
class _Table:
    """A table's rows. `new_base` is a base that has begun, and `new_from` is the index of its first later change."""

    keys: int = 0
    base: tuple[bytes, ...] = ()
    changes: tuple[bytes, ...] = ()
    new_base: tuple[bytes, ...] | None = None
    new_from: int = 0

    @property
    def stored(self) -> StoredTable:
        base_bytes = sum(map(len, self.base))
        return StoredTable(self.keys, base_bytes + sum(map(len, self.changes)), base_bytes)

    def saved(self, changes: Changes) -> "_Table":
        base, rows = tuple(changes.base), tuple(changes.rows)
        begun = replace(self, new_base=(), new_from=len(self.changes)) if changes.base_begins else self
        table = replace(begun, keys=changes.keys, changes=self.changes + rows)
        if begun.new_base is None:
            return table
        new_base = begun.new_base + base
        if not changes.base_ends:
            return replace(table, new_base=new_base)
        return replace(table, base=new_base, changes=table.changes[table.new_from :], new_base=None, new_from=0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A unit with its rows. It is immutable, and replaced as a whole, so that no error leaves it half changed."""

    stored: StoredUnit
    tables: Mapping[str, _Table] = field(default_factory=dict)

    def claimed(self) -> "_Kept":
        tables = {name: replace(table, new_base=None) for name, table in self.tables.items()}
        return _Kept(replace(self.stored, epoch=self.stored.epoch + 1), tables)

    def saved(self, checkpoint: Checkpoint) -> "_Kept":
        tables = dict(self.tables)
        for name, changes in checkpoint.tables.items():
            before = tables.get(name, _Table())
            check_base(checkpoint.unit, changes, begun=before.new_base is not None)
            tables[name] = before.saved(changes)
        stored = {name: table.stored for name, table in tables.items()}
        return _Kept(saved_unit(self.stored, checkpoint, stored), tables)


class MemoryStore(Store):
    """Keeps rows in a dict of this object. Each object is a store of its own."""

    name = "memory"
    keeps_rows = True
    survives = False

    def __init__(self, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._id = "" if read_only else uuid4().hex
        self._units: dict[Unit, _Kept] = {}

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        if location_rest(cls.name, location):
            raise UsageError(f"the memory store has no location, but {location!r} names one; write memory")
        return cls(read_only=read_only)

    def id_of(self, group: str) -> str:
        return self._id

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        claimed: dict[Unit, _Kept] = {}
        claims = []
        for unit in units:
            check_writable(unit, read_only=self._read_only)
            kept = self._units.get(unit)
            accept(unit, kept.stored if kept else None)
            claimed[unit] = kept.claimed() if kept else _Kept(StoredUnit(unit, epoch=1))
            claims.append(Claim(claimed[unit].stored.epoch, kept.stored if kept else None))
        self._units |= claimed
        return claims

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        kept = self._units.get(unit)
        if epoch is not None:
            check_owner(kept.stored if kept else None, unit, epoch)
        for name, table in kept.tables.items() if kept else ():
            yield from ((name, row) for row in (*table.base, *table.changes))

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        return [self._save(checkpoint) for checkpoint in checkpoints]

    def _save(self, checkpoint: Checkpoint) -> Outcome:
        check_writable(checkpoint.unit, read_only=self._read_only)
        kept = self._units.get(checkpoint.unit)
        outcome = outcome_of(kept.stored if kept else None, checkpoint)
        if kept and outcome is SAVED:
            self._units[checkpoint.unit] = kept.saved(checkpoint)
        return outcome

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        check_writable(unit, read_only=self._read_only)
        kept = self._units.get(unit)
        if kept is None or kept.stored.epoch != epoch:
            raise another_owner(kept.stored if kept else None, unit, epoch)
        aside = next(name for name in aside_names(unit) if name not in self._units)
        moved = replace(kept, stored=replace(kept.stored, unit=aside))
        self._units |= {aside: moved, unit: _Kept(StoredUnit(unit, epoch, kept.stored.version))}
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        return [self._units[unit].stored for unit in sorted(self._units) if group in (None, unit.group)]

    def place(self, unit: Unit) -> str:
        return "memory"
