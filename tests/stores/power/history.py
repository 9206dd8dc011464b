"""What a store was asked to do while it was recorded, and what it may therefore hold after a power cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from framework.errors import FrameworkError
from framework.stores import Checkpoint, Claim, Store, StoredUnit, Unit
from tests.stores.power.disk import Recording
from tests.stores.units import Known

__all__ = ["Contents", "History", "Kept", "Witness", "contents"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What counts of a unit: its state, with the epoch, the offset and the position that it belongs to."""

    epoch: int
    last_offset: int
    position: int | None
    rows: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"epoch {self.epoch}, last offset {self.last_offset}, {len(self.rows)} rows"


Contents = dict[Unit, Kept]
"""All that is in a store."""


def contents(store: Store) -> Contents:
    """What is stored, by the store's own reading."""
    return {
        stored.unit: Kept(stored.epoch, stored.last_offset, stored.position, tuple(store.rows(stored.unit)))
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

    `atomic` tells whether a call over several units is one step, `saves_are_durable` whether a save outlasts a power
    cut once it has returned.
    """

    def __init__(self, recording: Recording, start: Contents, *, atomic: bool, saves_are_durable: bool) -> None:
        self.recording = recording
        self.atomic = atomic
        self.saves_are_durable = saves_are_durable
        self.known = {unit: Known(kept.epoch, kept.last_offset, changes=[*kept.rows]) for unit, kept in start.items()}
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
    return Kept(known.epoch, known.last_offset, position, tuple(known.rows))


class Witness(Store):
    """A store that tells its history what it did."""

    def __init__(self, history: History, store: Store) -> None:
        self._history = history
        self._store = store
        self.name, self.keeps_rows, self.survives = store.name, store.keeps_rows, store.survives  # type: ignore[misc]

    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        claim = self._store.claim(unit, accept)
        known = self._history.known.setdefault(unit, Known())
        known.epoch, known.new_base = claim.epoch, None
        self._history.add([self._history.now()], durable=True)
        return claim

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
        outcomes = self._store.save(checkpoints)
        passed = []
        for checkpoint, outcome in zip(checkpoints, outcomes, strict=True):
            if outcome is None:
                self._history.known[checkpoint.unit].apply(checkpoint, self.keeps_rows)
            passed.append(self._history.now())
        self._history.add(passed[-1:] if self._history.atomic else passed, durable=self._history.saves_are_durable)
        return outcomes

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        aside = self._store.set_aside(unit, epoch)
        known = self._history.known
        known[aside] = known[unit]
        copied = self._history.now()
        known[unit] = Known(epoch)
        passed = [copied, self._history.now()]
        self._history.add(passed[-1:] if self._history.atomic else passed, durable=True)
        return aside

    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        return self._store.rows(unit, epoch)

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        return self._store.stored(group)

    def place(self, unit: Unit) -> str:
        return self._store.place(unit)

    def close(self) -> None:
        self._store.close()
        self._history.add([self._history.now()], durable=False)
