"""The store `postgresql`: keeps state in a PostgreSQL server, so that workers on several machines share it."""

from collections.abc import Sequence

from framework import Store, hookimpl
from framework_postgresql.store import PostgresqlOptions, PostgresqlStore

__all__ = ["PostgresqlOptions", "PostgresqlStore", "framework_stores"]


@hookimpl
def framework_stores() -> Sequence[type[Store]]:
    return [PostgresqlStore]
