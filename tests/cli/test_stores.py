import fcntl
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from framework.cli.main import cli
from framework.cli.options import Command, store_options
from framework.cli.stores import store_location
from framework.errors import UsageError
from framework.plugins import load
from framework.stores import Unit
from tests.end_to_end.worker import framework

UNIT = Unit("g", "keycount", "test", 0)

PLUGIN = '''
from framework import hookimpl
from framework.stores.file import FileStore

class ShelfOptions(FileStore.Options):
    shelf: int

class ShelfStore(FileStore):
    """Files on a shelf of the directory."""

    name = "shelf"
    Options = ShelfOptions

    @classmethod
    def open(cls, location, options, *, read_only=False):
        plain = FileStore.Options(lock_timeout=options.lock_timeout)
        return super().open(f"{location}/{options.shelf}", plain, read_only=read_only)

@hookimpl
def framework_stores():
    return [ShelfStore]
'''


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@click.command(cls=Command)
@store_options
@click.pass_context
def locate(ctx: click.Context, /, store: str, state_dir: Path, **others: Any) -> None:
    click.echo(store_location(ctx, store, state_dir))


def location(*args: str) -> str:
    """Raises `UsageError`."""
    return CliRunner().invoke(locate, args, catch_exceptions=False).stdout.strip()


def state(*args: str) -> Result:
    return CliRunner().invoke(cli, ["state", *args])


def listed(*args: str) -> list[str]:
    """The groups that `state list` finds."""
    result = state("list", "--json", *args)
    assert result.exit_code == 0, result.stderr
    return [each["group"] for each in json.loads(result.stdout)]


def claim(where: str, group: str = "g", options: Mapping[str, Any] | None = None) -> None:
    with closing(load([]).open_store(where, options or {})) as store:
        store.claim([Unit(group, "keycount", "test", 0)], lambda unit, stored: None)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "sqlite:state"),
        (["--store", "file"], "file:state"),
        (["--state-dir", "/var/lib/x"], "sqlite:/var/lib/x"),
        (["--store", "file", "--state-dir", "a b"], "file:a b"),
        (["--store", "sqlite:elsewhere"], "sqlite:elsewhere"),
        (["--store", "postgresql://user@host:5432/database"], "postgresql://user@host:5432/database"),
        (["--store", "memory"], "memory:"),
        (["--store", "postgresql"], "postgresql:"),
    ],
)
def test_a_store_without_a_location_is_where_it_is_by_default(args: list[str], expected: str) -> None:
    assert location(*args) == expected


def test_two_places_for_one_state_are_refused() -> None:
    with pytest.raises(UsageError, match="--store and --state-dir here both say where the state is; leave --state-dir"):
        location("--store", "sqlite:there", "--state-dir", "here")


@pytest.mark.parametrize("command", [["list"], ["show", "keycount"], ["export", "keycount"]])
def test_every_command_refuses_two_places(command: list[str]) -> None:
    result = state(*command, "--store", "sqlite:there", "--state-dir", "here")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "both say where the state is" in result.stderr


def test_a_run_refuses_two_places() -> None:
    args = ["run", "--plugin", "keycount", "--stop-at-end", "--store", "sqlite:there", "--state-dir", "here"]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == 2
    assert "both say where the state is" in result.stderr
    assert not Path("there").exists()


def test_of_two_places_in_different_layers_a_flag_beats_a_variable_and_a_variable_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("framework.toml").write_text('state-dir = "of-file"\n')
    monkeypatch.setenv("FRAMEWORK_CONFIG", "framework.toml")
    monkeypatch.setenv("FRAMEWORK_STORE", "sqlite:of-variable")
    assert location() == "sqlite:of-variable"
    assert location("--store", "file") == "file:of-file"
    monkeypatch.setenv("FRAMEWORK_STATE_DIR", "of-variable")
    assert location("--store", "sqlite:of-flag") == "sqlite:of-flag"
    with pytest.raises(UsageError, match="both say"):
        location()
    monkeypatch.delenv("FRAMEWORK_STATE_DIR")
    with pytest.raises(UsageError, match="both say"):
        location("--state-dir", "of-flag")


