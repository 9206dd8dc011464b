"""Damages small files of stores in every place, and judges what the stores make of them."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from framework.errors import FrameworkError, StateError, StoreError
from framework.stores import STATE_TABLE, Changes, Outcome, StoredUnit
from framework.stores.file import FileStore
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import DESCRIPTION, TIMERS, UNIT, Owner, Tables, accept_all, in_tables

__all__ = [
    "OTHER",
    "Contents",
    "check_damaged",
    "check_file_refused",
    "cuts",
    "flips",
    "outcomes",
    "read",
    "save_database",
    "save_file",
]

OTHER = replace(UNIT, partition=1)
VOID = {STATE_TABLE: Changes(1, rows=[b"void"]), TIMERS: Changes(2, rows=[b"timer"])}
Contents = tuple[list[StoredUnit], Tables, Tables]


def flips(whole: bytes, *, step: int = 1, mask: int | None = None) -> Iterator[bytes]:
    """`whole` with one byte changed, each `step`th in turn: by `mask`, or in one bit."""
    for index in range(0, len(whole), step):
        flipped = whole[index] ^ (1 << index % 8 if mask is None else mask)
        yield whole[:index] + bytes([flipped]) + whole[index + 1 :]


def cuts(whole: bytes, *, step: int = 1) -> Iterator[bytes]:
    """`whole`, cut off after each `step`th byte."""
    for length in range(0, len(whole), step):
        yield whole[:length]


def save_file(directory: Path, codec: str) -> Owner:
    """The owner of a unit of the `file` store with something saved in this codec."""
    owner = Owner(FileStore(directory))
    row = b'{"123123": 1}' if codec == "json" else b"\x81\xa6123123\x01"
    tables = {name: Changes(1, rows=[row]) for name in (STATE_TABLE, TIMERS, "$windows")}
    owner.save_whole(replace(owner.checkpoint_of(tables), description=replace(DESCRIPTION, codec=codec)))
    return owner


def outcomes(owner: Owner) -> list[FrameworkError | None]:
    """What each way to the unit gives: the error, or None."""
    ways: tuple[Callable[[], object], ...] = (
        owner.store.stored,
        lambda: list(owner.store.load(UNIT)),
        lambda: owner.store.claim([UNIT], accept_all),
        lambda: owner.store.set_aside(UNIT, owner.epoch),
        lambda: owner.try_save(owner.checkpoint(b"{}")),
    )
    return [*map(_error_of, ways)]


def _error_of(call: Callable[[], object]) -> FrameworkError | None:
    try:
        result = call()
    except FrameworkError as error:
        return error
    return result.error if isinstance(result, Outcome) else None


def check_file_refused(owner: Owner, damaged: bytes, refusal: type[StateError] = StateError) -> None:
    """Every way to the unit gives an error that names the damaged file, which stays as it is."""
    path = Path(owner.store.place(UNIT))
    path.write_bytes(damaged)
    for outcome in outcomes(owner):
        assert isinstance(outcome, refusal), damaged
        assert str(path) in str(outcome), damaged
    assert path.read_bytes() == damaged


def save_database(directory: Path) -> Path:
    """A database of the `sqlite` store at rest: one unit with a base and changes, one with a change."""
    with closing(SqliteStore(directory)) as store:
        owner, other = Owner(store), Owner(store, OTHER)
        owner.save_whole(replace(owner.checkpoint_of(VOID), event_time={UNIT.topic_partition: 5}, outputs=b"token"))
        owner.save(b"one", begins=True, base=[b"piece one", b"piece two"], ends=True)
        owner.save(b"two")
        owner.save(b"three")
        other.save(b"other")
    return directory / "group" / "state.sqlite3"


def read(directory: Path) -> Contents:
    with closing(SqliteStore(directory, read_only=True)) as store:
        return store.stored(), in_tables(store.load(UNIT)), in_tables(store.load(OTHER))


def check_damaged(directory: Path, before: Contents) -> FrameworkError | None:
    """Everything reads back as it was, or is refused by an error that names the place; what the error was."""
    try:
        assert read(directory) == before
    except (StateError, StoreError) as error:
        if str(directory) not in str(error):
            raise
        return error
    return None
