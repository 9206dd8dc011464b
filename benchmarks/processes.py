"""Runs a process and measures its use of the CPU and of memory."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

__all__ = ["Ended", "run_to_end"]

_LOOK_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended."""

    status: int
    """Its exit status. A negative number is that of the signal that ended it."""
    in_time: bool
    cpu_seconds: float
    """CPU time in user and system mode, of the process and the children that it waited for."""
    peak_rss: int
    """Peak memory, in bytes."""


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    stdout: Path,
    stderr: Path,
    seconds: float,
    *,
    nested: bool = False,
) -> Ended:
    """Run a command. It is killed when the time is over, with all its child processes unless `nested`."""
    deadline = time.monotonic() + seconds
    with stdout.open("wb") as out, stderr.open("ab") as err:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=None if nested else 0,
        )
    kill = process.kill if nested else partial(os.killpg, process.pid, signal.SIGKILL)
    try:
        return _wait(process, deadline, kill)
    finally:
        if process.returncode is None:
            kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", deadline: float, kill: Callable[[], None]) -> Ended:
    in_time, peak = True, 0
    while True:
        peak = max(peak, _peak_rss(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if in_time and time.monotonic() > deadline:
            in_time = False
            kill()
        time.sleep(_LOOK_EVERY)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, in_time, usage.ru_utime + usage.ru_stime, peak or usage.ru_maxrss * 1024)


def _peak_rss(pid: int) -> int:
    """Peak memory so far in bytes, on Linux; 0 elsewhere. wait4 never reports less than the parent had at the start."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
