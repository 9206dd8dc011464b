"""The workers of the demo: `framework run` several times, as processes that are killed and started again."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from framework.errors import FrameworkError

__all__ = ["Workers"]

_STOP_SECONDS: Final = 10.0


class Workers:
    """Processes of `framework run`, from entering to leaving. Numbers of workers begin at 1."""

    def __init__(self, arguments: Sequence[str], count: int, folder: Path) -> None:
        """`arguments`: those of `framework run`. `folder`: for the messages of the workers."""
        self._command = [sys.executable, "-P", "-m", "framework", "run", *arguments]
        self._logs = [folder / f"worker-{number}.log" for number in range(1, count + 1)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kills = 0

    def __enter__(self) -> Self:
        self._processes = [self._start(log) for log in self._logs]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def pids(self) -> list[int]:
        """The process id of each worker."""
        return [process.pid for process in self._processes]

    def kill_next(self) -> int:
        """Kill the next worker with SIGKILL, in turn, and start it again. Gives its number."""
        index = self.kills % len(self._processes)
        self._processes[index].kill()
        self._processes[index].wait()
        self._processes[index] = self._start(self._logs[index])
        self.kills += 1
        return index + 1

    def check(self) -> None:
        """Raise `FrameworkError` if a worker has ended by itself."""
        for number, (process, log) in enumerate(zip(self._processes, self._logs, strict=True), 1):
            if process.poll() is not None:
                last = log.read_text(errors="replace").splitlines()[-1:]
                raise FrameworkError(f"worker {number} ended with status {process.returncode}: {''.join(last)}")

    def _start(self, log: Path) -> "subprocess.Popen[bytes]":
        # Ctrl-C on the terminal is for the demo alone, so each worker is in a process group of its own.
        with log.open("ab") as messages:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stderr=messages, env=_environment(), process_group=0
            )


def _environment() -> dict[str, str]:
    """The environment, with the modules of this process, and without what sets options."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEWORK_", "KAFKA_"))}
    return {**given, "PYTHONPATH": os.pathsep.join(sys.path)}
