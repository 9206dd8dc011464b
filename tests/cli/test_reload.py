"""`framework run --reload`: each supervisor here is a process of its own, which gets real signals."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from framework.cli.reload import Sources, editable_places
from framework.testing.brokers import Broker
from tests.cli.terminal import Terminal
from tests.end_to_end.worker import Worker, exported, framework

PLUGIN = """
import ctypes, sys
from framework import Processor

c, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)

class Counts(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + (ADDED)
        print(f"{record.key}: {state[record.key]}", file=sys.stderr, flush=True)
"""


# Source files


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/deep.py", "notes.txt"):
        (folder / name).write_text("")
    return folder


def settled(sources: Sources) -> list[Path]:
    """What has changed, once two readings are the same."""
    sources.changed()
    return sources.changed()


def test_all_files_of_a_package_are_watched(package: Path) -> None:
    sources = Sources([package])
    assert settled(sources) == []
    (package / "notes.txt").write_text("not source")
    assert settled(sources) == []
    (package / "inner/deep.py").write_text("x = 1")
    assert settled(sources) == [package / "inner/deep.py"]
    assert settled(sources) == []
    (package / "new.py").write_text("")
    (package / "__init__.py").unlink()
    assert settled(sources) == [package / "__init__.py", package / "new.py"]


def test_several_saves_are_one_change(package: Path) -> None:
    file = package / "__init__.py"
    sources = Sources([file])
    for text in ("x", "xy", "xyz"):
        file.write_text(text)
        assert sources.changed() == []
    assert sources.changed() == [file]
    assert sources.changed() == []


def test_an_editor_that_replaces_the_file_is_seen(package: Path) -> None:
    file = package / "__init__.py"
    before = file.stat()
    sources = Sources([file])
    (package / "saved").write_text("")
    os.utime(package / "saved", ns=(before.st_atime_ns, before.st_mtime_ns))
    (package / "saved").rename(file)
    assert settled(sources) == [file]


def test_what_changes_while_the_places_do_is_told(package: Path) -> None:
    sources = Sources([package / "__init__.py"])
    (package / "__init__.py").write_text("x = 1")
    (package / "inner/deep.py").write_text("x = 1")
    sources.watch([package])
    assert settled(sources) == [package / "__init__.py"], "the other one was not watched before"


def test_the_places_are_those_of_modules_that_can_be_edited(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alone.py").write_text("")
    (tmp_path / "spread").mkdir()
    (tmp_path / "spread" / "part.py").write_text("")
    before = editable_places()
    for name in ("alone", "package", "package.inner", "package.inner.deep", "spread", "spread.part"):
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
    assert editable_places() - before == {package, tmp_path / "alone.py", tmp_path / "spread" / "part.py"}
    assert not [place for place in editable_places() if "site-packages" in str(place) or place.name == "framework"]


# Runs


def write(folder: Path, added: str = "1", *, name: str = "counts.py") -> None:
    """The plugin, saved as many editors do."""
    (folder / "saved").write_text(PLUGIN.replace("ADDED", added))
    (folder / "saved").rename(folder / name)


@contextmanager
def started(*args: object, cwd: Path, prefix: Sequence[str] = ()) -> Iterator[Worker]:
    """A run that restarts when counts.py changes. It is not killed at the end, as that would leave its child."""
    worker = Worker("--plugin", "counts.py", "--reload", *args, cwd=cwd, prefix=prefix)
    try:
        yield worker
    finally:
        worker.terminate()


@pytest.fixture
def args(broker: Broker, topic: Callable[..., str], tmp_path: Path) -> list[str]:
    """Those of a run on a topic of its own; the plugin is there."""
    write(tmp_path)
    return ["--bootstrap-servers", broker.bootstrap_servers, "--topic", topic()]


Send = Callable[[], object]


@pytest.fixture
def send(produce: Callable[..., object], args: list[str]) -> Send:
    """Sends one record with the key a."""
    return partial(produce, args[-1], ["a"])


def total(cwd: Path) -> int:
    return sum(exported(cwd, "counts").values())


def test_a_change_restarts_from_the_last_checkpoint(args: list[str], send: Send, tmp_path: Path) -> None:
    with started(*args, "--checkpoint-interval", "1h", cwd=tmp_path) as worker:
        worker.wait_for("watching counts.py")
        send()
        worker.wait_for("a: 1")
        write(tmp_path, "10")
        worker.wait_for("changed: counts.py")
        worker.wait_for("restarting from the last checkpoint")
        send()
        worker.wait_for("a: 11")
        assert worker.terminate() == 0
    assert total(tmp_path) == 11


def test_source_that_does_not_load_is_told_and_the_old_one_goes_on(args: list[str], send: Send, tmp_path: Path) -> None:
    with started(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        write(tmp_path, "(")
        worker.wait_for("error: plugin counts.py cannot be imported: SyntaxError")
        worker.wait_for("the run goes on with the old source until the next change")
        send()
        worker.wait_for("a: 1")
        write(tmp_path, "10")
        worker.wait_for("restarting")
        send()
        worker.wait_for("a: 11")


def test_a_run_that_fails_is_started_again_after_the_next_change(args: list[str], send: Send, tmp_path: Path) -> None:
    write(tmp_path, "1 / 0")
    send()
    with started(*args, cwd=tmp_path) as worker:
        worker.wait_for("ZeroDivisionError")
        worker.wait_for("the run ended with status 1; it starts again after the next change")
        write(tmp_path, "(")
        worker.wait_for("no run is started until the next change")
        write(tmp_path, "2")
        worker.wait_for("a: 2")
        assert worker.terminate() == 0
    assert total(tmp_path) == 2


def test_a_signal_while_no_run_is_there_gives_the_status_of_the_last_one(
    args: list[str], send: Send, tmp_path: Path
) -> None:
    write(tmp_path, "1 / 0")
    send()
    with started(*args, cwd=tmp_path) as worker:
        worker.wait_for("the run ended with status 1")
        assert worker.terminate() == 1


def test_several_saves_restart_once(args: list[str], send: Send, tmp_path: Path) -> None:
    with started(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        for added in ("2", "(", "3", "10"):
            write(tmp_path, added)
        worker.wait_for("restarting")
        send()
        worker.wait_for("a: 10")
        assert worker.terminate() == 0
        assert sum("assigned: " in line for line in worker.messages) == 2


def test_a_run_that_ends_is_started_again_after_the_next_change(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "in.tsv").write_text("a\t1\n")
    with started("--input", "in.tsv", "--stop-at-end", cwd=tmp_path) as worker:
        worker.wait_for("each restart begins without state; to keep it, start framework broker")
        worker.wait_for("a: 1")
        worker.wait_for("the run ended with status 0")
        write(tmp_path, "10")
        worker.wait_for("restarting without state")
        worker.wait_for("a: 10")
        worker.wait_for("the run ended with status 0")


def test_the_variable_is_not_that_of_the_child(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAMEWORK_RELOAD", "1")
    with started(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        assert worker.terminate() == 0
        assert sum("watching" in line for line in worker.messages) == 1


BLOCKED = """
            print("blocks", file=sys.stderr, flush=True) or [c.pthread_mutex_lock(mutex) for _ in range(2)]
"""
"""It waits for a lock that it has, and holds the GIL, so that no thread of Python runs."""


def test_a_run_that_does_not_end_is_killed(args: list[str], send: Send, tmp_path: Path) -> None:
    write(tmp_path, BLOCKED)
    send()
    with started(*args, "--shutdown-timeout", "300ms", cwd=tmp_path) as worker:
        worker.wait_for("blocks")
        write(tmp_path, "1")
        worker.wait_for("the run has not ended 5.3 s after the signal; it is killed, and the stored state is intact")
        worker.wait_for("a: 1")


IN_NEW_SESSION = [sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_ends_the_run(
    number: signal.Signals, args: list[str], send: Send, tmp_path: Path
) -> None:
    with started(*args, "--checkpoint-interval", "1h", cwd=tmp_path, prefix=IN_NEW_SESSION) as worker:
        send()
        worker.wait_for("a: 1")
        worker.signal(number)
        assert worker.wait() == 0
    assert total(tmp_path) == 1


def test_ctrl_c_on_a_terminal_ends_the_run_after_a_last_checkpoint(
    args: list[str], send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal sends the signal to both processes. A run that got it twice would end at once, with status 130."""
    monkeypatch.setenv("TERM", "dumb")
    send()
    command = ["run", "--plugin", "counts.py", "--reload", *args, "--checkpoint-interval", "1h"]
    with Terminal(command, cwd=tmp_path) as terminal:
        terminal.wait_for("a: 1")
        terminal.press("\x03")
        terminal.wait_for("stopping after a last checkpoint")
        assert terminal.wait() == 0
    assert total(tmp_path) == 1


# Refusals


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--input", "-"], "--reload cannot read standard input again at a restart; give --input a file"),
        (["--store", "sqlite"], "each restart has a new embedded broker, which the stored state does not belong to"),
        (["--option", "keep=3"], "error: --option: unknown option keep"),
    ],
)
def test_what_cannot_be_restarted_is_refused(args: list[str], message: str, tmp_path: Path) -> None:
    write(tmp_path)
    done = framework("run", "--plugin", "counts.py", "--reload", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_plugin_that_does_not_load_at_the_start_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "(")
    done = framework("run", "--plugin", "counts.py", "--reload", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: plugin counts.py cannot be imported: SyntaxError: '(' was never closed (counts.py, line 11)\n"
    )


def test_an_installed_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    where = "import site; print(site.getusersitepackages())"
    folder = Path(subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True).stdout[:-1])
    folder.mkdir(parents=True)
    write(folder, name="installed.py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    done = framework("run", "--plugin", "installed:Counts", "--reload", cwd=tmp_path)
    assert done.returncode == 2
    assert "--reload has nothing to watch: all plugins are in installed packages" in done.stderr
    assert "pip install --editable" in done.stderr
