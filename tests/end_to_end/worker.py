"""A `framework run` in a process of its own, as a user has it."""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from framework.records import Record

__all__ = ["Finished", "Worker", "counts", "exported", "framework", "listed", "truth"]

_SECONDS = 60.0


class Finished(subprocess.CompletedProcess[str]):
    """How a command ended."""


def framework(*args: object, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        _command(args), cwd=cwd, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def _command(args: Iterable[object]) -> list[str]:
    return [sys.executable, "-m", "framework", *map(str, args)]


class Worker:
    """A running `framework run`; its messages can be waited for. As a context manager it is killed at the end."""

    def __init__(self, *args: object, cwd: Path, prefix: Sequence[str] = ()) -> None:
        """`prefix` is a command that becomes the worker, such as `nice`."""
        self.messages: list[str] = []
        self._news: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [*prefix, *_command(("run", *args))], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self.messages.append(line.rstrip("\n"))
            self._news.put(line.rstrip("\n"))
        self._news.put(None)

    def wait_for(self, text: str) -> str:
        """The next message that has `text` in it."""
        deadline = time.monotonic() + _SECONDS
        while True:
            line = self._news.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"the worker ended without {text!r}:\n" + "\n".join(self.messages))
            if text in line:
                return line

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        status = self._process.wait(_SECONDS)
        self._reader.join(_SECONDS)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        return status

    def terminate(self) -> int:
        """Ask it to stop, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        self.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None


def listed(cwd: Path, *args: object) -> list[dict[str, Any]]:
    """What `framework state list --json` says."""
    result = framework("state", "list", "--json", *args, cwd=cwd)
    assert result.returncode == 0, result.stderr
    units: list[dict[str, Any]] = json.loads(result.stdout)
    return units


def exported(cwd: Path, plugin: str, *args: object) -> dict[tuple[int, Any], Any]:
    """The stored state by partition and key, from `framework state export`."""
    result = framework("state", "export", plugin, *args, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return counts(map(json.loads, result.stdout.splitlines()))


def counts(entries: Iterable[dict[str, Any]]) -> dict[tuple[int, Any], Any]:
    """Exported entries as a dict; fails if one stands there twice."""
    entries = list(entries)
    result = {(entry["partition"], entry["key"]): entry["value"] for entry in entries}
    assert len(result) == len(entries)
    return result


def truth(records: Sequence[Record]) -> dict[tuple[int, Any], int]:
    """What keycount must have over these records, which were read from the topic by another client."""
    return dict(
        Counter((record.partition, record.key.decode() if record.key is not None else None) for record in records)
    )


def stored_positions(units: Iterable[dict[str, Any]]) -> dict[int, int]:
    return {unit["partition"]: unit["last_offset"] for unit in units}
