"""The `sqlite` store: one database for each group. docs/design/stores.md explains the design."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Literal, Self

from framework.errors import StateCorruptError, StateError, StoreError
from framework.stores import SAVED, Accept, Checkpoint, Claim, Outcome, Store, StoredUnit, StoreOptions, Unit
from framework.stores._database import (
    Database,
    create_database,
    database_errors,
    database_exists,
    open_database,
    wal,
)
from framework.stores._files import exists, file_errors, file_name, locked, make_directory, make_writable_directory
from framework.stores._location import LOCK_TIMEOUT, DirectoryOptions, location_path
from framework.stores.header import Header
from framework.stores.rules import (
    another_owner,
    aside_names,
    check_owner,
    check_writable,
    outcome_of,
    root_group,
)

__all__ = ["SqliteStore"]

_FILE = "state.sqlite3"


class SqliteStore(Store):
    """Keeps a group's units in `<directory>/<group>/state.sqlite3`. A save of several units is one transaction."""

    name = "sqlite"
    keeps_rows = True
    survives = True
    Options = DirectoryOptions

    def __init__(self, directory: Path, *, read_only: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._directory = directory
        self._read_only = read_only
        self._lock_timeout = lock_timeout
        self._writers: dict[Path, tuple[int, Database]] = {}
        self._origins: dict[Unit, str] = {}
        """The id of the store at the claim of each unit. If the directory is removed and created again while a worker
        runs, epochs begin at 1 again. The id tells the worker's claims from claims in the new directory."""
        if not read_only:
            with file_errors(directory):
                make_writable_directory(directory)

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        return cls(location_path(cls.name, location), read_only=read_only, **options.model_dump())

    def id_of(self, group: str) -> str:
        if self._read_only:
            with self._reading(self._path(group)) as database:
                return database.store_id() if database else ""
        with self._writing(group) as database:
            return database.store_id()

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        """As `Store.claim`. One transaction, with one fsync, covers all units."""
        if not units:
            return []
        with self._writing(units[0].group) as database:
            database.check_sound()
            claims = [_claim(database, unit, accept) for unit in units]
            origin = database.store_id()
        self._origins |= dict.fromkeys(units, origin)
        return claims

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        with self._reading(self._path(unit.group)) as database:
            visible = database and (epoch is None or self._is_here(database, unit))
            header = database.find(unit) if database and visible else None
            if epoch is not None:
                check_owner(header.stored if header else None, unit, epoch)
            if database and header:
                yield from database.rows(header)

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        outcomes: dict[Unit, Outcome] = {}
        for group in sorted({root_group(checkpoint.unit.group) for checkpoint in checkpoints}):
            ours = [checkpoint for checkpoint in checkpoints if root_group(checkpoint.unit.group) == group]
            with self._writing(group) as database:
                outcomes |= {checkpoint.unit: self._save(database, checkpoint) for checkpoint in ours}
        return [outcomes[checkpoint.unit] for checkpoint in checkpoints]

    def _save(self, database: Database, checkpoint: Checkpoint) -> Outcome:
        try:
            header = self._find(database, checkpoint.unit)
        except StateCorruptError as error:
            return Outcome("corrupt", error)
        outcome = outcome_of(header.stored if header else None, checkpoint)
        if header and outcome is SAVED:
            saved, rows = header.saved(checkpoint), header.rows_of(checkpoint)
            database.add_rows(header, rows)
            database.update(database.sweep(saved, added=sum(len(body) for *_, body in rows)))
        return outcome

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        with self._writing(unit.group) as database:
            database.check_sound()
            header = self._find(database, unit)
            if header is None or header.stored.epoch != epoch:
                raise another_owner(header.stored if header else None, unit, epoch)
            aside = next(name for name in aside_names(unit) if database.find(name) is None)
            database.update(header.renamed(aside))
            database.add(unit, epoch, header.stored.version)
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        found: list[StoredUnit] = []
        for path in self._paths() if group is None else [self._path(group)]:
            with self._reading(path) as database:
                found += [header.stored for header in (database.headers() if database else ())]
        return sorted((stored for stored in found if group in (None, stored.unit.group)), key=attrgetter("unit"))

    def place(self, unit: Unit) -> str:
        return str(self._path(unit.group))

    def close(self) -> None:
        while self._writers:
            _, (_, database) = self._writers.popitem()
            database.close()

    def _find(self, database: Database, unit: Unit) -> Header | None:
        """The unit's header; None if there is none, or the unit was claimed in a database that was replaced since."""
        return database.find(unit) if self._is_here(database, unit) else None

    def _is_here(self, database: Database, unit: Unit) -> bool:
        return self._origins.get(unit) in (None, database.store_id())

    def _path(self, group: str) -> Path:
        """The database of a group. A unit set aside stays in the database, so that moving it is one transaction."""
        return self._directory / file_name(root_group(group)) / _FILE

    def _paths(self) -> list[Path]:
        with file_errors(self._directory):
            if not exists(self._directory):
                return []
            return [Path(entry.path, _FILE) for entry in os.scandir(self._directory) if entry.is_dir()]

    @contextmanager
    def _writing(self, group: str) -> Iterator[Database]:
        """A write transaction, under a lock that excludes other writers, also while SQLite moves the WAL."""
        check_writable(group, read_only=self._read_only)
        path = self._path(group)
        with file_errors(path), database_errors(path):
            make_directory(path.parent)
            with locked(path.with_suffix(".lock"), self._lock_timeout):
                database = self._writer(path)
                try:
                    database.execute("BEGIN IMMEDIATE")
                    yield database
                    database.execute("COMMIT")
                except BaseException:
                    self._discard(path)
                    raise

    def _writer(self, path: Path) -> Database:
        """A connection to the present file at `path`, which may have replaced an earlier one."""
        if not database_exists(path):
            create_database(path)
        inode = path.stat().st_ino
        if path in self._writers:
            opened_inode, database = self._writers[path]
            if opened_inode == inode:
                return database
            self._discard(path)
        database = open_database(path, "rw", self._lock_timeout)
        self._writers[path] = inode, database
        return database

    def _discard(self, path: Path) -> None:
        """Roll back and close the connection after an error. The next call opens a new one.

        Closing alone does not end the transaction while a reference to a cursor exists.
        """
        _, database = self._writers.pop(path)
        with closing(database), suppress(sqlite3.Error):
            if database.in_transaction:
                database.execute("ROLLBACK")

    @contextmanager
    def _reading(self, path: Path) -> Iterator[Database | None]:
        """A read transaction in a connection of its own; None if there is no database.

        Without a WAL, no process has the database open. Then it is opened as immutable, because SQLite would otherwise
        leave an empty WAL.
        """
        with file_errors(path):
            if not database_exists(path):
                yield None
                return
            at_rest = not exists(wal(path))
            mode: Literal["ro", "ro&immutable=1"] = "ro&immutable=1" if at_rest else "ro"
            try:
                with database_errors(path), closing(open_database(path, mode, self._lock_timeout)) as database:
                    database.execute("BEGIN")
                    yield database
            except StateError as error:
                if at_rest and exists(wal(path)):
                    raise StoreError(f"{path}: a worker began to write to it while it was read; try again") from error
                raise


def _claim(database: Database, unit: Unit, accept: Accept) -> Claim:
    header = database.find(unit)
    accept(unit, header.stored if header else None)
    if header is None:
        return Claim(database.add(unit, epoch=1).stored.epoch, None)
    claimed = header.claimed()
    database.update(claimed)
    return Claim(claimed.stored.epoch, header.stored)
