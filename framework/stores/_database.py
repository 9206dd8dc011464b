"""The `sqlite` store's database: its tables, what is checked, and what SQLite's errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from framework.errors import StateCorruptError, StateIncompatibleError, StoreError
from framework.stores import Unit
from framework.stores._files import LOCK_SECONDS, exists, file_name, replace_file
from framework.stores._header import CHANGE, Header
from framework.stores._rules import root_group

__all__ = ["Database", "create_database", "database_errors", "database_exists", "open_database", "wal"]

_APPLICATION_ID = 0x66777374
_VERSION = 1
_TABLES = (
    """\
CREATE TABLE unit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_name TEXT NOT NULL, plugin TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    codec TEXT, state_version INTEGER, partitions INTEGER, cluster_id TEXT,
    topic_id TEXT, anchor_timestamp INTEGER, anchor_checksum INTEGER, missing_offsets INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, position INTEGER, keys INTEGER NOT NULL, saved_at REAL,
    base INTEGER NOT NULL, newest_base INTEGER NOT NULL, pieces INTEGER NOT NULL, base_bytes INTEGER NOT NULL,
    first_change INTEGER NOT NULL, next_change INTEGER NOT NULL, change_bytes INTEGER NOT NULL,
    new_first_change INTEGER, new_pieces INTEGER NOT NULL,
    new_base_bytes INTEGER NOT NULL, new_change_bytes INTEGER NOT NULL,
    outdated INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (group_name, plugin, topic, partition)
)""",
    """\
CREATE TABLE unit_row (
    unit INTEGER NOT NULL, base INTEGER NOT NULL, number INTEGER NOT NULL,
    checksum INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (unit, base, number)
)""",
    "CREATE TABLE sqlite_sequence(name,seq)",
)
_SETTINGS = {"auto_vacuum": 0, "encoding": "UTF-8"}

_SWEEP_ROWS = 32
_SWEEP_BYTES = 2 * 2**20
"""How much of what is outdated a checkpoint deletes, beside twice of what it adds."""

_WAL_KEPT_BYTES = 64 * 2**20

_WRITE_AND_READ_VERSION = slice(18, 20)
_WAL_VERSION = b"\x02\x02"
"""SQLite's file format has these bytes say that the database has a WAL; in memory there can be none."""

_MACHINE_ERRORS = {
    sqlite3.SQLITE_FULL: "free some space and start again",
    sqlite3.SQLITE_IOERR: "check the disk, its free space and limits, and start again",
    sqlite3.SQLITE_READONLY: "give this user the right to write there",
    sqlite3.SQLITE_CANTOPEN: "give this user the right to read and write there",
    sqlite3.SQLITE_PERM: "give this user the right to read and write there",
    sqlite3.SQLITE_AUTH: "give this user the right to read and write there",
    sqlite3.SQLITE_BUSY: "look for another program that holds the database, and end it",
    sqlite3.SQLITE_LOCKED: "look for another program that holds the database, and end it",
    sqlite3.SQLITE_PROTOCOL: "look for another program that holds the database, and end it",
    sqlite3.SQLITE_NOMEM: "free some memory and start again",
    sqlite3.SQLITE_NOLFS: "choose a file system that holds large files",
    sqlite3.SQLITE_TOOBIG: "keep less under one key: SQLite holds up to 1 GB in a row",
}
"""What is no damage, and what to do about it."""


