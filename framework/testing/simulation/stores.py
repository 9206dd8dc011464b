"""A store as one process uses it: its claims and saves are told, and its open files end with the process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from framework.stores import Accept, Checkpoint, Claim, Outcome, Store, StoredUnit, StoreOptions, Unit

__all__ = ["WatchedStore"]


class WatchedStore(Store):
    """Passes everything on to the store under test."""

    survives = True

    def __init__(
        self,
        store: Store,
        on_claimed: Callable[[Unit, Claim], None],
        on_saved: Callable[[Sequence[Checkpoint], Sequence[Outcome]], None],
        on_set_aside: Callable[[Unit, Unit], None],
    ) -> None:
        self._store = store
        self._on_claimed = on_claimed
        self._on_saved = on_saved
        self._on_set_aside = on_set_aside
        self._reading: list[Iterator[tuple[str, bytes]]] = []

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        raise NotImplementedError("it watches a store that is open")

    def id_of(self, group: str) -> str:
        return self._store.id_of(group)

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        claims = self._store.claim(units, accept)
        for unit, claim in zip(units, claims, strict=True):
            self._on_claimed(unit, claim)
        return claims

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        rows = self._store.load(unit, epoch)
        self._reading.append(rows)
        return rows

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        outcomes = self._store.save(checkpoints)
        self._on_saved(checkpoints, outcomes)
        return outcomes

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        aside = self._store.set_aside(unit, epoch)
        self._on_set_aside(unit, aside)
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        return self._store.stored(group)

    def place(self, unit: Unit) -> str:
        return self._store.place(unit)

    def close(self) -> None:
        """As the operating system does for a process that ends: files are closed, transactions given up."""
        for rows in self._reading:
            close: Any = getattr(rows, "close", None)
            if close is not None:
                close()
        self._reading.clear()
        self._store.close()
