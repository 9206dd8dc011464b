"""A server that all tests of this package share, and a database of its own for each."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.brokers.postgresql import PASSWORD, Server, postgresql_missing, running_server

_numbers = count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if reason := postgresql_missing():
        if os.environ.get("FRAMEWORK_REQUIRE_KAFKA") == "1":
            pytest.fail(f"needs PostgreSQL: {reason}")
        pytest.skip(f"needs PostgreSQL: {reason}")
    with running_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


@pytest.fixture
def new_database(server: Server) -> Callable[[], str]:
    """Creates a database, and gives its location."""

    def create(options: str = "") -> str:
        name = f"test_{next(_numbers)}"
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} {options}")
        return server.location(name)

    return create