_FIND = "SELECT * FROM unit WHERE group_name = ? AND plugin = ? AND topic = ? AND partition = ?"
_FIND_WITHOUT_INDEX = _FIND.replace("unit", "unit NOT INDEXED", 1)
_ADD = """
INSERT INTO unit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
UPDATE unit SET (
    group_name, plugin, topic, partition, epoch, codec, state_version, partitions, cluster_id,
    topic_id, anchor_timestamp, anchor_checksum, missing_offsets,
    last_offset, position, keys, saved_at,
    base, newest_base, pieces, base_bytes, first_change, next_change, change_bytes,
    new_first_change, new_pieces, new_base_bytes, new_change_bytes, outdated, checksum
) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?
"""
_IS_OUTDATED = "unit = :unit AND (base = 0 AND number < :first_change OR base > 0 AND base NOT IN (:base, :new_base))"
_FIND_OUTDATED = f"SELECT rowid, length(body) FROM unit_row WHERE {_IS_OUTDATED} LIMIT :rows"  # noqa: S608 - constants
_DELETE_OUTDATED = f"DELETE FROM unit_row NOT INDEXED WHERE rowid = :rowid AND {_IS_OUTDATED}"  # noqa: S608 - constants
"""The condition again, and without the index: if that is damaged, it must not choose what is in force."""


