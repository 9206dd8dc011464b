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
    FencedError,
    StateCorruptError,
    StateError,
    StateIncompatibleError,
    StoreError,
)
from framework.stores import StoredUnit
from framework.stores.sqlite import SqliteStore
from tests.stores.damage import OTHER, Contents, check_damaged, cuts, read, save_database
from tests.stores.units import UNIT, Owner, accept_all, snapshot


@pytest.fixture
def database(directory: Path) -> Path:
    """A database at rest: one unit with a base and changes, one with a change."""
    return save_database(directory)


def run(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rows_on_disk(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        [count] = connection.execute("SELECT count(*) FROM unit_row").fetchone()
    return int(count)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE unit_row SET body = x'00' WHERE number = 2",
        "UPDATE unit_row SET body = CAST(body AS TEXT)",
        "UPDATE unit_row SET checksum = checksum + 1 WHERE base = 1 AND number = 0",
        "UPDATE unit_row SET number = 9 WHERE number = 3",
        "UPDATE unit_row SET number = CASE number WHEN 2 THEN -3 ELSE -2 END WHERE number IN (2, 3)",
        "UPDATE unit_row SET unit = 3 - unit, number = number + 100 WHERE base = 0",
        "DELETE FROM unit_row WHERE number = 2",
        "DELETE FROM unit_row WHERE number = 3",
        "DELETE FROM unit_row WHERE base = 1 AND number = 0",
        "DELETE FROM unit_row",
        "UPDATE unit SET last_offset = last_offset + 1",
        "UPDATE unit SET epoch = epoch + 1",
        "UPDATE unit SET position = NULL",
        "UPDATE unit SET partition = partition + 10",
        "UPDATE unit SET group_name = 'other'",
        "UPDATE unit SET id = id + 10",
        "UPDATE unit SET next_change = next_change - 1",
        "UPDATE unit SET codec = 'msgpack'",
        "UPDATE unit SET codec = CAST(codec AS BLOB)",
        "DELETE FROM unit WHERE partition = 0",
        "DELETE FROM unit",
        "DELETE FROM sqlite_sequence",
    ],
)
def test_changed_lost_and_swapped_rows_are_found(database: Path, directory: Path, statement: str) -> None:
    run(database, statement, "UPDATE unit_row SET number = -number WHERE number < 0")

    with pytest.raises(StateCorruptError, match=f"{database} is damaged.*move that away"):
        read(directory)


def test_nothing_is_read_past_a_lost_row(database: Path, directory: Path) -> None:
    run(database, "DELETE FROM unit_row WHERE number = 2")
    read_rows: list[bytes] = []

    with closing(SqliteStore(directory, read_only=True)) as store, pytest.raises(StateCorruptError):
        read_rows.extend(store.rows(UNIT))

    assert read_rows == [b"piece one", b"piece two", b"one"]


def test_an_index_that_leads_to_another_unit_is_found(database: Path, directory: Path) -> None:
    entry = b"groupkeycounttopic\x02"
    whole = database.read_bytes()
    assert whole.count(entry) == 1
    database.write_bytes(whole.replace(entry, entry[:-1] + b"\x01"))

    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match="index"):
        store.claim(OTHER, accept_all)


def test_a_damaged_unit_is_not_taken_for_a_new_one(database: Path, directory: Path) -> None:
    run(database, "UPDATE unit SET topic = 'topid' WHERE partition = 0")

    with (
        closing(SqliteStore(directory)) as store,
        pytest.raises(StateCorruptError, match="does not match its checksum"),
    ):
        store.claim(UNIT, accept_all)


