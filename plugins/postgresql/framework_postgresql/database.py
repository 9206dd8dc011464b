"""The statements of the store, within a transaction of its caller."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import psycopg

from framework import StateCorruptError, StoredUnit, Unit
from framework.stores.header import Header, Row
from framework.stores.series import CHANGE, Series

__all__ = ["Database"]

_COLUMNS: Final = "id, group_name, plugin, topic, partition, epoch, version, header, checksum"
_IS_UNIT: Final = "(group_name, plugin, topic, partition) = (%s, %s, %s, %s)"
_FIND: Final = f"SELECT {_COLUMNS} FROM unit WHERE {_IS_UNIT}"  # noqa: S608 - constants
_UPDATE: Final = """
UPDATE unit SET
(group_name, plugin, topic, partition, epoch, version, header, checksum) = (%s, %s, %s, %s, %s, %s, %s, %s)
WHERE id = %s
"""
_COPY: Final = "COPY unit_row (unit, table_name, base, number, checksum, body) FROM STDIN (FORMAT BINARY)"
_ROWS: Final = """
SELECT number, checksum, body FROM unit_row
WHERE unit = %s AND table_name = %s AND base = %s AND number >= %s AND number < %s ORDER BY number
"""
_DELETE_OUTDATED: Final = """
DELETE FROM unit_row WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM unit_row WHERE unit = %(unit)s AND table_name = %(table)s
    AND (base = 0 AND number < %(first_change)s OR base > 0 AND base <> %(base)s AND base <> %(new_base)s)
    LIMIT %(rows)s
))
"""
_SWEEP_ROWS: Final = 64
"""The rows of a table that a checkpoint may delete in any case; if it adds many, it deletes twice as many."""
_FETCHED: Final = 100
"""The rows that a load gets from the server at a time."""
_LOCK: Final = """
SELECT id FROM unit JOIN unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS wanted (g, p, t, n)
ON (group_name, plugin, topic, partition) = (g, p, t, n) ORDER BY id FOR NO KEY UPDATE OF unit
"""


class Database:
    """A connection, with the statements of the store."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], place: str) -> None:
        self.connection = connection
        self._place = place

    def lock_group(self, group: str) -> str:
        """Keep other claims of the group out until the transaction ends. Returns the store's id for the group.

        The id is drawn at random when a group is locked first.
        """
        self.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"framework {group}",))
        self.connection.execute("INSERT INTO store VALUES (%s, %s) ON CONFLICT DO NOTHING", (group, uuid4().hex))
        return self.id_of(group)

    def id_of(self, group: str) -> str:
        """The store's id for a group; "" if nothing of the group is stored."""
        found = self.connection.execute("SELECT id FROM store WHERE group_name = %s", (group,)).fetchone()
        return str(found[0]) if found else ""

    def find(self, unit: Unit, *, lock: bool = False) -> Header | None:
        """The unit's header; None if there is none. `lock` keeps other writers out until the transaction ends.

        Raises `StateCorruptError`.
        """
        statement = f"{_FIND} FOR NO KEY UPDATE" if lock else _FIND
        columns = self.connection.execute(statement, (unit.group, unit.plugin, unit.topic, unit.partition)).fetchone()
        return None if columns is None else self._checked(columns)

    def lock(self, units: Sequence[Unit]) -> None:
        """Keep other writers of these units out until the transaction ends. Two callers never wait for each other."""
        names = [(unit.group, unit.plugin, unit.topic, unit.partition) for unit in units]
        self.connection.execute(_LOCK, [list(column) for column in zip(*names, strict=True)])

    def headers(self, group: str | None = None) -> list[Header]:
        """The headers of all units, or of those of a group. Raises `StateCorruptError`."""
        where = "" if group is None else " WHERE group_name = %s"
        rows = self.connection.execute(
            f"SELECT {_COLUMNS} FROM unit{where} ORDER BY group_name, plugin, topic, partition",  # noqa: S608 - constants
            () if group is None else (group,),
        )
        return [self._checked(columns) for columns in rows]

    def _checked(self, columns: Sequence[Any]) -> Header:
        header = Header.from_columns(columns)
        if header is None:
            raise self._corrupt(f"the header of {Unit(*columns[1:5])} does not match its checksum")
        return header

    def add(self, unit: Unit, epoch: int, version: int = 0) -> Header:
        """Insert a new unit, and return its header."""
        (number,) = self.connection.execute("SELECT nextval(pg_get_serial_sequence('unit', 'id'))").fetchone() or (0,)
        header = Header(number, StoredUnit(unit, epoch, version))
        self.connection.execute(
            f"INSERT INTO unit ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",  # noqa: S608 - constants
            header.columns(),
        )
        return header

    def update(self, headers: Iterable[Header]) -> None:
        """Replace the stored headers of units."""
        with self.connection.cursor() as cursor:
            columns = [header.columns() for header in headers]
            cursor.executemany(_UPDATE, [(*rest, number) for number, *rest in columns])

    def add_rows(self, added: Iterable[tuple[Header, Row]]) -> None:
        """Insert rows."""
        with self.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(["int8", "text", "int8", "int8", "int8", "bytea"])
            for header, (table, base, number, body) in added:
                copy.write_row((header.id, table, base, number, header.row_checksum(table, base, number, body), body))

    def rows(self, header: Header) -> Iterator[tuple[str, bytes]]:
        """Yields table name and body of each row in force, after checking it. Raises `StateCorruptError`."""
        for table, series in header.series.items():
            yield from self._numbered(header, table, series.base, 0, series.pieces)
            yield from self._numbered(header, table, CHANGE, series.first_change, series.next_change)

    def _numbered(self, header: Header, table: str, base: int, first: int, stop: int) -> Iterator[tuple[str, bytes]]:
        expected = first
        if first < stop:
            with self.connection.cursor(name="framework_rows") as cursor:
                cursor.itersize = _FETCHED
                cursor.execute(_ROWS, (header.id, table, base, first, stop))
                for number, found, body in cursor:
                    if number != expected or found != header.row_checksum(table, base, number, body):
                        break
                    yield table, body
                    expected += 1
        if expected != stop:
            raise self._corrupt(
                f"row {expected} of base {base} of table {table!r} of {header.stored.unit} is missing or does not "
                "match its checksum"
            )

    def sweep(self, header: Header, *, added: int) -> Header:
        """Delete some outdated rows of each table: more than were `added`, so that they never pile up.

        Returns the header after that.
        """
        for table, series in header.series.items():
            if series.outdated:
                deleted = self._sweep(header.id, table, series, max(_SWEEP_ROWS, 2 * added))
                header = header.swept(table, deleted or series.outdated)
        return header

    def _sweep(self, unit: int, table: str, series: Series, rows: int) -> int:
        in_force = {
            "unit": unit,
            "table": table,
            "first_change": series.first_change,
            "base": series.base,
            "new_base": series.newest_base if series.base_has_begun else series.base,
            "rows": rows,
        }
        return self.connection.execute(_DELETE_OUTDATED, in_force).rowcount

    def _corrupt(self, what: str) -> StateCorruptError:
        return StateCorruptError(
            f"{self._place} is damaged: {what}. Nothing was changed; restore a backup of the database, or move its "
            "schema away and start with --on-missing-state rebuild, which builds the state from the log again"
        )
