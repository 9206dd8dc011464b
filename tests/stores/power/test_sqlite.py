"""Power cuts of the `sqlite` store, between any two things that SQLite and the store do to its files."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from framework.stores import _database
from framework.stores.sqlite import SqliteStore
from tests.stores.power.disk import Enter, Leave, Write, read_tree
from tests.stores.power.outages import Outage, cut, cut_twice, record
from tests.stores.power.vfs import RecordedDatabase

TURNS = 60
SEEDS = range(4)


def breaches(outages: list[Outage]) -> list[str]:
    return [str(outage) for outage in outages if outage.breach]


@pytest.mark.parametrize("seed", SEEDS)
def test_state_and_offset_outlast_a_power_cut_together(disk: Path, seed: int) -> None:
    random = Random(seed)
    history = record(SqliteStore, disk / "store", random, TURNS)

    outages = [*cut(SqliteStore, history, disk / "left", random, random.sample(history.recording.points, 60), each=4)]

    assert breaches(outages) == []
    assert len(outages) > 100


def test_a_database_is_born_whole(disk: Path) -> None:
    random = Random(0)
    history = record(SqliteStore, disk / "store", random, turns=1)

    outages = [*cut(SqliteStore, history, disk / "left", random, history.recording.points[:30], each=10)]

    assert breaches(outages) == []
    assert len(outages) > 100


def test_the_power_may_fail_again_during_recovery(disk: Path) -> None:
    random = Random(0)
    history = record(SqliteStore, disk / "store", random, TURNS)

    outages = [*cut_twice(SqliteStore, history, disk / "left", random, random.sample(history.recording.points, 12))]

    assert breaches(outages) == []
    assert len(outages) > 50


@pytest.mark.parametrize("seed", SEEDS)
def test_a_life_has_all_that_a_wal_goes_through(disk: Path, seed: int) -> None:
    recording = record(SqliteStore, disk / "store", Random(seed), TURNS).recording

    nodes = {operation.name: operation.node for operation in recording.operations if isinstance(operation, Enter)}
    writes = [operation for operation in recording.operations if isinstance(operation, Write)]
    left = [operation.name for operation in recording.operations if isinstance(operation, Leave)]
    wals = {operation.node for operation in writes} - {nodes[".tmp"]}
    assert "state.sqlite3-wal" in left, "the last to close removes the WAL"
    assert [write.offset for write in writes if write.node in wals].count(0) > len(wals), "it begins again"
    assert [write.node for write in writes].count(nodes[".tmp"]) > 50, "it is moved into the database"
    assert "state.sqlite3-journal" not in nodes


def test_the_recording_misses_nothing(disk: Path) -> None:
    recording = record(SqliteStore, disk / "store", Random(0), TURNS).recording

    assert recording.now() == read_tree(disk / "store")


class NeverSynced(RecordedDatabase):
    replaced = {"PRAGMA synchronous = FULL": "PRAGMA synchronous = OFF"}


class CommitsNotSynced(RecordedDatabase):
    replaced = {"PRAGMA synchronous = FULL": "PRAGMA synchronous = NORMAL"}


class RowsBeforeHeader(RecordedDatabase):
    def add_rows(self, *rows: Any) -> None:
        super().add_rows(*rows)
        self.execute("COMMIT")
        self.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize("bug", [NeverSynced, CommitsNotSynced, RowsBeforeHeader])
def test_what_is_not_safe_is_found(disk: Path, bug: type[RecordedDatabase]) -> None:
    random = Random(0)
    history = record(SqliteStore, disk / "store", random, TURNS, database=bug)

    outages = cut(SqliteStore, history, disk / "left", random, random.sample(history.recording.points, 100), each=4)

    assert any(outage.breach for outage in outages)


def test_a_database_that_is_created_in_place_is_found(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "replace_file", Path.write_bytes)
    random = Random(0)
    history = record(SqliteStore, disk / "store", random, turns=1)

    outages = cut(SqliteStore, history, disk / "left", random, history.recording.points[:10], each=10)

    assert any(outage.breach for outage in outages)
