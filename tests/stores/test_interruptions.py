"""Whatever is raised at whatever step of a store: nothing is half done, nothing stays locked, and a repeat is safe."""

import fcntl
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from framework.errors import StoreError
from framework.stores import STATE_TABLE, Changes, Checkpoint, Store, StoredUnit, Unit, _database
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import TIMERS, UNIT, Owner, Tables, accept_all, in_tables
from tests.stores.on_disk import DiskStore
from tests.stores.power.outages import fast_directory

Contents = list[tuple[StoredUnit, Tables]]

ERRORS = [MemoryError, KeyboardInterrupt, sqlite3.InterfaceError]
OTHER = Unit("group", "keycount", "topic", 1)
NEW = Unit("group", "keycount", "topic", 2)


class Trap:
    """Raises an error at one step, and lets all others pass."""

    def __init__(self, error: type[BaseException], at: int) -> None:
        self._error = error
        self._left = at
        self.sprang = False

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.sprang = True
            raise self._error("planted")

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` after a step. It gives what has to be closed, so no error may come in between."""

        def stepping(*args: Any, **options: Any) -> Any:
            self.step()
            return function(*args, **options)

        return stepping

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` between two steps: an error may come before it or after it."""

        def stepping(*args: Any, **options: Any) -> Any:
            self.step()
            result = function(*args, **options)
            self.step()
            return result

        return stepping


@contextmanager
def trapped(trap: Trap) -> Iterator[None]:
    """Let `trap` be passed at all that stores ask of SQLite and of the system."""

    class Database(_database.Database):
        execute = trap.around(_database.Database.execute)
        executemany = trap.around(_database.Database.executemany)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_database, "Database", Database)
        for name in ("fsync", "mkdir", "replace", "rename"):
            patch.setattr(os, name, trap.around(getattr(os, name)))
        patch.setattr(fcntl, "flock", trap.around(fcntl.flock))
        for module, name in ((os, "open"), (os, "scandir"), (io, "open")):
            patch.setattr(module, name, trap.before(getattr(module, name)))
        yield


def contents(store: Store) -> Contents:
    """All that is stored."""
    return [(each, in_tables(store.load(each.unit))) for each in store.stored()]


def checkpoints(owners: list[Owner]) -> list[Checkpoint]:
    changes = Changes(1, rows=[b"{}"])
    return [owner.checkpoint_of({STATE_TABLE: changes, TIMERS: changes}) for owner in owners]


@pytest.fixture
def disk() -> Iterator[Path]:
    with fast_directory() as directory:
        yield directory


def steps_of(
    store_type: type[DiskStore],
    directory: Path,
    error: type[BaseException],
    act: Callable[[Store, list[Owner]], object],
) -> Iterator[tuple[Contents, Contents, Store, list[Owner]]]:
    """For each step of `act`: what was stored, what is after an error there, another handle, and the owners."""
    at, sprang = 0, True
    while sprang:
        at += 1
        where = directory / str(at)
        with closing(store_type(where)) as setting:
            owners = [Owner(setting), Owner(setting, OTHER)]
            setting.save(checkpoints(owners))
            for owner in owners:
                owner.version, owner.last_offset = 1, 0
            before = contents(setting)
        trap = Trap(error, at)
        with closing(store_type(where, lock_timeout=0.01)) as store:
            try:
                with trapped(trap):
                    act(store, owners)
            except (error, StoreError):
                assert trap.sprang
            sprang = trap.sprang
            with closing(store_type(where, lock_timeout=0.01)) as beside:
                yield before, contents(beside), beside, owners
    assert at > 10


@pytest.mark.parametrize("error", ERRORS)
def test_a_save_that_is_interrupted_anywhere_can_be_repeated(
    store_type: type[DiskStore], disk: Path, error: type[BaseException]
) -> None:
    def act(store: Store, owners: list[Owner]) -> None:
        store.save(checkpoints(owners))

    for before, after, beside, owners in steps_of(store_type, disk, error, act):
        for (stored, rows), (left, left_rows) in zip(before, after, strict=True):
            assert left.version in (1, 2)
            assert (left == stored and left_rows == rows) or left.version == 2
            assert {len(each) for each in left_rows.values()} == {left.version if beside.keeps_rows else 1}
        outcomes = beside.save(checkpoints(owners))
        expected = ["already saved" if stored.version == 2 else "saved" for stored, _ in after]
        assert [outcome.kind for outcome in outcomes] == expected


@pytest.mark.parametrize("error", ERRORS)
def test_a_claim_that_is_interrupted_anywhere_is_made_or_not(
    store_type: type[DiskStore], disk: Path, error: type[BaseException]
) -> None:
    def act(store: Store, owners: list[Owner]) -> None:
        store.claim([UNIT, NEW], accept_all)

    for before, after, beside, _ in steps_of(store_type, disk, error, act):
        left = {stored.unit: stored.epoch for stored, _ in after}
        assert [left[UNIT], left[OTHER]] in ([1, 1], [2, 1])
        assert left.get(NEW, 1) == 1
        assert [rows for _, rows in after][:2] == [rows for _, rows in before]
        claims = beside.claim([UNIT, NEW], accept_all)
        assert [claim.epoch for claim in claims] == [left[UNIT] + 1, left.get(NEW, 0) + 1]


@pytest.mark.parametrize("error", ERRORS)
def test_setting_aside_that_is_interrupted_anywhere_loses_nothing(
    store_type: type[DiskStore], disk: Path, error: type[BaseException]
) -> None:
    def act(store: Store, owners: list[Owner]) -> None:
        store.set_aside(UNIT, 1)

    for before, after, beside, _ in steps_of(store_type, disk, error, act):
        [(_, rows), _] = before
        assert any(found == rows for stored, found in after if stored.unit != OTHER)
        assert [stored.epoch for stored, _ in after if stored.unit == UNIT] == [1]
        assert beside.claim([UNIT], accept_all)[0].epoch == 2


def test_a_row_that_sqlite_cannot_hold_is_refused_before_anything_is_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database.Database, "getlimit", lambda self, category: 5000)
    with closing(SqliteStore(directory)) as store:
        small, large = Owner(store), Owner(store, OTHER)
        before = contents(store)

        with pytest.raises(StoreError, match=r"topic-1.*a row of 4,001 bytes was not saved.*4,000 bytes in a row"):
            store.save([small.checkpoint(b"x"), large.checkpoint(b"y" * 4001)])

        assert contents(store) == before
        assert small.try_save(small.checkpoint(b"x" * 4000)).is_stored
