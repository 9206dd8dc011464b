"""`framework run --reload`: starts the run again when the source of its plugins changes.

This process loads no plugin. It starts the same command without `--reload` as a child process, so that each run has
fresh modules, and state only goes through the store. Before a run is ended, a further process checks that the new
source loads.

The files are polled. That needs no further package, and it also sees files that an editor replaces, and changes in
folders that a container shares.
"""

import json
import logging
import os
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import FrameType
from typing import IO, Final

import click

from framework.errors import UsageError

__all__ = ["Sources", "editable_places", "print_report", "supervise"]

log = logging.getLogger("framework")

_OWN: Final = ("__main__", "framework", "framework_speedups")
"""Modules that are no plugin's."""
_POLL_SECONDS: Final = 0.2
_GRACE_SECONDS: Final = 5.0
"""What a run may take to end beyond its `--shutdown-timeout`, which it watches itself."""


def supervise(*, shutdown_timeout: float) -> int:
    """Run the command of this process without `--reload`, and again after each change of the plugins' source.

    A run that ends by itself waits for the next
    change, too: SIGINT or SIGTERM ends it all, after a last checkpoint.

    `shutdown_timeout`: that of the run, in seconds. Gives the exit status of the last run. Raises `UsageError` if no
    plugin has source that may change.
    """
    command = [sys.executable, *sys.orig_argv[1:], "--no-reload"]
    return _Supervisor(command, shutdown_timeout + _GRACE_SECONDS).run()


def print_report(*, store_survives: bool, has_broker: bool) -> None:
    """Print what `supervise` must know of a run that could start, from a process that has loaded its plugins.

    `store_survives`: whether the state outlives the run. `has_broker`: whether the broker does.
    """
    report = {"places": sorted(map(str, editable_places())), "store_survives": store_survives, "has_broker": has_broker}
    click.echo("\n" + json.dumps(report))  # plugins may have printed before


# Source files


def editable_places() -> set[Path]:
    """Where the imported modules are that a developer may edit: the folder of a package, or the file of a module.

    Modules of Python, of framework and of installed packages are left out; an editable installation is none of those.
    """
    paths = sysconfig.get_paths()
    fixed = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    fixed |= {*site.getsitepackages(), site.getusersitepackages()}
    folders = [Path(folder).resolve() for folder in fixed]
    names = [name for name in sys.modules if name.partition(".")[0] not in _OWN]
    found = {place for place in map(_place, names) if place is not None}
    return {place for place in found if not any(place.is_relative_to(folder) for folder in folders)}


def _place(module: str) -> Path | None:
    """The folder of the outermost package that a module is in, or else the module's file; None if it has none."""
    for name in accumulate(module.split("."), "{}.{}".format):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and file.endswith(".py"):
            path = Path(file).resolve()
            return path.parent if path.name == "__init__.py" else path
    return None


