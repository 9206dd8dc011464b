"""The `sqlite` store's database: what of it is refused, and how it stays small."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from framework.errors import (
    StateCorruptError,
    StateError,
    StateIncompatibleError,
    StoreError,
)
from framework.stores import StoredUnit
from framework.stores._database import database_errors
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import UNIT, Owner, Tables, accept_all, snapshot, state_rows
from tests.stores.damage import OTHER, Contents, check_damaged, cuts, read, save_database

PAGE = 4096
ID_DIGITS = 32


@pytest.fixture
def database(directory: Path) -> Path:
    """A database at rest: one unit with a base and changes, one with a change."""
    return save_database(directory)


def run(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def read_headers(database: Path) -> list[object]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT * FROM unit").fetchall()


def rows_on_disk(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        [count] = connection.execute("SELECT count(*) FROM unit_row").fetchone()
    return int(count)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE unit_row SET body = x'00' WHERE number = 2 AND base = 0",
        "UPDATE unit_row SET body = x'00' WHERE table_name = '$timers'",
        "UPDATE unit_row SET table_name = '$other' WHERE table_name = '$timers'",
        "UPDATE unit_row SET table_name = '$timers', number = 1 WHERE table_name = '' AND number = 3",
        "DELETE FROM unit_row WHERE table_name = '$timers'",
        "UPDATE unit_row SET body = CAST(body AS TEXT)",
        "UPDATE unit_row SET checksum = checksum + 1 WHERE base = 1 AND number = 0",
        "UPDATE unit_row SET number = 9 WHERE number = 3",
        "UPDATE unit_row SET number = CASE number WHEN 2 THEN -3 ELSE -2 END WHERE number IN (2, 3)",
        "UPDATE unit_row SET unit = 3 - unit, number = number + 100 WHERE base = 0",
        "DELETE FROM unit_row WHERE number = 2",
        "DELETE FROM unit_row WHERE number = 3",
        "DELETE FROM unit_row WHERE base = 1 AND number = 0",
        "DELETE FROM unit_row",
        "UPDATE unit SET version = version + 1",
        "UPDATE unit SET epoch = epoch + 1",
        "UPDATE unit SET header = replace(header, '\"position\": 4', '\"position\": 5')",
        "UPDATE unit SET header = replace(header, ': ', ':')",
        "UPDATE unit SET header = '{}'",
        "UPDATE unit SET header = CAST(header AS BLOB)",
        "UPDATE unit SET partition = partition + 10",
        "UPDATE unit SET group_name = 'other'",
        "UPDATE unit SET id = id + 10",
        "DELETE FROM unit WHERE partition = 0",
        "DELETE FROM unit",
        "DELETE FROM store",
        "UPDATE store SET units = 3",
        "UPDATE store SET id = 'another'",
        "INSERT INTO store SELECT * FROM store",
    ],
)
def test_changed_lost_and_swapped_rows_are_found(database: Path, directory: Path, statement: str) -> None:
    run(database, statement, "UPDATE unit_row SET number = -number WHERE number < 0")

    with pytest.raises(StateCorruptError, match=f"{database} is damaged.*move the directory away"):
        read(directory)


def test_nothing_is_read_past_a_lost_row(database: Path, directory: Path) -> None:
    run(database, "DELETE FROM unit_row WHERE number = 2")
    read_rows: list[bytes] = []

    with closing(SqliteStore(directory, read_only=True)) as store, pytest.raises(StateCorruptError):
        read_rows.extend(row for _, row in store.load(UNIT))

    assert read_rows == [b"piece one", b"piece two", b"one"]


def test_an_index_that_leads_to_another_unit_is_found(database: Path, directory: Path) -> None:
    entry = b"groupkeycounttopic\x02"
    whole = database.read_bytes()
    assert whole.count(entry) == 1
    database.write_bytes(whole.replace(entry, entry[:-1] + b"\x01"))

    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match="index"):
        store.claim([OTHER], accept_all)


def test_a_damaged_unit_is_not_taken_for_a_new_one(database: Path, directory: Path) -> None:
    run(database, "UPDATE unit SET topic = 'topid' WHERE partition = 0")

    with (
        closing(SqliteStore(directory)) as store,
        pytest.raises(StateCorruptError, match="does not match its checksum"),
    ):
        store.claim([UNIT], accept_all)


def test_damage_of_one_unit_leaves_the_others_alone(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        owner, other = Owner(store), Owner(store, OTHER)
        run(database, "UPDATE unit SET version = 100 WHERE partition = 0")

        outcomes = store.save([owner.checkpoint(b"four"), other.checkpoint(b"another")])

        assert [outcome.kind for outcome in outcomes] == ["corrupt", "saved"]
        assert isinstance(outcomes[0].error, StateCorruptError)
        assert not outcomes[0].is_stored
        assert state_rows(store, OTHER) == [b"other", b"another"]


def test_a_row_number_that_is_taken_is_damage(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        run(database, "INSERT INTO unit_row VALUES (1, '', 0, 4, 0, x'00')")

        with pytest.raises(StateCorruptError, match=f"{database} is damaged.*UNIQUE"):
            owner.try_save(owner.checkpoint(b"four"))

    assert read(directory)[0][0].version == 4


@pytest.mark.parametrize("data", [b"", b"garbage", b"\0" * 8192, b"SQLite format 3\0" + b"\x01" * 8192])
def test_a_file_that_is_no_database_is_refused_and_kept(database: Path, directory: Path, data: bytes) -> None:
    database.write_bytes(data)

    with pytest.raises(StateCorruptError, match=f"{database} is damaged"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match=f"{database} is damaged"):
        store.claim([UNIT], accept_all)

    assert database.read_bytes() == data


def test_a_database_of_somebody_else_is_refused_and_kept(database: Path, directory: Path) -> None:
    database.unlink()
    run(database, "CREATE TABLE theirs (x)")
    before = database.read_bytes()

    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match="not a state database"):
        store.claim([UNIT], accept_all)

    assert database.read_bytes() == before


def test_a_newer_version_is_refused_and_kept(database: Path, directory: Path) -> None:
    run(database, "PRAGMA user_version = 2")
    before = database.read_bytes()

    with pytest.raises(StateIncompatibleError, match=f"{database} has format version 2.*reads version 1"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateIncompatibleError):
        store.claim([UNIT], accept_all)

    assert database.read_bytes() == before


def test_a_directory_with_another_name_is_not_taken_for_an_empty_one(database: Path, directory: Path) -> None:
    database.parent.rename(directory / "renamed")

    with closing(SqliteStore(directory)) as store:
        with pytest.raises(StateIncompatibleError, match="rename the directory"):
            store.claim([replace(UNIT, group="renamed")], accept_all)
        with pytest.raises(StateIncompatibleError, match="rename the directory"):
            store.stored()


def test_a_missing_database_with_a_wal_is_not_taken_for_an_empty_one(database: Path, directory: Path) -> None:
    database.rename(database.with_name("state.sqlite3-wal"))

    with pytest.raises(StateCorruptError, match=r"is missing, but state\.sqlite3-wal beside it is not"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError):
        store.claim([UNIT], accept_all)


def test_truncation_is_never_taken_for_less_state(database: Path, directory: Path) -> None:
    whole, before = database.read_bytes(), read(directory)
    for damaged in cuts(whole, step=311):
        database.write_bytes(damaged)

        check_damaged(directory, before)


def check_claim_of_damaged(directory: Path, before: Contents) -> bool:
    """Whether a claim is refused. If it is not, every reader takes the database, with all units in it."""
    [mine, other], rows, other_rows = before
    try:
        with closing(SqliteStore(directory)) as store:
            [claim] = store.claim([UNIT], accept_all)
    except (StateError, StoreError):
        check_damaged(directory, before)
        return True
    after = [replace(mine, epoch=mine.epoch + 1), other]
    assert claim.previous == mine
    with closing(SqliteStore(directory, read_only=True)) as reader:
        assert reader.stored() == after
        assert reader.id_of("group")
    check_damaged(directory, (after, rows, other_rows))
    return False


def test_a_flipped_byte_never_gives_another_state(database: Path, directory: Path) -> None:
    whole, before = database.read_bytes(), read(directory)
    written = [index for index, byte in enumerate(whole) if byte]
    found = 0
    for index in written[::3]:
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        database.write_bytes(damaged)

        found += check_damaged(directory, before) is not None

    assert found > len(written) / 6


def test_a_claim_over_a_flipped_byte_never_gives_another_state(database: Path, directory: Path) -> None:
    whole, before = database.read_bytes(), read(directory)
    written = [index for index, byte in enumerate(whole) if byte]
    for index in [*range(100), *written[1::20]]:
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        database.write_bytes(damaged)

        check_claim_of_damaged(directory, before)


def test_a_claim_over_a_flipped_byte_in_the_schema_is_refused_or_readers_take_it(
    database: Path, directory: Path
) -> None:
    whole, before = database.read_bytes(), read(directory)
    schema = [index for index, byte in enumerate(whole[:PAGE]) if byte]
    refused = 0
    for index in schema:
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        database.write_bytes(damaged)

        refused += check_claim_of_damaged(directory, before)

    assert refused > len(schema) * 0.9


@pytest.mark.parametrize("mask", [0xFF, 1, 0x80])
def test_a_claim_over_a_flipped_byte_in_the_row_of_the_store_is_refused(
    database: Path, directory: Path, mask: int
) -> None:
    whole, before = database.read_bytes(), read(directory)
    with closing(SqliteStore(directory, read_only=True)) as store:
        page = whole.index(store.id_of("group").encode()) // PAGE * PAGE
    refused = 0
    for index in [index for index in range(page, page + PAGE) if whole[index]]:
        damaged = bytearray(whole)
        damaged[index] ^= mask
        database.write_bytes(damaged)

        refused += check_claim_of_damaged(directory, before)

    assert refused >= ID_DIGITS


def test_what_another_worker_wrote_is_checked_before_the_next_claim(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store, closing(SqliteStore(directory)) as beside:
        Owner(store)
        Owner(beside)
        run(database, "UPDATE store SET units = units + 1")
        before = read_headers(database)

        for handle in (store, beside):
            with pytest.raises(StateCorruptError, match="table store"):
                handle.claim([OTHER], accept_all)
        assert read_headers(database) == before


def test_a_damaged_wal_gives_an_earlier_checkpoint(directory: Path, tmp_path: Path) -> None:
    states: list[tuple[list[StoredUnit], Tables]] = [([], {})]
    copy = tmp_path / "copy"
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        states.append(snapshot(store))
        for number in range(3):
            owner.save(b"row %d" % number)
            states.append(snapshot(store))
        shutil.copytree(directory, copy)
    wal = copy / "group" / "state.sqlite3-wal"
    whole = wal.read_bytes()
    for index in range(0, len(whole), 401):
        damaged = bytearray(whole)
        damaged[index] ^= 0x10
        wal.write_bytes(damaged)
        wal.with_name("state.sqlite3-shm").unlink(missing_ok=True)

        with closing(SqliteStore(copy, read_only=True)) as store:
            assert snapshot(store) in states


def test_outdated_rows_go_in_bounded_steps(directory: Path) -> None:
    database = directory / "group" / "state.sqlite3"
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        for _ in range(100):
            owner.save(b"row")
        owner.save(begins=True, base=[b"piece"], ends=True)
        counts = [rows_on_disk(database)]
        while counts[-1] > 1 and len(counts) < 20:
            owner.save()
            counts.append(rows_on_disk(database))
            assert state_rows(store) == [b"piece"]

    assert max(before - after for before, after in pairwise(counts)) <= 32
    assert counts[-1] == 1


def test_old_bases_and_void_ones_go(directory: Path) -> None:
    database = directory / "group" / "state.sqlite3"
    with closing(SqliteStore(directory)) as store:
        for number in range(5):
            owner = Owner(store)
            owner.save(b"row", begins=True, base=[b"%d" % number] * 3, ends=True)
            owner.save(b"row", begins=True, base=[b"void"] * 30)
        Owner(store).save()

        assert state_rows(store) == [b"4", b"4", b"4", b"row", b"row"]
        assert rows_on_disk(database) == 5


def test_what_is_left_of_a_void_base_goes(directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        Owner(store).save(b"row", begins=True, base=[b"void"] * 40)
        owner = Owner(store)
        owner.save()
        owner.save()

    assert rows_on_disk(directory / "group" / "state.sqlite3") == 1


def test_large_outdated_rows_go_few_at_a_time(directory: Path) -> None:
    database = directory / "group" / "state.sqlite3"
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        owner.save(begins=True, base=[b"x" * 2**20] * 10, ends=True)
        owner.save(begins=True, ends=True)
        assert rows_on_disk(database) == 8
        owner.save(b"y" * 2**20)
        assert rows_on_disk(database) == 8 - 4 + 1


def test_after_a_failed_write_the_connection_is_not_used_again(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        [(_, connection)] = store._writers.values()
        run(database, "INSERT INTO unit_row VALUES (1, '', 0, 4, 0, x'00')")

        with pytest.raises(StateCorruptError):
            owner.try_save(owner.checkpoint(b"four"))

        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_reader_that_a_starting_worker_disturbs_says_so(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        Owner(store).save(begins=True, base=[b"x" * 10_000] * 300, ends=True)
    with closing(SqliteStore(directory, read_only=True)) as beside, closing(SqliteStore(directory)) as store:
        reading = beside.load(UNIT)
        next(reading)
        owner = Owner(store)
        owner.save(begins=True, base=[b"y" * 10_000] * 300, ends=True)
        for _ in range(20):
            owner.save()
        owner.save(begins=True, base=[b"z" * 10_000] * 300, ends=True)
        run(database, "PRAGMA wal_checkpoint(TRUNCATE)")

        with pytest.raises(StoreError, match="while it was read; try again"):
            list(reading)


def test_a_database_that_another_program_holds_is_named(database: Path, directory: Path) -> None:
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as holder,
        closing(SqliteStore(directory, lock_timeout=0.01)) as store,
    ):
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match=f"{database}.*locked.*another program"):
            store.claim([UNIT], accept_all)


def test_the_id_goes_with_a_copy_and_with_what_is_set_aside(database: Path, directory: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        Owner(store, replace(UNIT, group="other"))
        owner = Owner(store)
        aside = store.set_aside(UNIT, owner.epoch)
        ids = {group: store.id_of(group) for group in ("group", "other", aside.group)}
    shutil.copytree(directory, tmp_path / "copy")

    with closing(SqliteStore(tmp_path / "copy", read_only=True)) as copy:
        assert {group: copy.id_of(group) for group in ids} == ids
    assert ids["group"] == ids[aside.group] != ids["other"]


@pytest.mark.parametrize("error", [sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.NotSupportedError])
def test_an_error_of_pythons_binding_is_no_damage(tmp_path: Path, error: type[sqlite3.Error]) -> None:
    with (
        pytest.raises(StoreError, match=f"{tmp_path}.*planted.*start again; please report the error"),
        database_errors(tmp_path),
    ):
        raise error("planted")


@pytest.mark.parametrize(
    "act", [lambda owner: Owner(owner.store), lambda owner: owner.save(b"row")], ids=["claim", "save"]
)
def test_what_was_claimed_or_saved_outlasts_a_power_cut(directory: Path, act: Callable[[Owner], None]) -> None:
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        [(_, connection)] = store._writers.values()

        act(owner)

        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