def test_a_file_that_names_two_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("framework.toml").write_text('store = "sqlite:there"\nstate-dir = "here"\n')
    monkeypatch.setenv("FRAMEWORK_CONFIG", "framework.toml")
    with pytest.raises(UsageError, match="both say"):
        location()


@pytest.mark.parametrize("name", ["sqlite", "file"])
def test_a_location_says_where_the_state_is(name: str) -> None:
    claim(f"{name}:elsewhere", "there")
    claim(f"{name}:state", "here")
    assert listed("--store", f"{name}:elsewhere") == listed("--store", name, "--state-dir", "elsewhere") == ["there"]
    assert listed("--store", name) == ["here"]


def test_a_location_without_a_place_is_refused() -> None:
    result = state("list", "--store", "sqlite:")
    assert result.exit_code == 2
    assert "the location 'sqlite:' names no directory; write one, such as sqlite:state" in result.stderr


def test_options_of_a_store_reach_it() -> None:
    """The lock is held, so a claim takes as long as the store is told to wait; the default is half a minute."""
    claim("sqlite:state")
    lock = Path("state", "g", "state.lock")
    Path("my-partition-state-test-0.json").write_text('{"last_offset": 0, "counts": {"a": 1}}')
    take_over = ["import", "--from-seed", "my-*.json", "--plugin", "keycount", "--group", "g", "--partitions", "1"]
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = state(*take_over, "--store-option", "lock_timeout=0.05")
    assert result.exit_code == 1
    assert str(lock) in result.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("lock_timout=1", "the store sqlite has no option lock_timout (did you mean lock_timeout?)"),
        ("lock_timeout=soon", "the options of the store sqlite cannot be used: lock_timeout: "),
        ("lock_timeout=0", "lock_timeout: it must be greater than 0"),
        ("lock_timeout=nan", "lock_timeout: it must be a finite number"),
        ("lock_timeout", "write NAME=VALUE"),
    ],
)
def test_options_that_the_store_does_not_take_are_refused(option: str, complaint: str) -> None:
    result = state("list", "--store-option", option)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_options_of_a_store_come_from_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("framework.toml").write_text('[store-option]\nlock_timeout = "soon"\n')
    monkeypatch.setenv("FRAMEWORK_CONFIG", "framework.toml")
    assert "lock_timeout: it must be a number" in state("list").stderr
    assert listed("--store-option", "lock_timeout=1") == []


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin with a store, and one that is broken."""
    for name, target in (("shelf", "a_shelf_store"), ("a-broken", "no_such_module")):
        info = tmp_path / f"dist_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[framework.plugins]\n{name} = {target}\n")
    (tmp_path / "a_shelf_store.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("shelf")
def test_the_store_of_an_installed_plugin_is_found_by_its_name() -> None:
    with closing(load(["shelf"]).open_store("shelf:there", {"shelf": 3})) as store:
        store.claim([UNIT], lambda unit, stored: None)
    assert listed("--store", "shelf:there", "--store-option", "shelf=3") == ["g"]
    assert listed("--store", "shelf:there", "--store-option", "shelf=4") == []


@pytest.mark.usefixtures("shelf")
def test_what_the_store_of_a_plugin_must_be_told_is_asked_for() -> None:
    result = state("list", "--store", "shelf:there")
    assert result.exit_code == 2
    assert "the options of the store shelf cannot be used: shelf: it is required" in result.stderr
    assert "options of the store shelf: lock_timeout (float, > 0, default 30.0); shelf (int, required)" in result.stderr


@pytest.mark.usefixtures("shelf")
def test_a_run_finds_the_store_of_an_installed_plugin_that_it_does_not_run() -> None:
    args = ["run", "--plugin", "keycount", "--stop-at-end", "--input", "a.tsv", "--store", "shelf:there"]
    Path("a.tsv").write_text("a\t1\n")
    done = framework(*args, "--store-option", "shelf=3", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert set(listed("--store", "shelf:there", "--store-option", "shelf=3")) == {"framework-keycount"}
