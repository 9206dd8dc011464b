"""The store `postgresql`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field

from framework import Accept, Checkpoint, Claim, Outcome, StateCorruptError, Store, StoredUnit, StoreOptions, Unit
from framework.stores import SAVED
from framework.stores.header import Header, Row
from framework.stores.rules import another_owner, aside_names, check_owner, check_writable, outcome_of, root_group
from framework_postgresql import schema
from framework_postgresql.database import Database
from framework_postgresql.failures import is_worth_waiting, postgresql_errors
from framework_postgresql.location import conninfo_of, place_of

__all__ = ["PostgresqlOptions", "PostgresqlStore"]

_Connection = psycopg.Connection[tuple[Any, ...]]
_CONNECTION: Final[dict[str, Any]] = {
    "application_name": "framework",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,  # milliseconds
}
"""How a connection is made, unless the location says otherwise. A network that is silent is noticed within a minute."""
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class PostgresqlOptions(StoreOptions):
    """How the store uses the database."""

    table_schema: str = Field(
        default="framework", min_length=1, max_length=63, description="Schema of the store's tables"
    )
    create: bool = Field(default=True, description="Create and upgrade the tables; if not, a role that may must do it")
    patience: float = Field(
        default=60.0, ge=0, allow_inf_nan=False, description="Seconds to wait for a server that cannot be reached"
    )
    lock_timeout: float = Field(
        default=30.0, ge=0.001, le=86_400, description="Seconds to wait for another worker that is writing"
    )
    idle_timeout: float = Field(
        default=10.0,
        ge=0.001,
        le=86_400,
        description="Seconds after which the server ends the transaction of a worker that stands still",
    )


class PostgresqlStore(Store):
    """Keeps units in tables of a PostgreSQL server. A save of several units is one transaction."""

    name = "postgresql"
    keeps_rows = True
    survives = True
    Options = PostgresqlOptions

    def __init__(self, conninfo: str, options: PostgresqlOptions, *, read_only: bool = False) -> None:
        self._conninfo = conninfo
        self._options = options
        self._read_only = read_only
        self._place = place_of(conninfo)
        self._writer: Database | None = None
        self._reader: Database | None = None
        """The connection of the last call that has read, for the next one."""
        self._origins: dict[Unit, str] = {}
        """The id of the store at the claim of each unit. If the tables are dropped and created again while a worker
        runs, epochs begin at 1 again. The id tells the worker's claims from claims in the new tables."""

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        given = options if isinstance(options, PostgresqlOptions) else PostgresqlOptions(**options.model_dump())
        return cls(conninfo_of(location), given, read_only=read_only)

    def id_of(self, group: str) -> str:
        group = root_group(group)
        if self._read_only:
            with self._reading() as database:
                return database.id_of(group) if database else ""
        with self._writing(group) as database:
            return database.lock_group(group)

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        if not units:
            return []
        with self._writing(units[0].group) as database:
            origin = database.lock_group(root_group(units[0].group))
            database.lock(units)
            claims = [_claim(database, unit, accept) for unit in units]
        self._origins |= dict.fromkeys(units, origin)
        return claims

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        with self._reading() as database:
            visible = database and (epoch is None or self._is_here(database, unit))
            header = database.find(unit) if database and visible else None
            if epoch is not None:
                check_owner(header.stored if header else None, unit, epoch)
            if database and header:
                yield from database.rows(header)

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        if not checkpoints:
            return []
        outcomes: list[Outcome] = []
        saved: list[Header] = []
        rows: list[tuple[Header, Row]] = []
        with self._writing(checkpoints[0].unit) as database:
            database.lock([checkpoint.unit for checkpoint in checkpoints])
            for checkpoint in checkpoints:
                outcome, header = self._outcome(database, checkpoint)
                outcomes.append(outcome)
                if header is not None:
                    rows += [(header, row) for row in header.rows_of(checkpoint)]
                    saved.append(header.saved(checkpoint))
            database.add_rows(rows)
            database.update([database.sweep(header, added=len(rows)) for header in saved])
        return outcomes

    def _outcome(self, database: Database, checkpoint: Checkpoint) -> tuple[Outcome, Header | None]:
        """What becomes of a checkpoint, and the header to save it over; None if it is not to be saved."""
        try:
            header = self._find(database, checkpoint.unit)
        except StateCorruptError as error:
            return Outcome("corrupt", error), None
        outcome = outcome_of(header.stored if header else None, checkpoint)
        return outcome, header if outcome is SAVED else None

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        with self._writing(unit) as database:
            database.lock_group(root_group(unit.group))
            database.lock([unit])
            header = self._find(database, unit)
            if header is None or header.stored.epoch != epoch:
                raise another_owner(header.stored if header else None, unit, epoch)
            aside = next(name for name in aside_names(unit) if database.find(name) is None)
            database.update([header.renamed(aside)])
            database.add(unit, epoch, header.stored.version)
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        with self._reading() as database:
            return sorted(
                (header.stored for header in (database.headers(group) if database else ())),
                key=lambda stored: stored.unit,
            )

    def place(self, unit: Unit) -> str:
        return f"{self._place}, schema {self._options.table_schema}"

    def close(self) -> None:
        self._close_writer()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.connection.close()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.connection.close()

    def _find(self, database: Database, unit: Unit) -> Header | None:
        """The unit's header, for a writer; None if there is none, or the unit was claimed in tables replaced since."""
        return database.find(unit, lock=True) if self._is_here(database, unit) else None

    def _is_here(self, database: Database, unit: Unit) -> bool:
        return unit not in self._origins or self._origins[unit] == database.id_of(root_group(unit.group))

    @contextmanager
    def _writing(self, what: Unit | str) -> Iterator[Database]:
        """A transaction. After an error of any kind, the connection is given up, so that nothing of it remains."""
        check_writable(what, read_only=self._read_only)
        with postgresql_errors(self._place):
            database = self._writer_at_hand()
            try:
                with database.connection.transaction():
                    yield database
            except BaseException:
                self._close_writer()
                raise

    def _writer_at_hand(self) -> Database:
        """The connection for writing: that of the last call, if the server has kept it."""
        if self._writer is not None and not _is_alive(self._writer):
            self._close_writer()
        if self._writer is None:
            self._writer = self._connected(self._prepare)
        return self._writer

    def _prepare(self, connection: _Connection) -> None:
        """Make a connection fit for writing: commits are durable, and a transaction that stands still is ended."""
        connection.execute(_DURABLE)
        limit = f"{self._options.idle_timeout}s"
        connection.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, false)", (limit,))
        schema.prepare(connection, self._options.table_schema, self._place, create=self._options.create)

    @contextmanager
    def _reading(self) -> Iterator[Database | None]:
        """A transaction of one moment; None if there are no tables. Each has a connection to itself."""
        with postgresql_errors(self._place):
            database, self._reader = self._reader, None
            if database is not None and not _is_alive(database):
                database.connection.close()
                database = None
            database = database or self._connected(lambda connection: None)
            try:
                with database.connection.transaction():
                    database.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    is_there = schema.exists(database.connection, self._options.table_schema, self._place)
                    yield database if is_there else None
            except BaseException:
                database.connection.close()
                raise
            if self._reader is None:
                self._reader = database
            else:
                database.connection.close()

    def _connected(self, prepare: Callable[[_Connection], None]) -> Database:
        """A new connection; a server that cannot be reached is waited for."""
        deadline, pause = time.monotonic() + self._options.patience, _PAUSE
        while True:
            try:
                connection = self._connect()
            except psycopg.OperationalError as error:
                if not is_worth_waiting(error) or time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            try:
                prepare(connection)
            except BaseException:
                connection.close()
                raise
            return Database(connection, self._place)

    def _connect(self) -> _Connection:
        given = conninfo_to_dict(self._conninfo)
        connection = psycopg.connect(self._conninfo, autocommit=True, **{**_CONNECTION, **given})
        try:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{self._options.lock_timeout}s",))
        except BaseException:
            connection.close()
            raise
        return connection


def _is_alive(database: Database) -> bool:
    """Whether the server still answers on a connection that was idle since the last call."""
    try:
        database.connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _claim(database: Database, unit: Unit, accept: Accept) -> Claim:
    header = database.find(unit, lock=True)
    accept(unit, header.stored if header else None)
    if header is None:
        return Claim(database.add(unit, epoch=1).stored.epoch, None)
    claimed = header.claimed()
    database.update([claimed])
    return Claim(claimed.stored.epoch, header.stored)
