"""A program reads stored state, as the workers stored it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framework import StateCorruptError, UsageError, read_state
from framework.testing import Run

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
