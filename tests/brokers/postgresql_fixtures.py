"""Fixtures: a PostgreSQL server that all tests share, and a database of its own for each test that asks for one."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.brokers.postgresql import PASSWORD, Server, postgresql_missing, running_server

__all__ = ["new_database", "server"]

_numbers = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server; its owner's password is in the variable PGPASSWORD."""
    if reason := postgresql_missing():
        if os.environ.get("FRAMEWORK_REQUIRE_KAFKA") == "1":
            pytest.fail(f"needs PostgreSQL: {reason}")
        pytest.skip(f"needs PostgreSQL: {reason}")
    with running_server() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        yield running


@pytest.fixture
def new_database(server: Server) -> Callable[..., str]:
    """Creates a database, `new_database(options="")`, and gives its location."""

    def create(options: str = "") -> str:
        name = f"test_{next(_numbers)}"
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} {options}")
        return server.location(name)

    return create
