"""Locations: `postgresql://host/database`, or `postgresql:` for what libpq's environment and service file say."""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from framework import UsageError

__all__ = ["conninfo_of", "place_of"]

_NAME = "postgresql"
_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")


def conninfo_of(location: str) -> str:
    """The connection string of a location. Raises `UsageError`, which repeats no part of it that may be secret.

    A password is refused: it would be seen in the list of processes, and in configuration files.
    """
    scheme, _, rest = location.partition(":")
    if scheme != _NAME or (rest and not rest.startswith("//")):
        raise UsageError("this is not a location of the store postgresql; write postgresql://HOST/DATABASE")
    try:
        settings = conninfo_to_dict(location if rest else "")
    except ProgrammingError:
        raise UsageError(
            "the location of the store postgresql is no connection URI; write postgresql://USER@HOST:PORT/DATABASE, "
            "with special characters as %XX"
        ) from None
    if any(name in settings for name in _SECRETS):
        raise UsageError(
            "the location of the store postgresql has a password, which others could see; leave it out, and use a "
            "password file (~/.pgpass), a service file, or the variable PGPASSWORD"
        )
    return make_conninfo(location if rest else "")


def place_of(conninfo: str) -> str:
    """The server and the database, for messages."""
    settings = conninfo_to_dict(conninfo)
    if "service" in settings:
        return f"postgresql service {settings['service']}"
    host, port, database = (settings.get(name) for name in ("host", "port", "dbname"))
    return f"postgresql://{host or ''}{f':{port}' if port else ''}/{database or ''}"
