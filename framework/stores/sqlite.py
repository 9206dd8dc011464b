"""The `sqlite` store: one database a group, one row a checkpoint. docs/design/stores.md says why it is built so."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Literal

from framework.errors import FrameworkError, InternalError, StateError, StoreError
from framework.stores import Checkpoint, Claim, Store, StoredUnit, Unit
from framework.stores._database import (
    Database,
    create_database,
    database_errors,
    database_exists,
    open_database,
    wal,
)
from framework.stores._files import exists, file_errors, file_name, locked, make_directory, make_writable_directory
from framework.stores._rules import aside_names, check_checkpoint, check_epoch, check_owner, root_group, unit_gone

__all__ = ["SqliteStore"]

_FILE = "state.sqlite3"


class SqliteStore(Store):
    """Keeps a group's units in `<directory>/<group>/state.sqlite3`; a save of many units is one transaction."""

    name = "sqlite"
    keeps_rows = True
    survives = True

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._directory = directory
        self._read_only = read_only
        self._writers: dict[Path, tuple[int, Database]] = {}
        if not read_only:
            with file_errors(directory):
                make_writable_directory(directory)

    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        [claim] = self.claim_all([unit], accept)
        return claim

    def claim_all(self, units: Sequence[Unit], accept: Callable[[StoredUnit], None]) -> list[Claim]:
        """One transaction, and so one fsync for a whole assignment."""
        with self._writing(units[0], "FULL") as database:
            return [_claim(database, unit, accept) for unit in units]

    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        with self._reading(self._path(unit.group)) as database:
            header = database and database.find(unit)
            if epoch is not None:
                check_owner(header.stored if header else None, unit, epoch)
            if database and header:
                yield from database.rows(header)

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
        outcomes: dict[Unit, FrameworkError | None] = {}
        for path in {self._path(checkpoint.unit.group) for checkpoint in checkpoints}:
            ours = [checkpoint for checkpoint in checkpoints if self._path(checkpoint.unit.group) == path]
            with self._writing(ours[0].unit, "NORMAL") as database:
                for checkpoint in ours:
                    outcomes[checkpoint.unit] = _save(database, checkpoint)
        return [outcomes[checkpoint.unit] for checkpoint in checkpoints]

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        with self._writing(unit, "FULL") as database:
            header = database.find(unit)
            if header is None:
                raise unit_gone(unit, epoch)
            check_epoch(header.stored, epoch)
            aside = next(name for name in aside_names(unit) if database.find(name) is None)
            database.update(replace(header, group_name=aside.group))
            database.add(database.new_header(unit, epoch))
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

    def _path(self, group: str) -> Path:
        """A unit that is set aside stays in its group's database, so that moving it is one transaction."""
        return self._directory / file_name(root_group(group)) / _FILE

    def _paths(self) -> list[Path]:
        with file_errors(self._directory):
            if not exists(self._directory):
                return []
            return [Path(entry.path, _FILE) for entry in os.scandir(self._directory) if entry.is_dir()]

    @contextmanager
    def _writing(self, unit: Unit, synchronous: Literal["FULL", "NORMAL"]) -> Iterator[Database]:
        """One transaction, under a lock that keeps other writers out while SQLite moves the WAL, too."""
        path = self._path(unit.group)
        if self._read_only:
            raise InternalError(f"{unit}: {path} is open for reading only. Please report this")
        with file_errors(path), database_errors(path):
            make_directory(path.parent)
            with locked(path.with_suffix(".lock")):
                database = self._writer(path)
                try:
                    database.execute(f"PRAGMA synchronous = {synchronous}")
                    database.execute("BEGIN IMMEDIATE")
                    yield database
                    database.execute("COMMIT")
                except sqlite3.Error:
                    # After a failed write or fsync, nothing that this connection has in memory counts.
                    del self._writers[path]
                    database.close()
                    raise
                except BaseException:
                    database.execute("ROLLBACK")
                    raise

    def _writer(self, path: Path) -> Database:
        """The connection to the file that is at `path` now: it may have been removed and made anew."""
        if not database_exists(path):
            create_database(path)
        inode = path.stat().st_ino
        if path in self._writers:
            opened_inode, database = self._writers[path]
            if opened_inode == inode:
                return database
            database.close()
        database = open_database(path, "rw")
        self._writers[path] = inode, database
        return database

    @contextmanager
    def _reading(self, path: Path) -> Iterator[Database | None]:
        """A snapshot of its own; None where there is no database.

        Where there is no WAL, nobody has the database open, and it is read as a mere file: SQLite would leave an
        empty WAL behind.
        """
        with file_errors(path):
            if not database_exists(path):
                yield None
                return
            at_rest = not exists(wal(path))
            try:
                with (
                    database_errors(path),
                    closing(open_database(path, "ro&immutable=1" if at_rest else "ro")) as database,
                ):
                    database.execute("BEGIN")
                    yield database
            except StateError as error:
                if at_rest and exists(wal(path)):
                    raise StoreError(f"{path}: a worker began to write it while it was read; read it again") from error
                raise


def _claim(database: Database, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
    header = database.find(unit)
    if header is None:
        claimed = database.new_header(unit, epoch=1)
        database.add(claimed)
        return Claim(claimed.epoch, None)
    accept(header.stored)
    claimed = header.claimed()
    database.update(claimed)
    return Claim(claimed.epoch, header.stored)


def _save(database: Database, checkpoint: Checkpoint) -> FrameworkError | None:
    try:
        header = database.find(checkpoint.unit)
        if header is None:
            raise unit_gone(checkpoint.unit, checkpoint.epoch)
        check_checkpoint(header.stored, checkpoint)
        saved = header.saved(checkpoint)
    except FrameworkError as error:
        return error
    rows = header.rows_of(checkpoint)
    database.add_rows(header, rows)
    database.update(database.sweep(saved, added=sum(len(body) for _, _, body in rows)))
    return None