def test_damage_of_one_unit_leaves_the_others_alone(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        owner, other = Owner(store), Owner(store, OTHER)
        run(database, "UPDATE unit SET last_offset = 100 WHERE partition = 0")

        outcomes = store.save([owner.checkpoint(b"four"), other.checkpoint(b"another")])

        assert [type(outcome) for outcome in outcomes] == [StateCorruptError, type(None)]
        assert list(store.rows(OTHER)) == [b"other", b"another"]


def test_a_row_number_that_is_taken_is_damage(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        run(database, "INSERT INTO unit_row VALUES (1, 0, 4, 0, x'00')")

        with pytest.raises(StateCorruptError, match=f"{database} is damaged.*UNIQUE"):
            owner.try_save(owner.checkpoint(b"four"))

    assert read(directory)[0][0].last_offset == 3


@pytest.mark.parametrize("data", [b"", b"garbage", b"\0" * 8192, b"SQLite format 3\0" + b"\x01" * 8192])
def test_a_file_that_is_no_database_is_refused_and_kept(database: Path, directory: Path, data: bytes) -> None:
    database.write_bytes(data)

    with pytest.raises(StateCorruptError, match=f"{database} is damaged"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match=f"{database} is damaged"):
        store.claim(UNIT, accept_all)

    assert database.read_bytes() == data


def test_a_database_of_somebody_else_is_refused_and_kept(database: Path, directory: Path) -> None:
    database.unlink()
    run(database, "CREATE TABLE theirs (x)")
    before = database.read_bytes()

    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError, match="no state database"):
        store.claim(UNIT, accept_all)

    assert database.read_bytes() == before


def test_a_newer_version_is_refused_and_kept(database: Path, directory: Path) -> None:
    run(database, "PRAGMA user_version = 2")
    before = database.read_bytes()

    with pytest.raises(StateIncompatibleError, match=f"{database} has format version 2.*reads version 1"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateIncompatibleError):
        store.claim(UNIT, accept_all)

    assert database.read_bytes() == before


def test_a_directory_with_another_name_is_not_taken_for_an_empty_one(database: Path, directory: Path) -> None:
    database.parent.rename(directory / "renamed")

    with closing(SqliteStore(directory)) as store:
        with pytest.raises(StateIncompatibleError, match="give the directory its name back"):
            store.claim(replace(UNIT, group="renamed"), accept_all)
        with pytest.raises(StateIncompatibleError, match="give the directory its name back"):
            store.stored()


def test_a_missing_database_with_a_wal_is_not_taken_for_an_empty_one(database: Path, directory: Path) -> None:
    database.rename(database.with_name("state.sqlite3-wal"))

    with pytest.raises(StateCorruptError, match=r"is missing, but state\.sqlite3-wal beside it is not"):
        read(directory)
    with closing(SqliteStore(directory)) as store, pytest.raises(StateCorruptError):
        store.claim(UNIT, accept_all)


def test_truncation_is_never_taken_for_less_state(database: Path, directory: Path) -> None:
    whole, before = database.read_bytes(), read(directory)
    for damaged in cuts(whole, step=311):
        database.write_bytes(damaged)

        check_damaged(directory, before)


def check_claim_of_damaged(directory: Path, before: Contents) -> None:
    """A claim finds everything as it was, or is refused; and so do reads after it."""
    claimed = False
    try:
        with closing(SqliteStore(directory)) as store:
            assert store.claim(UNIT, accept_all).previous == before[0][0]
            claimed = True
    except (StateError, StoreError):
        pass
    [mine, other] = before[0]
    after = replace(mine, epoch=mine.epoch + 1) if claimed else mine
    check_damaged(directory, ([after, other], *before[1:]))


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


def test_a_damaged_wal_gives_an_earlier_checkpoint(directory: Path, tmp_path: Path) -> None:
    states: list[tuple[list[StoredUnit], list[bytes]]] = [([], [])]
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
            assert list(store.rows(UNIT)) == [b"piece"]

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

        assert list(store.rows(UNIT)) == [b"4", b"4", b"4", b"row", b"row"]
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
        run(database, "INSERT INTO unit_row VALUES (1, 0, 4, 0, x'00')")

        with pytest.raises(StateCorruptError):
            owner.try_save(owner.checkpoint(b"four"))

        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_a_worker_whose_database_was_replaced_is_fenced(directory: Path) -> None:
    with closing(SqliteStore(directory)) as store, closing(SqliteStore(directory)) as newcomer:
        owner = Owner(store)
        owner.save(b"old")
        shutil.rmtree(directory / "group")
        claimed = Owner(newcomer)
        claimed.save(b"new", records=3)

        outcome = owner.try_save(owner.checkpoint(b"old too"))

        assert isinstance(outcome, FencedError)
        assert list(newcomer.rows(UNIT)) == [b"new"]


def test_a_reader_that_a_starting_worker_disturbs_says_so(database: Path, directory: Path) -> None:
    with closing(SqliteStore(directory)) as store:
        Owner(store).save(begins=True, base=[b"x" * 10_000] * 300, ends=True)
    with closing(SqliteStore(directory, read_only=True)) as beside, closing(SqliteStore(directory)) as store:
        reading = beside.rows(UNIT)
        next(reading)
        owner = Owner(store)
        owner.save(begins=True, base=[b"y" * 10_000] * 300, ends=True)
        for _ in range(20):
            owner.save()
        owner.save(begins=True, base=[b"z" * 10_000] * 300, ends=True)
        run(database, "PRAGMA wal_checkpoint(TRUNCATE)")

        with pytest.raises(StoreError, match="read it again"):
            list(reading)


def test_a_database_that_another_program_holds_is_named(
    database: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framework.stores._database.LOCK_SECONDS", 0)
    with closing(sqlite3.connect(database, isolation_level=None)) as holder, closing(SqliteStore(directory)) as store:
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreError, match=f"{database}.*locked.*another program"):
            store.claim(UNIT, accept_all)


@pytest.mark.parametrize(
    ("synchronous", "act"),
    [("2", lambda owner: Owner(owner.store)), ("1", lambda owner: owner.save(b"row"))],
    ids=["claim is FULL", "save is NORMAL"],
)
def test_an_epoch_outlasts_a_power_cut(
    directory: Path, synchronous: str, act: Callable[[Owner], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        [(_, connection)] = store._writers.values()

        act(owner)

        assert str(connection.execute("PRAGMA synchronous").fetchone()[0]) == synchronous
