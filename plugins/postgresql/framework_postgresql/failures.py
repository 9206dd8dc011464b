"""The meaning of PostgreSQL's errors, and what a user can do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from framework import StoreError

__all__ = ["is_worth_waiting", "postgresql_errors"]

_UNREACHABLE: Final = "08"
_ADVICE: Final = {
    _UNREACHABLE: "check that the server runs, and the network to it",
    "22": "please report this",
    "25P03": "look at what stopped the worker in the middle of a transaction, so that the server ended it",
    "28": "check the user, its password, and the server's pg_hba.conf",
    "3D000": "create the database, or name another one",
    "42501": "grant the role the rights that the README of framework-postgresql lists",
    "53100": "free some space on the server",
    "53200": "give the server more memory",
    "53300": "raise max_connections of the server, or end other connections",
    "55P03": "look in pg_stat_activity at who holds a lock for longer than lock_timeout",
    "57014": "look at the server's statement_timeout",
    "57P": "check that the server runs",
}
"""What to do, by the beginning of the error's code (SQLSTATE)."""
_REFUSED: Final = (
    (re.compile("too many|reserved for"), "53300"),
    (re.compile("database .* does not exist"), "3D000"),
    (re.compile("authentication failed|pg_hba|role .* does not exist|permission denied|not permitted to log in"), "28"),
)
"""Codes of connections that the server refuses, by its message, because libpq does not tell the code. With any other
message, the server may start or stop, so that it is waited for."""


@contextmanager
def postgresql_errors(place: str) -> Iterator[None]:
    """Convert PostgreSQL's errors to `StoreError`."""
    try:
        yield
    except psycopg.Error as error:
        code = _code(error)
        told = " ".join(str(error).split()) or type(error).__name__
        known = (text for begin, text in _ADVICE.items() if code.startswith(begin))
        raise StoreError(
            f"{place} cannot be read or written: {told} ({code}); the stored state is that of the last checkpoint. To "
            f"continue, {next(known, 'start again, and report this if it occurs again')}"
        ) from error


def is_worth_waiting(error: psycopg.OperationalError) -> bool:
    """Whether a connection that failed may succeed later: the server is away, starts, or has too many connections."""
    return _code(error).startswith((_UNREACHABLE, "57P", "53300"))


def _code(error: psycopg.Error) -> str:
    """The SQLSTATE of an error."""
    if error.sqlstate:
        return error.sqlstate
    text = str(error)
    if not isinstance(error, psycopg.OperationalError):
        return "22"  # psycopg itself refused a value
    return next((code for pattern, code in _REFUSED if pattern.search(text)), _UNREACHABLE)
