"""The `sqlite` store's database: its tables, what is checked, and what SQLite's errors mean."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from framework.errors import StateCorruptError, StateIncompatibleError, StoreError
from framework.stores import StoredUnit, Unit
from framework.stores._encoding import checksum
from framework.stores._files import exists, file_name, replace_file
from framework.stores._header import Header, Row
from framework.stores._rules import root_group
from framework.stores._series import CHANGE, Series

__all__ = ["Database", "create_database", "database_errors", "database_exists", "open_database", "wal"]

_APPLICATION_ID = 0x66777374
_VERSION = 1
_TABLES = (
    """\
CREATE TABLE unit (
    id INTEGER PRIMARY KEY,
    group_name TEXT NOT NULL, plugin TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL, header TEXT NOT NULL, checksum INTEGER NOT NULL,
    UNIQUE (group_name, plugin, topic, partition)
)""",
    """\
CREATE TABLE unit_row (
    unit INTEGER NOT NULL, table_name TEXT NOT NULL, base INTEGER NOT NULL, number INTEGER NOT NULL,
    checksum INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (unit, table_name, base, number)
)""",
    "CREATE TABLE store (id TEXT NOT NULL, units INTEGER NOT NULL, checksum INTEGER NOT NULL)",
)
_SCHEMA = {
    ("table", "unit", "unit", _TABLES[0]),
    ("index", "sqlite_autoindex_unit_1", "unit", None),
    ("table", "unit_row", "unit_row", _TABLES[1]),
    ("index", "sqlite_autoindex_unit_row_1", "unit_row", None),
    ("table", "store", "store", _TABLES[2]),
}
_SETTINGS = {"auto_vacuum": 0, "encoding": "UTF-8"}

_SWEEP_ROWS = 32
_SWEEP_BYTES = 2 * 2**20
"""How much of what is outdated a checkpoint deletes, beside twice of what it adds."""

_ROW_OVERHEAD_BYTES = 1000
"""More than a row has beside its body; the name of a table is ours, and short."""

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
    sqlite3.SQLITE_NOLFS: "choose a file system that holds large files",
    sqlite3.SQLITE_TOOBIG: "keep less under one key: SQLite holds up to 1 GB in a row",
}
"""What is no damage, and what to do about it."""

_MISUSE = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)
"""Errors of Python's binding, not of the file."""

