"""The database of the `sqlite` store: its tables, its checks, and the meaning of SQLite's errors."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from framework.errors import StateCorruptError, StateIncompatibleError, StoreError
from framework.stores import StoredUnit, Unit
from framework.stores._files import exists, file_name, replace_file
from framework.stores.encoding import checksum
from framework.stores.header import Header, Row
from framework.stores.rules import root_group
from framework.stores.series import CHANGE, Series

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
"""The rows that a checkpoint may delete at most, and the bytes that it may delete beyond twice the bytes it adds."""

_ROW_OVERHEAD_BYTES = 1000
"""Upper limit of a row's size without its body. Table names are short."""

_WAL_KEPT_BYTES = 64 * 2**20

_WRITE_AND_READ_VERSION = slice(18, 20)
_WAL_VERSION = b"\x02\x02"
"""The bytes of SQLite's file format for a database with a WAL. A database in memory cannot have one."""

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
"""Error codes that do not mean damage, with advice for the user."""

_MISUSE = (sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)
"""Errors of Python's sqlite3 module. They tell nothing about the file."""

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
"""Checks the condition again, without the index: a damaged index must not select rows that are in force."""


class Database(sqlite3.Connection):
    """A connection to a database file at `path`."""

    path: Path
    _id: str | None = None
    _sound_at: int | None = None
    """The `data_version` at the last successful `check_sound`. It changes when another connection writes."""

    def store_id(self) -> str:
        """The id of the database. It never changes, and copies of the database have the same id."""
        if self._id is None:
            self._id, _ = self._store()
        return self._id

    def check_sound(self) -> None:
        """Check the format and all headers, unless no other connection has written since the last check.

        Raises `StateCorruptError` or `StateIncompatibleError`.
        """
        if self._sound_at != (version := self._pragma("data_version")):
            self.check_format()
            self.headers()
            self._sound_at = version

    def find(self, unit: Unit) -> Header | None:
        """The unit's header; None if the unit is certainly not in the database. Raises `StateCorruptError`."""
        key = (unit.group, unit.plugin, unit.topic, unit.partition)
        columns = self.execute(_FIND, key).fetchone()
        if columns is None:
            self._check_absence(key)
            return None
        if columns[1:5] != key:
            raise corrupt(self.path, f"its index finds another unit for {unit}")
        return self._checked(columns)

    def _check_absence(self, key: tuple[str, str, str, int]) -> None:
        """Check that no damaged header or index hides the unit, which would otherwise begin anew."""
        self.check_sound()
        if self.execute(_FIND_WITHOUT_INDEX, key).fetchone():
            raise corrupt(self.path, f"its index lacks {Unit(*key)}")

    def headers(self) -> list[Header]:
        """The headers of all units. Units are never deleted, so fewer of them than were ever added means damage."""
        headers = [self._checked(columns) for columns in self.execute("SELECT * FROM unit")]
        for header in headers:
            self._check_group(header.stored.unit)
        _, units = self._store()
        if len(headers) != units:
            raise corrupt(self.path, f"it holds {len(headers)} of the {units} units that were added")
        return headers

    def _checked(self, columns: tuple[Any, ...]) -> Header:
        header = Header.from_columns(columns)
        if header is None:
            raise corrupt(self.path, f"the header of {Unit(*columns[1:5])} does not match its checksum")
        return header

    def _check_group(self, unit: Unit) -> None:
        if file_name(root_group(unit.group)) != self.path.parent.name:
            raise StateIncompatibleError(
                f"{self.path} holds {unit}, which belongs into a directory {file_name(root_group(unit.group))!r}. "
                "Nothing was changed; rename the directory"
            )

    def add(self, unit: Unit, epoch: int, version: int = 0) -> Header:
        """Insert a new unit. Returns its header."""
        store_id, units = self._store()
        header = Header(units + 1, StoredUnit(unit, epoch, version))
        self.execute(_ADD, header.columns())
        self.execute("UPDATE store SET units = ?, checksum = ?", (header.id, checksum((store_id, header.id))))
        return header

    def update(self, header: Header) -> None:
        """Replace the stored header of a unit."""
        unit_id, *columns = header.columns()
        self.execute(_UPDATE, (*columns, unit_id))

    def rows(self, header: Header) -> Iterator[tuple[str, bytes]]:
        """Yields table name and body of each row in force, after checking it. Raises `StateCorruptError`."""
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
        """Insert rows. Raises `StoreError` for a row that is too large for SQLite."""
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
                f"{unit}: a row of {largest:,} bytes was not saved, because SQLite holds at most {limit:,} bytes in a "
                "row; the stored state is unchanged. Store smaller values, under more keys"
            )

    def sweep(self, header: Header, added: int) -> Header:
        """Delete some outdated rows: more bytes than were `added`, but so few that it does not take long."""
        rows, budget = _SWEEP_ROWS, _SWEEP_BYTES + 2 * added
        for table, series in header.series.items():
            if series.outdated and rows > 0 and budget > 0:
                deleted, size = self._sweep(header.id, table, series, rows, budget)
                header = header.swept(table, deleted or series.outdated)
                rows, budget = rows - deleted, budget - size
        return header

    def _sweep(self, unit_id: int, table: str, series: Series, rows: int, budget: int) -> tuple[int, int]:
        """Delete outdated rows of a table. Returns their number and their total size in bytes."""
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
        """Check that the file is a state database that this version reads.

        Raises `StateCorruptError` or `StateIncompatibleError`.
        """
        if self._pragma("application_id") != _APPLICATION_ID:
            raise corrupt(self.path, "it is not a state database, or its first bytes are overwritten")
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
        """The database's id, and the number of units that were ever added."""
        rows = self.execute("SELECT id, units, checksum FROM store").fetchall()
        if len(rows) != 1 or rows[0][2] != checksum(rows[0][:2]):
            raise corrupt(self.path, "the row of its table store is missing or does not match its checksum")
        store_id, units, _ = rows[0]
        return store_id, units

    def _pragma(self, name: str) -> Any:
        return self.execute(f"PRAGMA {name}").fetchone()[0]


