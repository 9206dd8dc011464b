"""A store as one process uses it: what is claimed and saved is told, and what is open ends with the process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from framework.errors import FrameworkError
from framework.stores import Checkpoint, Claim, Store, StoredUnit, Unit

__all__ = ["WatchedStore"]


class WatchedStore(Store):
    """Passes everything on to the store under test."""

    def __init__(
        self,
        store: Store,
        on_claimed: Callable[[Unit, Claim], None],
        on_saved: Callable[[Sequence[Checkpoint], Sequence[FrameworkError | None]], None],
        on_set_aside: Callable[[Unit, Unit], None],
    ) -> None:
        self._store = store
        self._on_claimed = on_claimed
        self._on_saved = on_saved
        self._on_set_aside = on_set_aside
        self._reading: list[Iterator[bytes]] = []

    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        [claim] = self.claim_all([unit], accept)
        return claim

    def claim_all(self, units: Sequence[Unit], accept: Callable[[StoredUnit], None]) -> list[Claim]:
        claims = self._store.claim_all(units, accept)
        for unit, claim in zip(units, claims, strict=True):
            self._on_claimed(unit, claim)
        return claims

    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        rows = self._store.rows(unit, epoch)
        self._reading.append(rows)
        return rows

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
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
        """What the operating system does for a process that ends: files are closed, transactions given up."""
        for rows in self._reading:
            close: Any = getattr(rows, "close", None)
            if close is not None:
                close()
        self._reading.clear()
        self._store.close()
