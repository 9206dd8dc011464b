"""The `memory` store: state that lives and dies with the process."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from framework.errors import FrameworkError, InternalError
from framework.stores import Checkpoint, Claim, Store, StoredUnit, Unit
from framework.stores._rules import aside_names, check_checkpoint, check_epoch, check_owner, new_unit, unit_gone

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Kept:
    """A unit with its rows. `new_base` is a base that has begun, `new_from` the first change loaded after it."""

    stored: StoredUnit
    base: list[bytes] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    new_base: list[bytes] | None = None
    new_from: int = 0


class MemoryStore(Store):
    """Keeps rows in a dictionary of its own: one object is one store, and nothing outlives it."""

    name = "memory"
    keeps_rows = True
    survives = False

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._units: dict[Unit, _Kept] = {}

    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        kept = self._units.get(unit)
        if kept is None:
            self._units[unit] = _Kept(new_unit(unit, 1))
            return Claim(1, None)
        previous = kept.stored
        accept(previous)
        kept.stored = replace(previous, epoch=previous.epoch + 1)
        kept.new_base = None
        return Claim(kept.stored.epoch, previous)

    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        kept = self._units.get(unit)
        if epoch is not None:
            check_owner(kept.stored if kept else None, unit, epoch)
        return iter(() if kept is None else (*kept.base, *kept.changes))

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
        return [self._save(checkpoint) for checkpoint in checkpoints]

    def _save(self, checkpoint: Checkpoint) -> FrameworkError | None:
        try:
            kept = self._kept(checkpoint.unit, checkpoint.epoch)
            check_checkpoint(kept.stored, checkpoint)
            _add_rows(kept, checkpoint)
        except FrameworkError as error:
            return error
        kept.stored = _after(kept, checkpoint)
        return None

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        kept = self._kept(unit, epoch)
        check_epoch(kept.stored, epoch)
        aside = next(name for name in aside_names(unit) if name not in self._units)
        kept.stored = replace(kept.stored, unit=aside)
        self._units[aside] = kept
        self._units[unit] = _Kept(new_unit(unit, epoch))
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        return [self._units[unit].stored for unit in sorted(self._units) if group in (None, unit.group)]

    def place(self, unit: Unit) -> str:
        return "memory"

    def _kept(self, unit: Unit, epoch: int) -> _Kept:
        if unit not in self._units:
            raise unit_gone(unit, epoch)
        return self._units[unit]


def _add_rows(kept: _Kept, checkpoint: Checkpoint) -> None:
    if kept.new_base is None and not checkpoint.base_begins and (checkpoint.base or checkpoint.base_ends):
        raise InternalError(f"{checkpoint.unit}: pieces of a base that has not begun. Please report this")
    if checkpoint.base_begins:
        kept.new_base, kept.new_from = [], len(kept.changes)
    kept.changes.extend(checkpoint.rows)
    if kept.new_base is not None:
        kept.new_base.extend(checkpoint.base)
        if checkpoint.base_ends:
            kept.base, kept.new_base = kept.new_base, None
            del kept.changes[: kept.new_from]


def _after(kept: _Kept, checkpoint: Checkpoint) -> StoredUnit:
    base_bytes = sum(map(len, kept.base))
    return StoredUnit(
        unit=checkpoint.unit,
        description=checkpoint.description,
        epoch=checkpoint.epoch,
        last_offset=checkpoint.last_offset,
        position=checkpoint.position,
        keys=checkpoint.keys,
        bytes=base_bytes + sum(map(len, kept.changes)),
        base_bytes=base_bytes,
        saved_at=time.time(),
        anchor=checkpoint.anchor,
        missing_offsets=checkpoint.missing_offsets,
    )