class Sources:
    """The Python files in some places: files, and folders with all that is below them."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._places = list(places)
        self._known = self._latest = self._read()

    def watch(self, places: Iterable[Path]) -> None:
        """Watch these places from now on. Changes in those that were watched before are still told."""
        self._places = list(places)
        now = self._read()
        self._known = {path: self._known.get(path, stamp) for path, stamp in now.items()}

    def changed(self) -> list[Path]:
        """The files that have changed since they were told last. Call it now and then.

        While files change, it tells nothing: they must be the same in two calls, so that several saves are one change.
        """
        now = self._read()
        rests, self._latest = now == self._latest, now
        if not rests:
            return []
        changed = [path for path in now.keys() | self._known.keys() if now.get(path) != self._known.get(path)]
        self._known = now
        return sorted(changed)

    def _read(self) -> dict[Path, tuple[int, ...]]:
        stamps: dict[Path, tuple[int, ...]] = {}
        for place in self._places:
            for path in place.rglob("*.py") if place.is_dir() else [place]:
                try:
                    stat = path.stat()
                except OSError:  # it is gone, perhaps just now
                    continue
                stamps[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return stamps


# Processes


@dataclass(frozen=True, slots=True)
class _Report:
    """What a process has told that checked whether a run could start."""

    status: int
    messages: str
    places: Sequence[Path] = ()
    store_survives: bool = True
    has_broker: bool = True


def _check_can_restart(report: _Report) -> None:
    """Warn of a restart that loses the state. Raises `UsageError` where a restart is of no use."""
    if not report.places:
        raise UsageError(
            "--reload has nothing to watch: all plugins are in installed packages, whose source does not change; "
            "name a plugin file (path/to/file.py), or install the package with pip install --editable FOLDER"
        )
    if report.store_survives and not report.has_broker:
        raise UsageError(
            "each restart has a new embedded broker, which the stored state does not belong to; start framework broker "
            "and name it with --bootstrap-servers, or use --store memory, which begins anew at each restart"
        )
    if not report.store_survives:
        keeps = "--store sqlite keeps it"
        if not report.has_broker:
            keeps = "to keep it, start framework broker, and name it with --bootstrap-servers"
        log.warning("the state is in memory, so each restart begins without state; %s", keeps)


class _Supervisor:
    def __init__(self, command: Sequence[str], patience: float) -> None:
        """`patience`: seconds that a run has to end after SIGTERM."""
        self._command = command
        self._patience = patience
        self._child: subprocess.Popen[bytes] | None = None
        self._signal: int | None = None
        """The first SIGINT or SIGTERM."""

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        report = self._check()
        if self._signal is not None:
            return 128 + self._signal
        if report.status != 0:
            click.echo(report.messages, err=True, nl=False)
            return report.status
        _check_can_restart(report)
        log.info("watching %s", ", ".join(map(_shown, report.places)))
        sources = Sources(report.places)
        return self._supervise(self._start(), sources)

    def _supervise(self, child: "subprocess.Popen[bytes]", sources: Sources) -> int:
        is_told = False
        while self._signal is None:
            status = child.poll()
            if status is not None and not is_told:
                is_told = True
                log.info("the run ended %s; it starts again after the next change", _ending(status))
            if (changed := sources.changed()) and self._may_start(changed, sources, runs=status is None):
                self._end(child)
                if self._signal is None:
                    child, is_told = self._start(), False
            time.sleep(_POLL_SECONDS)
        return _exit_status(self._wait(child))

    def _start(self) -> "subprocess.Popen[bytes]":
        self._child = subprocess.Popen(self._command)
        if self._signal is not None:  # it came while there was no child to pass it on to
            self._child.terminate()
        return self._child

    def _may_start(self, changed: Sequence[Path], sources: Sources, *, runs: bool) -> bool:
        """Whether the new source can be used. If it cannot, a message says why; `runs`: whether the old one does."""
        log.info("changed: %s", ", ".join(map(_shown, changed)))
        report = self._check(sources)
        if self._signal is not None:
            return False
        if report.status != 0:
            click.echo(report.messages, err=True, nl=False)
            goes_on = "the run goes on with the old source" if runs else "no run is started"
            log.warning("the new source cannot be used; %s until the next change", goes_on)
            return False
        sources.watch(report.places)
        log.info("restarting from the last checkpoint" if report.store_survives else "restarting without state")
        return True

    def _check(self, sources: Sources | None = None) -> _Report:
        """Try in a process of its own whether a run could start; begin again if `sources` change meanwhile."""
        while (report := self._attempt(sources)) is None:
            pass
        return report

    def _attempt(self, sources: Sources | None) -> _Report | None:
        """One try; None if `sources` have changed before its end. A signal ends it, too."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as messages:
            check = subprocess.Popen(
                [*self._command, "--only-check"], stdin=subprocess.DEVNULL, stdout=out, stderr=messages
            )
            try:
                while check.poll() is None and self._signal is None:
                    if sources is not None and sources.changed():
                        return None
                    time.sleep(_POLL_SECONDS)
            finally:
                check.kill()
                status = check.wait()
            return _report(status, _content(out), _content(messages))

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        if child.poll() is None:
            child.terminate()
            self._wait(child)

    def _wait(self, child: "subprocess.Popen[bytes]") -> int:
        """The status of a child that was told to end; it is killed if it does not."""
        try:
            return child.wait(self._patience)
        except subprocess.TimeoutExpired:
            log.warning(
                "the run has not ended %g s after the signal; it is killed, and the stored state is intact",
                self._patience,
            )
            child.kill()
            return child.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal = number
        if self._child is not None and not _is_of_terminal(number):
            self._child.send_signal(number)


def _is_of_terminal(number: int) -> bool:
    """Whether a terminal sent this signal. Then it also sent it to the child, and a second one would be a crash."""
    if number != signal.SIGINT:
        return False
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # there is no terminal
        return False


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _report(status: int, out: str, messages: str) -> _Report:
    """What a check has told; its report is the last line."""
    if status != 0:
        return _Report(_exit_status(status), messages)
    told = json.loads(out.splitlines()[-1])
    return _Report(status, messages, [*map(Path, told.pop("places"))], **told)


def _exit_status(status: int) -> int:
    """The status as a shell gives it: a signal that ended the process is above 128."""
    return 128 - status if status < 0 else status


def _ending(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"


def _shown(path: Path) -> str:
    """The path as a user names it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
