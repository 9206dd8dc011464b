"""`framework run` processes with a plugin that notes what it does: started, watched, stopped and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from benchmarks.session import Session

__all__ = ["Note", "Worker", "WorkerError", "Workers"]

_ROOT: Final = Path(__file__).parents[1]
_PLUGINS: Final = Path(__file__).parent / "plugins"
_LOOK_EVERY: Final = 0.05
_END_SECONDS: Final = 30.0


class WorkerError(Exception):
    """A worker ended unexpectedly, or did not get far enough in time."""


class Note(NamedTuple):
    """The number of records of a partition that were applied at that time; 0 if it was just assigned."""

    time: float
    partition: int
    records: int


class Worker:
    """One worker process."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path, notes: Path, began: float) -> None:
        self.began = began
        self.process = process
        self.directory = directory
        self._notes = notes

    def notes(self) -> list[Note]:
        """Its notes so far."""
        if not self._notes.exists():
            return []
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        return [Note(float(at), int(partition), int(records)) for at, partition, records in lines]

    def wait_until(self, is_so: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until `is_so()` is true. Raises `WorkerError` if it is not true in time, or the worker ends."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise WorkerError(f"a worker ended, or did not get far enough in time: {self._last_words()}")
            time.sleep(_LOOK_EVERY)

    def wait_for_partitions(self, count: int) -> None:
        """Wait until it has been assigned this number of partitions."""
        self.wait_until(lambda: len({note.partition for note in self.notes()}) >= count)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, unless it has ended, and wait. Raises `WorkerError` if an orderly end fails."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.wait(_END_SECONDS)
        if how is signal.SIGTERM and self.process.returncode:
            raise WorkerError(f"a worker ended with {self.process.returncode}: {self._last_words()}")

    def wait(self, seconds: float) -> None:
        """Wait until it ends by itself, and kill it if it does not."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise WorkerError(f"a worker did not end within {seconds:g} s") from None

    def _last_words(self) -> str:
        return " / ".join((self.directory / "said").read_text(errors="replace").splitlines()[-3:])


class Workers:
    """Workers of one group, topic and state directory. All are ended at the end of the context."""

    def __init__(self, session: Session, topic: str, plugin: str, *options: str) -> None:
        """`plugin` is the name of a module of `benchmarks.plugins`."""
        self.directory = session.scratch("workers")
        self.group = self.directory.name
        self.state = self.directory / "state"
        self._session = session
        self._command = [
            sys.executable,
            "-m",
            "framework",
            "run",
            f"--plugin={_PLUGINS / plugin}.py",
            f"--topic={topic}",
            "--json",
        ]
        self._command += [f"--topic={topic}", f"--bootstrap-servers={session.bootstrap_servers}"]
        self._command += [f"--group={self.group}", f"--state-dir={self.state}", "--codec=msgpack", *options]
        self.all: list[Worker] = []

    def start(self) -> Worker:
        """Start another worker."""
        directory = self.directory / str(len(self.all))
        directory.mkdir()
        notes = directory / "notes"
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "BENCHMARK_NOTES": str(notes)}
        began = time.time()
        with (directory / "printed").open("wb") as printed, (directory / "said").open("wb") as said:
            process = subprocess.Popen(
                self._command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                process_group=0,  # so that Ctrl-C reaches only the benchmark, which ends its workers
            )
        worker = Worker(process, directory, notes, began)
        self.all.append(worker)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self.all:
            worker.process.kill()
            worker.process.wait()
        if error is None:
            self._session.discard(self.directory)
        else:
            self._session.keep(self.directory, "workers")
