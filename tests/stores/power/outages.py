"""Cuts the power of a recorded store at any moment, opens what is left, and judges what it holds."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from framework.errors import FrameworkError
from framework.stores import STATE_TABLE, Store
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import Owner
from tests.stores.on_disk import DiskStore
from tests.stores.power.disk import CrashState, Recording, Tree, crash_states, write_tree
from tests.stores.power.history import Contents, History, Kept, Witness, contents
from tests.stores.power.life import live
from tests.stores.power.system import recorded_system
from tests.stores.power.vfs import RecordedDatabase, recorded_sqlite

__all__ = ["Outage", "cut", "cut_twice", "fast_directory", "record"]

_SHARED_MEMORY_BYTES = 32768


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A directory in memory, where there can be one: what is recorded and judged here need not really be synced."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Outage:
    """A crash state, and what is wrong with what the store makes of it: None if nothing is."""

    state: CrashState
    breach: str | None

    def __str__(self) -> str:
        return f"{self.breach or 'sound'} ({self.state})"


def record(
    store_type: type[DiskStore],
    directory: Path,
    random: Random,
    turns: int,
    *,
    found: tuple[Tree, Contents] = ({}, {}),
    database: type[RecordedDatabase] = RecordedDatabase,
) -> History:
    """The history of a life in `directory`, which is made, of what was `found` there first."""
    tree, start = found
    write_tree(tree, directory)
    recording = Recording(directory)
    history = History(recording, start, atomic=store_type is SqliteStore)
    with recorded_system(recording), recorded_sqlite(recording, database), ExitStack() as stores:

        def open_store() -> Store:
            return stores.enter_context(closing(Witness(history, store_type(recording.root))))

        live(open_store, random, turns)
    return history


def cut(
    store_type: type[DiskStore], history: History, directory: Path, random: Random, points: Iterable[int], each: int
) -> Iterator[Outage]:
    """Cut the power after these numbers of operations, and see what of `each` states is left; in `directory`, which
    is gone afterwards."""
    for state in crash_states(history.recording, points, each, random):
        yield Outage(state, _breach(store_type, state, history.possible(state.point), directory, random))


def cut_twice(
    store_type: type[DiskStore], history: History, directory: Path, random: Random, points: Iterable[int]
) -> Iterator[Outage]:
    """As `cut`, one state each, and again while the next owners recover from that."""
    for state in crash_states(history.recording, points, 1, random):
        write_tree(state.tree, directory)
        with closing(store_type(directory, read_only=True)) as store:
            found = contents(store)
        shutil.rmtree(directory)
        second = record(store_type, directory, random, 2, found=(state.tree, found))
        shutil.rmtree(directory)
        yield from cut(store_type, second, directory, random, random.sample(second.recording.points, 6), each=2)


def _breach(
    store_type: type[DiskStore], state: CrashState, possible: list[Contents], directory: Path, random: Random
) -> str | None:
    write_tree(state.tree, directory)
    _leave_shared_memory(directory, random)
    try:
        if random.random() < 0.5:
            with closing(store_type(directory, read_only=True)) as store:
                _check_read(store, possible)
        with closing(store_type(directory)) as store:
            _check_use(store, possible)
    except (AssertionError, FrameworkError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(directory)
    return None


def _leave_shared_memory(directory: Path, random: Random) -> None:
    """SQLite never syncs it: it is anything, or gone."""
    for wal in directory.rglob("*-wal"):
        if random.random() < 0.5:
            wal.with_name(wal.name.replace("-wal", "-shm")).write_bytes(random.randbytes(_SHARED_MEMORY_BYTES))


def _check_read(store: Store, possible: list[Contents]) -> Contents:
    found = contents(store)
    assert found in possible, f"{_text(found)} was read, which never was or is too old"
    return found


def _check_use(store: Store, possible: list[Contents]) -> None:
    """Every unit can be claimed and saved, and is then as before but for that."""
    expected = _check_read(store, possible)
    for unit, kept in [*expected.items()]:
        owner = Owner(store, unit)
        assert owner.epoch == kept.epoch + 1, f"{unit} has epoch {owner.epoch} after {kept.epoch}"
        owner.save(b"after the outage")
        state = kept.rows.get(STATE_TABLE, []) if store.keeps_rows else []
        rows = {**kept.rows, STATE_TABLE: [*state, b"after the outage"]}
        expected[unit] = Kept(owner.epoch, owner.version, owner.last_offset, owner.last_offset + 1, rows)
    assert contents(store) == expected, f"{_text(expected)} should be read after another save"


def _text(contents: Contents) -> str:
    return "; ".join(f"{unit}: {kept}" for unit, kept in contents.items()) or "nothing"
