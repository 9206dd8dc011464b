"""Faults that hit a write, or miss it."""

import os
import re
import signal
import time
from pathlib import Path

__all__ = ["stop", "wait_for_write"]

_SECONDS = 2.0
_STOP_SECONDS = 30.0


def wait_for_write(directory: Path) -> bool:
    """Return the moment that any file in the directory, or below it, changes; False if none does for a while."""
    before = _seen(directory)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if _seen(directory) != before:
            return True
    return False


def _seen(directory: Path) -> list[tuple[str, int, int]]:
    found = []
    try:
        for folder, _, names in os.walk(directory):
            for name in names:
                status = os.stat(os.path.join(folder, name))
                found.append((name, status.st_size, status.st_mtime_ns))
    except FileNotFoundError:  # just renamed
        return []
    return found


def stop(pid: int, *, in_a_write: bool) -> None:
    """Stop a worker by SIGSTOP while it writes to the store, or while it does not.

    Nobody can write, or take over, what a process has locked that is stopped.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        os.kill(pid, signal.SIGSTOP)
        _wait_until_stopped(pid)
        if _holds_lock(pid) is in_a_write:
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0013)  # no multiple of what the worker does at regular intervals
    raise AssertionError(f"process {pid} was not caught {'in' if in_a_write else 'out of'} a write")


def _wait_until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "T":
        time.sleep(0.0001)


def _holds_lock(pid: int) -> bool:
    return re.search(rf"FLOCK +ADVISORY +WRITE +{pid} ", Path("/proc/locks").read_text()) is not None
