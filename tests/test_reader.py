"""A program reads stored state, as the workers stored it."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from framework import Changes, Checkpoint, StateCorruptError, StoreError, Unit, UsageError, read_state
from framework.stores import STATE_TABLE
from framework.stores.sqlite import SqliteStore
from framework.testing import Run
from framework.testing.store_model import Owner

LINES = "ann\t1\nbob\t2\nann\t3\n"


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_all_partitions_are_read(framework_run: Callable[..., Run], tmp_path: Path, store: str) -> None:
    (tmp_path / "names.tsv").write_text(LINES)
    location = f"{store}:{tmp_path / 'kept'}"
    framework_run(
        *("--plugin", "keycount", "--input", tmp_path / "names.tsv", "--topic", "names"),
        *("--store", location, "--stop-at-end"),
    )
    states = list(read_state(location, "keycount"))
    assert {state.unit.topic for state in states} == {"names"}
    assert {key: value for state in states for key, value in state.state.items()} == {"ann": 2, "bob": 1}
    assert sum(state.last_offset + 1 for state in states) == 3
    assert min(state.version for state in states) >= 1
    last = states[-1]
    assert list(read_state(location, "keycount", topic="names", partition=last.unit.partition)) == [last]
    for nothing in ({"topic": "other"}, {"partition": 99}, {"group": "other"}):
        assert list(read_state(location, "keycount", **nothing)) == []
    assert list(read_state(location, "other")) == []


def test_nothing_is_made_where_nothing_is_stored(tmp_path: Path) -> None:
    assert list(read_state(f"sqlite:{tmp_path / 'none'}", "keycount")) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("store", "told"), [("memory", "keeps nothing beyond"), ("sqlit:x", "did you mean sqlite")])
def test_a_store_that_cannot_be_read_is_told(store: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        next(read_state(store, "keycount"))


def test_damage_is_told(framework_run: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text(LINES)
    location = f"file:{tmp_path / 'kept'}"
    framework_run("--plugin", "keycount", "--input", tmp_path / "names.tsv", "--store", location, "--stop-at-end")
    damaged = next((tmp_path / "kept").rglob("*.json"))
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with pytest.raises(StateCorruptError):
        list(read_state(location, "keycount"))


def test_the_example_of_the_docs_prints_what_it_shows(framework_run: Callable[..., Run], tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "stores.md").read_text()
    _, _, rest = page.partition("```python\n# totals.py\n")
    code, _, rest = rest.partition("```")
    (tmp_path / "names.tsv").write_text(LINES)
    framework_run(
        *("--plugin", "keycount", "--input", tmp_path / "names.tsv", "--store", f"sqlite:{tmp_path / 'state'}"),
        "--stop-at-end",
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert sorted(printed.splitlines()) == ["ann 2", "bob 1"]


def test_state_and_offset_are_of_one_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"sqlite:{tmp_path / 'state'}"
    store = SqliteStore(tmp_path / "state")
    unit = Unit("framework-keycount", "keycount", "topic", 0)
    with closing(store):
        owner = Owner(store, unit)
        owner.save_whole(counts(owner, 1))
        load, saves = SqliteStore.load, [3]

        def saved_meanwhile(self: SqliteStore, *args: Any) -> Any:
            if saves[0]:
                saves[0] -= 1
                owner.save_whole(counts(owner, owner.last_offset + 2))
            return load(self, *args)

        monkeypatch.setattr(SqliteStore, "load", saved_meanwhile)
        (read,) = read_state(location, "keycount")
        assert (read.last_offset, read.version, read.state) == (3, 4, {"a": 4})
        saves[0] = 1000
        with pytest.raises(StoreError, match="each of 10 attempts to read it met a new checkpoint"):
            next(read_state(location, "keycount"))


def test_state_that_is_removed_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SqliteStore(tmp_path / "state")) as store:
        owner = Owner(store, Unit("framework-keycount", "keycount", "topic", 0))
        owner.save_whole(counts(owner, 1))
    states = read_state(f"sqlite:{tmp_path / 'state'}", "keycount")
    stored, calls = SqliteStore.stored, [0]

    def removed(self: SqliteStore, group: str | None = None) -> Any:
        calls[0] += 1
        return stored(self, group) if calls[0] == 1 else []

    monkeypatch.setattr(SqliteStore, "stored", removed)
    with pytest.raises(StoreError, match="was removed while it was read"):
        next(states)


def counts(owner: Owner, count: int) -> Checkpoint:
    row = b'[{"a": %d}, []]' % count
    changes = Changes(keys=1, rows=[row])
    return owner.checkpoint_of({STATE_TABLE: changes})