def wal(path: Path) -> Path:
    """The path of SQLite's write-ahead log of a database. The file exists while a process has the database open."""
    return path.with_name(f"{path.name}-wal")


def database_exists(path: Path) -> bool:
    """Whether there is a database. Raises `StateCorruptError` if only its WAL is there."""
    if exists(path):
        return True
    if exists(wal(path)):
        raise corrupt(path, f"the file is missing, but {wal(path).name} beside it is not")
    return False


def _text(data: bytes) -> str:
    """Decode text without failing; the checksums find damage. After a failure, Python 3.13 would keep the file open."""
    return data.decode(errors="surrogateescape")


def create_database(path: Path) -> None:
    """Write a database without units, atomically. So a database without tables is damaged, and never new.

    It has a WAL from the start. Switching to a WAL later would need a rollback journal, which readers cannot use after
    a crash.
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
    """Connect to an existing database, and check its format."""
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
                raise StoreError(f"{path}: SQLite cannot use a WAL there; choose a state directory on a local disk")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Convert SQLite's errors to `StoreError` if the machine or our code is at fault, else to `StateCorruptError`."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError if SQLite quotes damaged text
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if isinstance(error, _MISUSE):
            advice = "start again; please report the error if it occurs again"
        elif code in _MACHINE_ERRORS:
            advice = _MACHINE_ERRORS[code]
        else:
            raise corrupt(path, f"{error} ({name})") from error
        raise StoreError(
            f"{path} cannot be read or written: {error} ({name}); the stored state is unchanged. To continue, {advice}"
        ) from error


def corrupt(path: Path, what: str) -> StateCorruptError:
    return StateCorruptError(
        f"{path} is damaged: {what}. Nothing was changed; restore a backup of its directory, or move the directory "
        "away and start with --on-missing-state rebuild, which builds the state from the log again"
    )