class Database(sqlite3.Connection):
    """A connection that knows its file."""

    path: Path
    _sound_at: int | None = None
    """The `data_version` for which all headers were found sound: it changes when another connection writes."""

    def find(self, unit: Unit) -> Header | None:
        """The unit's header; None where it is certain that there is none."""
        key = (unit.group, unit.plugin, unit.topic, unit.partition)
        columns = self.execute(_FIND, key).fetchone()
        if columns is None:
            self._check_absence(key)
            return None
        if columns[1:5] != key:
            raise corrupt(self.path, f"its index does not lead to {unit}")
        return self._checked(columns)

    def _check_absence(self, key: tuple[str, str, str, int]) -> None:
        """A damaged header or index could hide a unit, and it would begin anew."""
        if self._sound_at != (version := self._pragma("data_version")):
            self.headers()
            self._sound_at = version
        if self.execute(_FIND_WITHOUT_INDEX, key).fetchone():
            raise corrupt(self.path, f"its index lacks {Unit(*key)}")

    def headers(self) -> list[Header]:
        """Every unit's header. Units are never deleted: a count below the highest id means that some are lost."""
        headers = [self._checked(columns) for columns in self.execute("SELECT * FROM unit")]
        for header in headers:
            self._check_group(header)
        if len(headers) != (highest := self._highest_id()):
            raise corrupt(self.path, f"it holds {len(headers)} units of {highest}")
        return headers

    def _checked(self, columns: tuple[Any, ...]) -> Header:
        header = Header.from_columns(columns)
        if header is None:
            raise corrupt(self.path, f"the header of {Unit(*columns[1:5])} does not match its checksum")
        return header

    def _check_group(self, header: Header) -> None:
        if file_name(root_group(header.group_name)) != self.path.parent.name:
            raise StateIncompatibleError(
                f"{self.path} holds {header.unit}, which belongs into the directory of its own group. Nothing was "
                "changed; give the directory its name back"
            )

    def new_header(self, unit: Unit, epoch: int) -> Header:
        return Header(self._highest_id() + 1, unit.group, unit.plugin, unit.topic, unit.partition, epoch)

    def add(self, header: Header) -> None:
        self.execute(_ADD, header.columns())

    def update(self, header: Header) -> None:
        unit_id, *columns = header.columns()
        self.execute(_UPDATE, (*columns, unit_id))

    def rows(self, header: Header) -> Iterator[bytes]:
        """The rows in force, each checked."""
        yield from self._numbered(header, header.base, 0, header.pieces)
        yield from self._numbered(header, CHANGE, header.first_change, header.next_change)

    def _numbered(self, header: Header, base: int, first: int, stop: int) -> Iterator[bytes]:
        expected = first
        for number, checksum, body in self.execute(
            "SELECT number, checksum, body FROM unit_row "
            "WHERE unit = ? AND base = ? AND number >= ? AND number < ? ORDER BY number",
            (header.id, base, first, stop),
        ):
            if number != expected or checksum != header.row_checksum(base, number, body):
                break
            yield body
            expected += 1
        if expected != stop:
            raise corrupt(
                self.path, f"row {expected} of base {base} of {header.unit} is missing or does not match its checksum"
            )

    def add_rows(self, header: Header, rows: list[tuple[int, int, bytes]]) -> None:
        self.executemany(
            "INSERT INTO unit_row VALUES (?, ?, ?, ?, ?)",
            ((header.id, base, number, header.row_checksum(base, number, body), body) for base, number, body in rows),
        )

    def sweep(self, header: Header, added: int) -> Header:
        """Delete some of the outdated rows: more than the `added` bytes, and not so much that it stalls."""
        if not header.outdated:
            return header
        in_force = {
            "unit": header.id,
            "first_change": header.first_change,
            "base": header.base,
            "new_base": header.base if header.new_first_change is None else header.newest_base,
        }
        found = self.execute(_FIND_OUTDATED, {**in_force, "rows": _SWEEP_ROWS}).fetchall()
        chosen, budget = 0, _SWEEP_BYTES + 2 * added
        while chosen < len(found) and budget > 0:
            budget -= found[chosen][1]
            chosen += 1
        self.executemany(_DELETE_OUTDATED, [{**in_force, "rowid": rowid} for rowid, _ in found[:chosen]])
        return header.swept(chosen if found else header.outdated)

    def check(self) -> None:
        """Make sure that the file is one of ours."""
        if self._pragma("application_id") != _APPLICATION_ID:
            raise corrupt(self.path, "it is no state database, or its first bytes are overwritten")
        if (version := self._pragma("user_version")) > _VERSION:
            raise StateIncompatibleError(
                f"{self.path} has format version {version}, but this framework reads version {_VERSION}. "
                "Nothing was changed; use the framework that wrote it"
            )
        tables = {sql for (sql,) in self.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        settings = {name: self._pragma(name) for name in _SETTINGS}
        if tables != set(_TABLES) or settings != _SETTINGS:
            raise corrupt(self.path, "its tables are not those of a state database")

    def _highest_id(self) -> int:
        found = self.execute("SELECT seq FROM sqlite_sequence WHERE name = 'unit'").fetchone()
        return found[0] if found else 0

    def _pragma(self, name: str) -> Any:
        return self.execute(f"PRAGMA {name}").fetchone()[0]


def wal(path: Path) -> Path:
    """SQLite's log of what is not yet in the database at `path`; it is there while somebody has that open."""
    return path.with_name(f"{path.name}-wal")


def database_exists(path: Path) -> bool:
    """Raises `StateCorruptError` where the database is gone, but its WAL is not."""
    if exists(path):
        return True
    if exists(wal(path)):
        raise corrupt(path, f"the file is missing, but {wal(path).name} beside it is not")
    return False


def _text(data: bytes) -> str:
    """Damaged text is for the checksums to find: where decoding fails, Python 3.13 does not let the file go."""
    return data.decode(errors="surrogateescape")


def create_database(path: Path) -> None:
    """Write an empty database, whole or not at all: one without tables is therefore damaged, never new.

    It has a WAL from the start: changing to one takes a rollback journal, which readers cannot use after a crash.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        for table in _TABLES[:2]:
            connection.execute(table)
        image = bytearray(connection.serialize())
    image[_WRITE_AND_READ_VERSION] = _WAL_VERSION
    replace_file(path, bytes(image))


def open_database(path: Path, mode: Literal["rw", "ro", "ro&immutable=1"]) -> Database:
    """Connect to a database that is there, and check it."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=LOCK_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=Database,
    )
    database.path = path
    database.text_factory = _text
    try:
        database.check()
        if mode == "rw":
            database.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise StoreError(f"{path} cannot use a WAL there; choose a state directory on a local disk")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: what the machine cannot do is a `StoreError`, all else is damage."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite quotes damaged text
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if code not in _MACHINE_ERRORS:
            raise corrupt(path, f"{error} ({name})") from error
        raise StoreError(
            f"{path} cannot be read or written: {error} ({name}); what is stored is as it was. "
            f"To go on, {_MACHINE_ERRORS[code]}"
        ) from error


def corrupt(path: Path, what: str) -> StateCorruptError:
    return StateCorruptError(
        f"{path} is damaged: {what}. Nothing was changed; bring back a copy of its directory, or move that away to "
        "build the state anew from the log"
    )
