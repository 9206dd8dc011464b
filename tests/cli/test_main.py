import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from framework import errors
from framework.cli.main import COMMANDS, cli
from framework.cli.options import Command


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


@pytest.fixture
def raising() -> Iterator[Any]:
    """Adds a command `fail` that raises what it is given."""

    def add(error: BaseException) -> None:
        @cli.command("fail", cls=Command)
        def fail() -> None:
            raise error

    yield add
    cli.commands.pop("fail", None)


def test_help_names_all_commands_and_imports_none() -> None:
    program = "import sys; from framework.cli.main import cli; cli(['--help'])"
    check = "import atexit, sys; atexit.register(lambda: print([m for m in sys.modules if 'aiokafka' in m]));"
    done = subprocess.run([sys.executable, "-c", check + program], capture_output=True, text=True, check=True)
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert done.stdout.endswith("[]\n")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_config_and_debug(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    paths = [(name, *path) for path in commands(command)] if isinstance(command, click.Group) else [(name,)]
    for path in paths:
        result = invoke(*path, "--help")
        assert result.exit_code == 0
        assert "Example" in result.stdout, path
        assert f"  framework {' '.join(path)}" in result.stdout, path
        assert "--config" in result.stdout, path
        assert "--debug" in result.stdout, path


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("framework 0.")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["stat"], "error: No such command 'stat'. Did you mean 'state'?\ntry 'framework --help'\n"),
        (["--bogus"], "error: No such option '--bogus'.\ntry 'framework --help'\n"),
        (
            ["state", "list", "--jsn"],
            "error: No such option '--jsn'. Did you mean '--json'?\ntry 'framework state list --help'\n",
        ),
    ],
)
def test_usage_errors_are_two_lines(args: list[str], expected: str) -> None:
    result = invoke(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_without_a_command_it_helps() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "FrameworkError"])
def test_every_error_ends_with_its_status(raising: Any, name: str) -> None:
    kind = getattr(errors, name)
    raising(kind("what happened; what to do"))
    result = invoke("fail")
    assert (result.exit_code, result.stderr) == (kind.exit_status, "error: what happened; what to do\n")


def test_what_nobody_expected_is_a_line_too(raising: Any) -> None:
    raising(KeyError("x"))
    result = invoke("fail")
    assert result.exit_code == 1
    assert result.stderr == "unexpected error: KeyError: 'x' (use --debug for the traceback; please report)\n"


@pytest.mark.parametrize("args", [["--debug", "fail"], ["fail", "--debug"]])
@pytest.mark.parametrize("error", [KeyError("x"), errors.StateCorruptError("broken")])
def test_debug_shows_the_traceback(raising: Any, args: list[str], error: Exception) -> None:
    raising(error)
    assert "Traceback" in invoke(*args).stderr
    assert "Traceback" not in invoke("fail").stderr


def test_debug_from_a_variable(raising: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(KeyError("x"))
    monkeypatch.setenv("FRAMEWORK_DEBUG", "1")
    assert "Traceback" in invoke("fail").stderr


def test_interrupted(raising: Any) -> None:
    raising(KeyboardInterrupt())
    result = invoke("fail")
    assert result.exit_code == 128 + signal.SIGINT
    assert result.stderr.strip() == ""


def test_a_bad_config_file_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "framework.toml"
    file.write_text("bootstrap-server = 'x'")
    result = invoke("state", "list", "--config", str(file))
    assert result.exit_code == 2
    assert result.stderr == f"error: {file}: unknown key bootstrap-server (did you mean bootstrap-servers?)\n"


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "framework", *args], capture_output=True, text=True, check=False)


def test_as_a_module() -> None:
    done = run("state", "show", "keycount", "--store", "memory")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: store memory keeps nothing")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nowhere_to_write(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "framework", "state", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device (use --debug for the traceback)\n"


def test_a_reader_that_has_seen_enough_ends_it_quietly() -> None:
    program = """
from framework.cli.main import cli
@cli.command()
def talk():
    import sys
    while True:
        sys.stdout.write("y\\n" * 1000)
cli(["talk"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_import_nothing_that_takes_long(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom framework.cli import main\ntry: main()\n"
        "finally: print([name for name in ('aiokafka', 'pydantic', 'pydantic_core', 'msgspec') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.splitlines()[-1] == "[]"
