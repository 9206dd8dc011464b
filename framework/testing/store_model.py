"""Shared parts of the stores' tests: owners that save, and a model of the stored data.

`Walk` tries a store against the model. It needs pytest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

import pytest

from framework.errors import FencedError, InternalError
from framework.progress import Anchor, Progress
from framework.stores import (
    SAVED,
    STATE_TABLE,
    Changes,
    Checkpoint,
    Description,
    Outcome,
    Store,
    StoredTable,
    StoredUnit,
    Unit,
)

__all__ = [
    "ANCHOR",
    "DESCRIPTION",
    "TIMERS",
    "UNIT",
    "Known",
    "KnownTable",
    "OpenStore",
    "Owner",
    "Tables",
    "Walk",
    "accept_all",
    "in_tables",
    "snapshot",
    "state_rows",
]

UNIT = Unit("group", "keycount", "topic", 0)
DESCRIPTION = Description("json", 1, 4, "cluster")
ANCHOR = Anchor("c33bce09", 1_714_564_800_000, 0xFFFF_FFFF)
TIMERS = "$timers"
"""A second table."""

Tables = dict[str, list[bytes]]
"""The rows of a unit by the names of their tables; a table without rows is not there."""


class OpenStore(Protocol):
    """Opens one more handle on the same storage, as another process would, and closes it when the test ends.

    `elsewhere` opens another storage, which is empty at first. Where a store does not outlive its process, each
    handle may be a storage of its own.
    """

    def __call__(self, *, read_only: bool = False, elsewhere: bool = False) -> Store: ...


def accept_all(unit: Unit, stored: StoredUnit | None) -> None:
    """Accept whatever is stored."""


def in_tables(rows: Iterator[tuple[str, bytes]]) -> Tables:
    """The tables that a store loads."""
    tables: Tables = {}
    for name, row in rows:
        tables.setdefault(name, []).append(row)
    return tables


def snapshot(store: Store, unit: Unit = UNIT) -> tuple[list[StoredUnit], Tables]:
    """Everything that can be read of a unit."""
    return [stored for stored in store.stored() if stored.unit == unit], in_tables(store.load(unit))


def state_rows(store: Store, unit: Unit = UNIT) -> list[bytes]:
    """The rows of a unit that has no table but its state."""
    tables = in_tables(store.load(unit))
    assert tables.keys() <= {STATE_TABLE}
    return tables.get(STATE_TABLE, [])


@dataclass
class Owner:
    """Claims a unit, and saves as its owner."""

    store: Store
    unit: Unit = UNIT

    def __post_init__(self) -> None:
        [self.claim] = self.store.claim([self.unit], accept_all)
        self.epoch = self.claim.epoch
        self.version = self.claim.previous.version if self.claim.previous else 0
        self.last_offset = self.claim.previous.own_progress.last_offset if self.claim.previous else -1

    def begin_anew(self) -> None:
        """The unit was set aside."""
        self.last_offset = -1

    def checkpoint(
        self,
        *rows: bytes,
        records: int = 1,
        base: Sequence[bytes] = (),
        begins: bool = False,
        ends: bool = False,
    ) -> Checkpoint:
        """The next checkpoint, after `records` more records, which changes only the state."""
        changes = Changes(keys=7, rows=rows, base=base, base_begins=begins, base_ends=ends)
        return self.checkpoint_of({STATE_TABLE: changes}, records=records)

    def checkpoint_of(self, tables: Mapping[str, Changes], *, records: int = 1) -> Checkpoint:
        """The next checkpoint, with changes of these tables."""
        last_offset = self.last_offset + records
        return Checkpoint(
            unit=self.unit,
            epoch=self.epoch,
            version=self.version + 1,
            progress={self.unit.topic_partition: Progress(last_offset, last_offset + 1, ANCHOR, missing_offsets=3)},
            description=DESCRIPTION,
            tables=tables,
        )

    def try_save(self, checkpoint: Checkpoint) -> Outcome:
        """Save, and continue from `checkpoint` if it is stored."""
        [outcome] = self.store.save([checkpoint])
        if outcome.is_stored:
            self.version, self.last_offset = checkpoint.version, checkpoint.own_progress.last_offset
        return outcome

    def save(
        self,
        *rows: bytes,
        records: int = 1,
        base: Sequence[bytes] = (),
        begins: bool = False,
        ends: bool = False,
    ) -> None:
        """Save the next checkpoint, which must succeed."""
        self.save_whole(self.checkpoint(*rows, records=records, base=base, begins=begins, ends=ends))

    def save_whole(self, checkpoint: Checkpoint) -> None:
        """Save `checkpoint`, which must succeed."""
        assert self.try_save(checkpoint) == SAVED


@dataclass
class KnownTable:
    """The model of a table. `new_base` is a base that has begun, with the changes saved since."""

    keys: int = 0
    base: list[bytes] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    new_base: list[bytes] | None = None
    new_changes: list[bytes] = field(default_factory=list)

    @property
    def rows(self) -> list[bytes]:
        """The valid rows."""
        return [*self.base, *self.changes]

    def stored(self, keeps_rows: bool) -> StoredTable:
        """The table as a store should report it."""
        size = sum(map(len, self.rows))
        return StoredTable(self.keys, size, sum(map(len, self.base)) if keeps_rows else size)

    def apply(self, changes: Changes, keeps_rows: bool) -> None:
        """The changes of a checkpoint."""
        self.keys = changes.keys
        if changes.base_begins:
            self.new_base, self.new_changes = [], []
        if changes.rows:
            self.changes = [*self.changes, *changes.rows] if keeps_rows else list(changes.rows)
            self.new_changes += changes.rows
        if self.new_base is not None:
            self.new_base += changes.base
        if changes.base_ends and self.new_base is not None:
            self.base, self.changes, self.new_base = self.new_base, self.new_changes, None


@dataclass
class Known:
    """The model of a unit."""

    epoch: int = 0
    version: int = 0
    last_offset: int = -1
    tables: dict[str, KnownTable] = field(default_factory=dict)

    @property
    def rows(self) -> Tables:
        """The valid rows of each table that has some."""
        return {name: table.rows for name, table in self.tables.items() if table.rows}

    def claim(self, epoch: int) -> None:
        """Another owner has claimed the unit, so an unfinished base is dropped."""
        self.epoch = epoch
        for table in self.tables.values():
            table.new_base = None

    def expected(self, checkpoint: Checkpoint) -> str:
        """The kind of outcome that a save must have, or `InternalError` if it must raise that."""
        if checkpoint.epoch != self.epoch:
            return "fenced"
        if checkpoint.version == self.version > 0:
            return "already saved"
        if checkpoint.version != self.version + 1:
            return "conflict"
        for name, changes in checkpoint.tables.items():
            begun = changes.base_begins or self.tables.get(name, KnownTable()).new_base is not None
            if (changes.base or changes.base_ends) and not begun:
                return "InternalError"
        return "InternalError" if checkpoint.own_progress.last_offset < self.last_offset else "saved"

    def apply(self, checkpoint: Checkpoint, keeps_rows: bool) -> None:
        """The checkpoint was saved."""
        self.version, self.last_offset = checkpoint.version, checkpoint.own_progress.last_offset
        for name, changes in checkpoint.tables.items():
            self.tables.setdefault(name, KnownTable()).apply(changes, keeps_rows)


class Walk:
    """Two workers claim, save, repeat, set aside and start again in a random order; a model knows what must be stored.

    Owners are pairs of a worker and a unit; they know the epoch and version that they last heard of.
    """

    units = (UNIT, replace(UNIT, partition=1))

    def __init__(self, open_store: OpenStore, random: Random) -> None:
        first = open_store()
        self._open_store = open_store
        self._random = random
        self._keeps_rows, self._survives = first.keeps_rows, first.survives
        self._stores = [first, open_store() if first.survives else first]
        self._known: dict[Unit, Known] = {}
        self._owners: dict[tuple[int, Unit], Owner] = {}
        self._sent: list[Checkpoint] = []

    def run(self, steps: int) -> None:
        """Take this many steps, and compare the stored data with the model after each."""
        actions = [self._claim, self._save, self._repeat, self._set_aside, self._restart]
        self._claim()
        for _ in range(steps):
            self._random.choices(actions, weights=(4, 12, 3, 1, 1))[0]()
            self._check()

    def _claim(self) -> None:
        worker, unit = self._random.randrange(2), self._random.choice(self.units)
        known = self._known.setdefault(unit, Known())
        owner = Owner(self._stores[worker], unit)
        previous = owner.claim.previous
        assert (previous.epoch if previous else 0, owner.epoch) == (known.epoch, known.epoch + 1)
        assert (owner.version, owner.last_offset) == (known.version, known.last_offset)
        known.claim(owner.epoch)
        self._owners[worker, unit] = owner

    def _save(self) -> None:
        worker, unit = self._random.choice(sorted(self._owners))
        owner = self._owners[worker, unit]
        names = self._random.choice(([STATE_TABLE], [TIMERS], [STATE_TABLE, TIMERS], []))
        checkpoint = owner.checkpoint_of(
            {name: self._changes() for name in names}, records=self._random.choice((-1, 0, 1, 1, 2))
        )
        self._sent.append(checkpoint)
        if self._try(owner.store, checkpoint):
            owner.version, owner.last_offset = checkpoint.version, checkpoint.own_progress.last_offset

    def _repeat(self) -> None:
        """As after a lost answer, or much too late."""
        if self._sent:
            self._try(self._random.choice(self._stores), self._random.choice(self._sent[-3:]))

    def _try(self, store: Store, checkpoint: Checkpoint) -> bool:
        """Whether the model expects it to be stored."""
        known = self._known[checkpoint.unit]
        expected = known.expected(checkpoint)
        if expected == "InternalError":
            with pytest.raises(InternalError):
                store.save([checkpoint])
            return False
        [outcome] = store.save([checkpoint])
        assert outcome.kind == expected
        if outcome == SAVED:
            known.apply(checkpoint, self._keeps_rows)
        return outcome.is_stored

    def _changes(self) -> Changes:
        most = 3 if self._keeps_rows else 1
        rows = [self._body() for _ in range(self._random.randint(0, most))]
        if not self._keeps_rows or self._random.random() < 0.4:
            return Changes(self._random.randrange(9), rows=rows)
        return Changes(
            self._random.randrange(9),
            rows=rows,
            base=[self._body() for _ in range(self._random.randint(0, 2))],
            base_begins=self._random.random() < 0.7,
            base_ends=self._random.random() < 0.4,
        )

    def _body(self) -> bytes:
        return bytes(self._random.randrange(256) for _ in range(self._random.randrange(4)))

    def _set_aside(self) -> None:
        owner = self._owners[self._random.choice(sorted(self._owners))]
        known = self._known[owner.unit]
        if owner.epoch != known.epoch:
            with pytest.raises(FencedError):
                owner.store.set_aside(owner.unit, owner.epoch)
            return
        aside = owner.store.set_aside(owner.unit, owner.epoch)
        assert aside not in self._known
        self._known |= {aside: known, owner.unit: Known(owner.epoch, known.version)}
        owner.begin_anew()

    def _restart(self) -> None:
        if self._survives:
            worker = self._random.randrange(2)
            self._stores[worker].close()
            self._stores[worker] = self._open_store()
            self._owners = {key: owner for key, owner in self._owners.items() if key[0] != worker}
            if not self._owners:
                self._claim()

    def _check(self) -> None:
        store = self._random.choice(self._stores)
        found = {each.unit: (each.epoch, each.version, each.own_progress.last_offset) for each in store.stored()}
        assert found == {unit: (known.epoch, known.version, known.last_offset) for unit, known in self._known.items()}
        assert {each.unit: dict(each.tables) for each in store.stored()} == {
            unit: {name: table.stored(self._keeps_rows) for name, table in known.tables.items()}
            for unit, known in self._known.items()
        }
        for unit, known in self._known.items():
            assert in_tables(store.load(unit)) == known.rows