_FIND = "SELECT * FROM unit WHERE group_name = ? AND plugin = ? AND topic = ? AND partition = ?"
_FIND_WITHOUT_INDEX = _FIND.replace("unit", "unit NOT INDEXED", 1)
_ADD = "INSERT INTO unit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = """
UPDATE unit SET (group_name, plugin, topic, partition, epoch, version, header, checksum) = (?, ?, ?, ?, ?, ?, ?, ?)
WHERE id = ?
"""
_IS_OUTDATED = """
unit = :unit AND table_name = :table
AND (base = 0 AND number < :first_change OR base > 0 AND base NOT IN (:base, :new_base))
"""
_FIND_OUTDATED = f"SELECT rowid, length(body) FROM unit_row WHERE {_IS_OUTDATED} LIMIT :rows"  # noqa: S608 - constants
_DELETE_OUTDATED = f"DELETE FROM unit_row NOT INDEXED WHERE rowid = :rowid AND {_IS_OUTDATED}"  # noqa: S608 - constants
"""The condition again, and without the index: if that is damaged, it must not choose what is in force."""


class Database(sqlite3.Connection):
    """A connection that knows its file."""

    path: Path
    _id: str | None = None
    _sound_at: int | None = None
    """The `data_version` for which all was found sound: it changes when another connection writes."""

    def store_id(self) -> str:
        """The id of the database, which every copy of it has. It never changes."""
        if self._id is None:
            self._id, _ = self._store()
        return self._id

    def check_sound(self) -> None:
        """Check all that readers check, unless it was found sound and nobody else has written since."""
        if self._sound_at != (version := self._pragma("data_version")):
            self.check_format()
            self.headers()
            self._sound_at = version

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
        self.check_sound()
        if self.execute(_FIND_WITHOUT_INDEX, key).fetchone():
            raise corrupt(self.path, f"its index lacks {Unit(*key)}")

    def headers(self) -> list[Header]:
        """Every unit's header. Units are never deleted: fewer than were ever made means that some are lost."""
        headers = [self._checked(columns) for columns in self.execute("SELECT * FROM unit")]
        for header in headers:
            self._check_group(header.stored.unit)
        _, units = self._store()
        if len(headers) != units:
            raise corrupt(self.path, f"it holds {len(headers)} units of {units}")
        return headers

    def _checked(self, columns: tuple[Any, ...]) -> Header:
        header = Header.from_columns(columns)
        if header is None:
            raise corrupt(self.path, f"the header of {Unit(*columns[1:5])} does not match its checksum")
        return header

    def _check_group(self, unit: Unit) -> None:
        if file_name(root_group(unit.group)) != self.path.parent.name:
            raise StateIncompatibleError(
                f"{self.path} holds {unit}, which belongs into the directory of its own group. Nothing was "
                "changed; give the directory its name back"
            )

    def add(self, unit: Unit, epoch: int, version: int = 0) -> Header:
        """A new unit's header, which is stored."""
        store_id, units = self._store()
        header = Header(units + 1, StoredUnit(unit, epoch, version))
        self.execute(_ADD, header.columns())
        self.execute("UPDATE store SET units = ?, checksum = ?", (header.id, checksum((store_id, header.id))))
        return header

    def update(self, header: Header) -> None:
        """Replace a unit's header."""
        unit_id, *columns = header.columns()
        self.execute(_UPDATE, (*columns, unit_id))

    def rows(self, header: Header) -> Iterator[tuple[str, bytes]]:
        """The rows in force of each table, each checked."""
        for table, series in header.series.items():
            yield from self._numbered(header, table, series.base, 0, series.pieces)
            yield from self._numbered(header, table, CHANGE, series.first_change, series.next_change)

    def _numbered(self, header: Header, table: str, base: int, first: int, stop: int) -> Iterator[tuple[str, bytes]]:
        expected = first
        for number, found, body in self.execute(
            "SELECT number, checksum, body FROM unit_row "
            "WHERE unit = ? AND table_name = ? AND base = ? AND number >= ? AND number < ? ORDER BY number",
            (header.id, table, base, first, stop),
        ):
            if number != expected or found != header.row_checksum(table, base, number, body):
                break
            yield table, body
            expected += 1
        if expected != stop:
            raise corrupt(
                self.path,
                f"row {expected} of base {base} of table {table!r} of {header.stored.unit} is missing or does not "
                "match its checksum",
            )

    def add_rows(self, header: Header, rows: Sequence[Row]) -> None:
        """Add these rows. Raises `StoreError` for one that SQLite cannot hold."""
        self._check_size(header.stored.unit, max((len(body) for *_, body in rows), default=0))
        self.executemany(
            "INSERT INTO unit_row VALUES (?, ?, ?, ?, ?, ?)",
            (
                (header.id, table, base, number, header.row_checksum(table, base, number, body), body)
                for table, base, number, body in rows
            ),
        )

    def _check_size(self, unit: Unit, largest: int) -> None:
        limit = self.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - _ROW_OVERHEAD_BYTES
        if largest > limit:
            raise StoreError(
                f"{unit}: a row of {largest:,} bytes was not saved, because SQLite holds {limit:,} bytes in a row; "
                "what is stored is as it was. Keep less under one key"
            )

    def sweep(self, header: Header, added: int) -> Header:
        """Delete some of the outdated rows: more than the `added` bytes, and not so much that it stalls."""
        rows, budget = _SWEEP_ROWS, _SWEEP_BYTES + 2 * added
        for table, series in header.series.items():
            if series.outdated and rows > 0 and budget > 0:
                deleted, size = self._sweep(header.id, table, series, rows, budget)
                header = header.swept(table, deleted or series.outdated)
                rows, budget = rows - deleted, budget - size
        return header

    def _sweep(self, unit_id: int, table: str, series: Series, rows: int, budget: int) -> tuple[int, int]:
        """How many rows of a table were deleted, and their bytes."""
        in_force = {
            "unit": unit_id,
            "table": table,
            "first_change": series.first_change,
            "base": series.base,
            "new_base": series.newest_base if series.base_has_begun else series.base,
        }
        found = self.execute(_FIND_OUTDATED, {**in_force, "rows": rows}).fetchall()
        chosen, size = 0, 0
        while chosen < len(found) and size < budget:
            size += found[chosen][1]
            chosen += 1
        self.executemany(_DELETE_OUTDATED, [{**in_force, "rowid": rowid} for rowid, _ in found[:chosen]])
        return chosen, size

    def check_format(self) -> None:
        """Make sure that the file is one of ours."""
        if self._pragma("application_id") != _APPLICATION_ID:
            raise corrupt(self.path, "it is no state database, or its first bytes are overwritten")
        if (version := self._pragma("user_version")) > _VERSION:
            raise StateIncompatibleError(
                f"{self.path} has format version {version}, but this framework reads version {_VERSION}. "
                "Nothing was changed; use the framework that wrote it"
            )
        schema = self.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        settings = {name: self._pragma(name) for name in _SETTINGS}
        if len(schema) != len(_SCHEMA) or set(schema) != _SCHEMA or settings != _SETTINGS:
            raise corrupt(self.path, "its tables are not those of a state database")

    def _store(self) -> tuple[str, int]:
        """The database's id, and how many units were ever made."""
        rows = self.execute("SELECT id, units, checksum FROM store").fetchall()
        if len(rows) != 1 or rows[0][2] != checksum(rows[0][:2]):
            raise corrupt(self.path, "the row of its table store is missing or does not match its checksum")
        store_id, units, _ = rows[0]
        return store_id, units

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
    """Write a database without units, whole or not at all: one without tables is therefore damaged, never new.

    It has a WAL from the start: changing to one takes a rollback journal, which readers cannot use after a crash.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        for table in _TABLES:
            connection.execute(table)
        store = (uuid4().hex, 0)
        connection.execute("INSERT INTO store VALUES (?, ?, ?)", (*store, checksum(store)))
        image = bytearray(connection.serialize())
    image[_WRITE_AND_READ_VERSION] = _WAL_VERSION
    replace_file(path, bytes(image))


def open_database(path: Path, mode: Literal["rw", "ro", "ro&immutable=1"], timeout: float) -> Database:
    """Connect to a database that is there, and check it."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=Database,
    )
    database.path = path
    database.text_factory = _text
    try:
        database.check_format()
        if mode == "rw":
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
            if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise StoreError(f"{path} cannot use a WAL there; choose a state directory on a local disk")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: a `StoreError` where the machine or our use of it is at fault, else damage."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite quotes damaged text
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if isinstance(error, _MISUSE):
            advice = "start again; please report it if it comes back"
        elif code in _MACHINE_ERRORS:
            advice = _MACHINE_ERRORS[code]
        else:
            raise corrupt(path, f"{error} ({name})") from error
        raise StoreError(
            f"{path} cannot be read or written: {error} ({name}); what is stored is as it was. To go on, {advice}"
        ) from error


def corrupt(path: Path, what: str) -> StateCorruptError:
    return StateCorruptError(
        f"{path} is damaged: {what}. Nothing was changed; bring back a copy of its directory, or move that away "
        "and start with --on-missing-state rebuild, which builds the state anew from the log"
    )
