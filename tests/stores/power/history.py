"""What a store was asked to do while it was recorded, and what it may therefore hold after a power cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from framework.stores import (
    SAVED,
    Accept,
    Checkpoint,
    Claim,
    Outcome,
    Store,
    StoredUnit,
    StoreOptions,
    Unit,
)
from framework.testing.store_model import Known, KnownTable, in_tables
from tests.stores.power.disk import Recording

__all__ = ["Contents", "History", "Kept", "Witness", "contents"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What counts of a unit: its tables, with the epoch, the version and the progress that they belong to."""

    epoch: int
    version: int
    last_offset: int
    position: int | None
    rows: dict[str, list[bytes]]

    def __str__(self) -> str:
        rows = sum(map(len, self.rows.values()))
        return f"epoch {self.epoch}, version {self.version}, last offset {self.last_offset}, {rows} rows"


Contents = dict[Unit, Kept]
"""All that is in a store."""


def contents(store: Store) -> Contents:
    """What is stored, by the store's own reading."""
    return {
        stored.unit: Kept(
            stored.epoch,
            stored.version,
            stored.own_progress.last_offset,
            stored.own_progress.position,
            in_tables(store.load(stored.unit)),
        )
        for stored in store.stored()
    }


@dataclass(frozen=True, slots=True)
class _Step:
    """One call: how many operations were recorded when it returned, and what was stored in the course of it."""

    end: int
    contents: tuple[Contents, ...]
    durable: bool


class History:
    """The calls of one recording, which began with `start`.

    `atomic` tells whether a call over several units is one step.
    """

    def __init__(self, recording: Recording, start: Contents, *, atomic: bool) -> None:
        self.recording = recording
        self.atomic = atomic
        self.known = {unit: _known(kept) for unit, kept in start.items()}
        self._start = start
        self._steps: list[_Step] = []

    def now(self) -> Contents:
        return {unit: _kept(known) for unit, known in self.known.items()}

    def add(self, contents: Sequence[Contents], *, durable: bool) -> None:
        """A call returned that went through `contents`; `durable` promises that its end outlasts a power cut."""
        self._steps.append(_Step(len(self.recording.operations), tuple(contents), durable))

    def possible(self, point: int) -> list[Contents]:
        """What may be stored if the power fails after `point` operations."""
        possible = [self._start]
        for step in self._steps:
            if step.end > point:
                return [*possible, *step.contents]
            possible = [step.contents[-1]] if step.durable else [*possible, step.contents[-1]]
        return possible


def _kept(known: Known) -> Kept:
    position = None if known.last_offset < 0 else known.last_offset + 1
    return Kept(known.epoch, known.version, known.last_offset, position, known.rows)


def _known(kept: Kept) -> Known:
    tables = {name: KnownTable(changes=[*rows]) for name, rows in kept.rows.items()}
    return Known(kept.epoch, kept.version, kept.last_offset, tables)


class Witness(Store):
    """A store that tells its history what it did."""

    def __init__(self, history: History, store: Store) -> None:
        self._history = history
        self._store = store
        self.name, self.keeps_rows, self.survives = store.name, store.keeps_rows, store.survives  # type: ignore[misc]

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        raise NotImplementedError

    def id_of(self, group: str) -> str:
        return self._store.id_of(group)

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        claims = self._store.claim(units, accept)
        passed = []
        for unit, claim in zip(units, claims, strict=True):
            self._history.known.setdefault(unit, Known()).claim(claim.epoch)
            passed.append(self._history.now())
        self._history.add(passed[-1:] if self._history.atomic else passed, durable=True)
        return claims

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        outcomes = self._store.save(checkpoints)
        passed = []
        for checkpoint, outcome in zip(checkpoints, outcomes, strict=True):
            if outcome == SAVED:
                self._history.known[checkpoint.unit].apply(checkpoint, self.keeps_rows)
            passed.append(self._history.now())
        self._history.add(passed[-1:] if self._history.atomic else passed, durable=True)
        return outcomes

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        aside = self._store.set_aside(unit, epoch)
        known = self._history.known
        known[aside] = known[unit]
        copied = self._history.now()
        known[unit] = Known(epoch, known[aside].version)
        passed = [copied, self._history.now()]
        self._history.add(passed[-1:] if self._history.atomic else passed, durable=True)
        return aside

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        return self._store.load(unit, epoch)

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        return self._store.stored(group)

    def place(self, unit: Unit) -> str:
        return self._store.place(unit)

    def close(self) -> None:
        self._store.close()
        self._history.add([self._history.now()], durable=False)
