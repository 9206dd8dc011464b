"""The store keeps the contract of stores, on a real server."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from framework_postgresql import PostgresqlOptions, PostgresqlStore

from framework import StateCorruptError, StateIncompatibleError, Store, StoredUnit, StoreError, Unit, UsageError
from framework.stores import ALREADY_SAVED, SAVED
from framework.testing import StoreConformance
from framework.testing.store_model import UNIT, Owner, accept_all, state_rows
from tests.brokers.cutting_proxy import CuttingProxy
from tests.brokers.postgresql import PASSWORD, Server

pytest_plugins = ["tests.brokers.postgresql_fixtures"]

numbers = count()


class TestContract(StoreConformance):
    @pytest.fixture
    def open_store(self, server: Server) -> Iterator[Callable[..., Store]]:
        """Two schemas of a database are two stores."""
        schemas = {elsewhere: f"contract_{next(numbers)}" for elsewhere in (False, True)}
        with ExitStack() as opened_here:

            def open_one(*, read_only: bool = False, elsewhere: bool = False) -> Store:
                options = PostgresqlOptions(table_schema=schemas[elsewhere])
                store = PostgresqlStore.open(server.location(), options, read_only=read_only)
                return opened_here.enter_context(closing(store))

            yield open_one


# Faults


def opened(location: str, **options: Any) -> PostgresqlStore:
    return PostgresqlStore.open(location, PostgresqlOptions(**options))


@pytest.fixture
def location(new_database: Callable[[], str]) -> str:
    return new_database()


def test_a_server_that_restarts_between_saves_is_waited_for(server: Server, location: str) -> None:
    with closing(opened(location)) as store:
        owner = Owner(store)
        owner.save(b"[1]")
        server.stop()
        waiting = threading.Thread(target=owner.save, args=(b"[2]",))
        waiting.start()
        server.start()
        waiting.join(60)
        assert state_rows(store) == [b"[1]", b"[2]"]


@pytest.mark.parametrize("lost", ["the request", "the answer"])
def test_a_commit_whose_answer_is_lost_counts_once(server: Server, location: str, lost: str) -> None:
    with CuttingProxy(server.port, at_request=lost == "the request") as proxy:
        through = location.replace(f":{server.port}/", f":{proxy.port}/")
        with closing(opened(through, patience=5)) as store, closing(opened(location)) as beside:
            owner = Owner(store)
            owner.save(b"[1]")
            checkpoint = owner.checkpoint(b"[2]")
            proxy.cut_at_commit = True
            with pytest.raises(StoreError):
                store.save([checkpoint])
            proxy.wait_until_cut()
            assert store.save([checkpoint]) == [SAVED if lost == "the request" else ALREADY_SAVED]
            assert state_rows(beside) == [b"[1]", b"[2]"]


def test_a_connection_that_is_ended_at_any_statement_leaves_all_or_nothing(
    server: Server, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0]
    execute = psycopg.Cursor.execute

    def ended(self: Any, *args: Any, **settings: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            with server.connect() as connection:
                execute(
                    connection.cursor(), "SELECT pg_terminate_backend(%s, 10000)", (self.connection.info.backend_pid,)
                )
        return execute(self, *args, **settings)

    with closing(opened(location)) as store, closing(opened(location)) as beside:
        owner = Owner(store)
        owner.save(b"[0]")
        expected = [b"[0]"]
        monkeypatch.setattr(psycopg.Cursor, "execute", ended)
        failures = 0
        for statement in range(1, 12):
            checkpoint = owner.checkpoint(b"[%d]" % statement)
            left[0] = statement
            try:
                outcomes = store.save([checkpoint])
            except StoreError:
                failures += 1
                left[0] = 0
                assert state_rows(beside) == expected
                outcomes = store.save([checkpoint])
            left[0] = 0
            expected.append(b"[%d]" % statement)
            assert outcomes == [SAVED]
            owner.version, owner.last_offset = checkpoint.version, checkpoint.own_progress.last_offset
            assert state_rows(beside) == expected
        assert failures >= 3


def test_a_worker_that_stands_still_in_a_transaction_does_not_keep_others_out(location: str) -> None:
    with closing(opened(location, idle_timeout=0.3)) as still, closing(opened(location)) as other:
        owner = Owner(still)
        owner.save(b"[1]")

        def stand_still(unit: Unit, stored: StoredUnit | None) -> None:
            assert other.claim([unit], accept_all)[0].previous is not None

        with pytest.raises(StoreError, match=r"25P03|terminat"):
            still.claim([UNIT], stand_still)
        assert still.save([owner.checkpoint(b"[2]")])[0].kind == "fenced"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE framework.unit SET header = replace(header, 'json', 'jsom')", "the header of .* does not match"),
        ("UPDATE framework.unit SET epoch = epoch + 1", "the header of .* does not match"),
        ("UPDATE framework.unit_row SET body = 'x'", "row 0 of base 0 .* does not match its checksum"),
        ("DELETE FROM framework.unit_row WHERE number = 1", "row 1 of base 0 .* is missing"),
    ],
)
def test_damage_is_found_and_nothing_is_changed(server: Server, location: str, damage: str, told: str) -> None:
    with closing(opened(location)) as store:
        owner = Owner(store)
        owner.save(b"[1]")
        owner.save(b"[2]")
        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(damage)
        with pytest.raises(StateCorruptError, match=told):
            list(store.load(UNIT))
        if "header" in told:
            assert store.save([owner.checkpoint(b"[3]")])[0].kind == "corrupt"
            with pytest.raises(StateCorruptError, match=told):
                store.claim([UNIT], accept_all)


def test_tables_that_were_made_anew_under_a_worker_are_a_conflict(location: str) -> None:
    with closing(opened(location)) as store:
        owner = Owner(store)
        owner.save(b"[1]")
        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute("DROP SCHEMA framework CASCADE")
        with closing(opened(location)) as beside:
            Owner(beside).save(b"[9]")
            assert store.save([owner.checkpoint(b"[2]")])[0].kind == "conflict"
            assert state_rows(beside) == [b"[9]"]


# Bad input


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda at: at.replace("owner@", "nobody@"), "check the user, its password"),
        (lambda at: at.replace("/test_", "/nowhere_"), "create the database"),
        (
            lambda at: at.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1").split(",")[0] + "/x",
            "check that the server runs",
        ),
    ],
    ids=["another user", "no database", "no server"],
)
def test_a_server_that_refuses_is_told_at_once(location: str, change: Callable[[str], str], told: str) -> None:
    with closing(opened(change(location), patience=0)) as store, pytest.raises(StoreError, match=told) as raised:
        store.stored()
    assert PASSWORD not in str(raised.value)


def test_a_wrong_password_is_told_and_not_waited_for(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong secret")
    with closing(opened(location)) as store, pytest.raises(StoreError, match="check the user, its password") as raised:
        store.id_of("group")
    assert "wrong secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("postgresql://a:secret@h/d", "has a password, which others could see"),
        ("postgresql://a@h/d?password=secret", "has a password"),
        ("postgresql:host=h password=secret", "write postgresql://HOST/DATABASE"),
        ("postgresql://a@h:secret/d?x=secret", "is no connection URI"),
        ("sqlite:secret", "not a location of the store postgresql"),
    ],
)
def test_a_location_that_cannot_be_is_refused_and_not_repeated(location: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        opened(location)
    assert "secret" not in str(raised.value)


def test_a_database_of_another_encoding_is_refused(new_database: Callable[[str], str]) -> None:
    latin = new_database("ENCODING 'LATIN1' TEMPLATE template0")
    with closing(opened(latin)) as store, pytest.raises(StoreError, match="has the encoding LATIN1"):
        store.id_of("group")


def test_tables_of_a_newer_version_are_refused_and_left_alone(location: str) -> None:
    with closing(opened(location)) as store:
        Owner(store).save(b"[1]")
    with psycopg.connect(location, autocommit=True) as connection:
        connection.execute("UPDATE framework.schema_version SET version = 99")
    with closing(opened(location)) as store:
        for read in (store.stored, lambda: store.id_of("group")):
            with pytest.raises(StateIncompatibleError, match="has tables of version 99 in the schema framework"):
                read()


@pytest.mark.parametrize("schema", ["With space", 'a"; DROP SCHEMA public; --', "ключ", "select"])
def test_the_schema_may_have_any_name(location: str, schema: str) -> None:
    with closing(opened(location, table_schema=schema)) as store:
        Owner(store).save(b"[1]")
        assert state_rows(store) == [b"[1]"]
    with closing(opened(location)) as other:
        assert other.stored() == []


def test_two_workers_that_start_at_once_create_the_tables_once(location: str) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        stores = [stack.enter_context(closing(opened(location))) for _ in range(4)]
        assert len(set(threads.map(lambda store: store.id_of("group"), stores))) == 1


def test_a_role_with_few_rights_runs_as_the_readme_says(server: Server, location: str) -> None:
    with closing(opened(location, create=False)) as store, pytest.raises(StoreError, match="create=true"):
        store.id_of("group")
    with closing(opened(location)) as store:
        Owner(store).save(b"[1]")
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    grants = re.findall(r"^GRANT .*;$", readme, re.MULTILINE)
    assert len(grants) == 3
    with psycopg.connect(location, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE worker LOGIN PASSWORD '{PASSWORD}'")
        with (
            closing(opened(location.replace("owner@", "worker@"), create=False)) as store,
            pytest.raises(StoreError, match="grant the role the rights"),
        ):
            store.stored()
        for grant in grants:
            connection.execute(grant)
    with closing(opened(location.replace("owner@", "worker@"), create=False)) as store:
        owner = Owner(store)
        owner.save(b"[2]")
        other = Owner(store, Unit("new", "keycount", "topic", 0))
        other.save(b"[3]")
        assert state_rows(store) == [b"[1]", b"[2]"]


def test_outdated_rows_are_deleted(location: str) -> None:
    with closing(opened(location)) as store:
        owner = Owner(store)
        for number in range(300):
            owner.save(b"[%d]" % number)
        owner.save(base=[b"base"], begins=True, ends=True)
        for number in range(10):
            owner.save(b"[%d]" % number)
        assert state_rows(store) == [b"base", *(b"[%d]" % number for number in range(10))]
    with psycopg.connect(location) as connection:
        assert connection.execute("SELECT count(*) FROM framework.unit_row").fetchone() == (11,)
