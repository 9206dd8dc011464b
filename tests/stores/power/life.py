"""A life of two stores that share a directory: everything that a store is asked to do, in a random order."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from framework.stores import SAVED, STATE_TABLE, Changes, Checkpoint, Store, Unit
from framework.testing.store_model import DESCRIPTION, TIMERS, UNIT, Owner

__all__ = ["live"]

UNITS = [UNIT, replace(UNIT, partition=1)]


def live(open_store: Callable[[], Store], random: Random, turns: int) -> None:
    """Claim, then save, rebase, take over, set aside and restart; at the end nothing is closed."""
    life = _Life(open_store, random)
    actions = [life.save, life.take_over, life.set_aside, life.restart]
    for action in random.choices(actions, weights=(30, 3, 1, 2), k=turns):
        action()


@dataclass
class _Owner(Owner):
    bases_begun: set[str] = field(default_factory=set)
    """The tables of which a new base has begun."""


class _Life:
    def __init__(self, open_store: Callable[[], Store], random: Random) -> None:
        self._open_store = open_store
        self._random = random
        self._stores = [open_store(), open_store()]
        self._owners = {unit: _Owner(self._stores[0], unit) for unit in UNITS}

    def save(self) -> None:
        """Of one store, one or all of its units."""
        owners = self._owners_with(self._random.choice(UNITS))
        owners = owners[: self._random.randint(1, len(owners))]
        checkpoints = [self._checkpoint(owner) for owner in owners]
        assert owners[0].store.save(checkpoints) == [SAVED] * len(checkpoints)
        for owner, checkpoint in zip(owners, checkpoints, strict=True):
            owner.version, owner.last_offset = checkpoint.version, checkpoint.own_progress.last_offset

    def take_over(self) -> None:
        """By the other store; the first does not notice."""
        unit = self._random.choice(UNITS)
        [other] = [store for store in self._stores if store is not self._owners[unit].store]
        self._owners[unit] = _Owner(other, unit)

    def set_aside(self) -> None:
        owner = self._owners[self._random.choice(UNITS)]
        owner.store.set_aside(owner.unit, owner.epoch)
        owner.begin_anew()
        owner.bases_begun.clear()

    def restart(self) -> None:
        """Of a store that has units; alone or with the other, so that sometimes nobody has the files open."""
        owners = self._owners_with(self._random.choice(UNITS))
        closed = self._stores if self._random.random() < 0.5 else [owners[0].store]
        for store in closed:
            store.close()
        self._stores = [self._open_store() if store in closed else store for store in self._stores]
        for unit, owner in self._owners.items():
            if owner.store in closed:
                self._owners[unit] = _Owner(self._random.choice(self._stores), unit)

    def _owners_with(self, unit: Unit) -> list[_Owner]:
        """Who works in the same store as the unit's owner, who comes first."""
        owners = [owner for owner in self._owners.values() if owner.store is self._owners[unit].store]
        return sorted(owners, key=lambda owner: owner.unit != unit)

    def _checkpoint(self, owner: _Owner) -> Checkpoint:
        names = self._random.choice(([STATE_TABLE], [TIMERS], [STATE_TABLE, TIMERS]))
        tables = {name: self._changes(owner, name) for name in names}
        checkpoint = owner.checkpoint_of(tables, records=self._random.randint(1, 3))
        if owner.store.keeps_rows:
            return checkpoint
        codec = self._random.choice(("json", "json", "msgpack"))
        return replace(checkpoint, description=replace(DESCRIPTION, codec=codec))

    def _changes(self, owner: _Owner, name: str) -> Changes:
        most = 3 if owner.store.keeps_rows else 1
        rows = [self._body(owner) for _ in range(self._random.randint(1, most) if self._random.random() < 0.9 else 0)]
        if not owner.store.keeps_rows:
            return Changes(7, rows=rows)
        begins = self._random.random() < 0.2
        begun = begins or name in owner.bases_begun
        ends = begun and self._random.random() < 0.5
        pieces = [self._body(owner) for _ in range(self._random.randint(0, 4))] if begun else []
        owner.bases_begun = owner.bases_begun - {name} | ({name} if begun and not ends else set())
        return Changes(7, rows=rows, base=pieces, base_begins=begins, base_ends=ends)

    def _body(self, owner: Owner) -> bytes:
        """Something else each time, in some of SQLite's pages or in a fraction of one."""
        text = b"%d of %d in %d: " % (owner.last_offset, owner.epoch, owner.unit.partition)
        return text + self._random.randbytes(self._random.choice((3, 30, 300, 3000, 9000)))
