"""Damages small files of stores in every place, and judges what the stores make of them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from framework.errors import FrameworkError, StateError, StoreError
from framework.stores import StoredUnit
from framework.stores.file import FileStore
from framework.stores.sqlite import SqliteStore
from tests.stores.units import DESCRIPTION, UNIT, Owner, accept_all

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
Contents = tuple[list[StoredUnit], list[bytes], list[bytes]]


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
    checkpoint = replace(owner.checkpoint(row), description=replace(DESCRIPTION, codec=codec))
    assert owner.try_save(checkpoint) is None
    return owner


def outcomes(owner: Owner) -> list[FrameworkError | None]:
    """What each way to the unit gives: the error, or None."""
    return [
        *map(
            _error_of,
            (
                owner.store.stored,
                lambda: list(owner.store.rows(UNIT)),
                lambda: owner.store.claim(UNIT, accept_all),
                lambda: owner.store.set_aside(UNIT, owner.epoch),
            ),
        ),
        owner.try_save(owner.checkpoint(b"{}")),
    ]


def _error_of(call: object) -> FrameworkError | None:
    assert callable(call)
    try:
        call()
    except FrameworkError as error:
        return error
    return None


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
        owner.save(b"void")
        owner.save(b"one", begins=True, base=[b"piece one", b"piece two"], ends=True)
        owner.save(b"two")
        owner.save(b"three")
        other.save(b"other")
    return directory / "group" / "state.sqlite3"


def read(directory: Path) -> Contents:
    with closing(SqliteStore(directory, read_only=True)) as store:
        return store.stored(), list(store.rows(UNIT)), list(store.rows(OTHER))


def check_damaged(directory: Path, before: Contents) -> FrameworkError | None:
    """Everything reads back as it was, or is refused by an error that names the place; what the error was."""
    try:
        assert read(directory) == before
    except (StateError, StoreError) as error:
        if str(directory) not in str(error):
            raise
        return error
    return None
