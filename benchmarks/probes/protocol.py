"""How a suite runs a probe: a task as JSON in the variable BENCHMARK, a result as JSON, the last line printed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import run_to_end
from benchmarks.session import Session

__all__ = ["ProbeError", "probe_beside", "read_task", "report", "run_probe"]

_ROOT: Final = Path(__file__).parents[2]


class ProbeError(Exception):
    """A probe failed, or took too long."""


def run_probe(session: Session, name: str, task: Mapping[str, Any], seconds: float = 300.0) -> Any:
    """Run the probe with this name, a module beside this one. Returns its result. Raises `ProbeError`."""
    directory = session.scratch(name)
    printed, said = directory / "printed", directory / "said"
    ended = run_to_end(_command(name), _environment(task), directory, printed, said, seconds)
    if not ended.in_time or ended.status:
        what = f"ended with status {ended.status}" if ended.in_time else f"took more than {seconds:.0f} s"
        raise ProbeError(": ".join([f"probe {name} {what}", *said.read_text(errors="replace").splitlines()[-1:]]))
    result = json.loads(printed.read_text().splitlines()[-1])
    shutil.rmtree(directory)
    return result


@contextmanager
def probe_beside(session: Session, name: str, task: Mapping[str, Any]) -> Iterator[None]:
    """Run a probe until the end of the context. Raises `ProbeError` if it ended before."""
    directory = session.scratch(name)
    with (directory / "said").open("wb") as said:
        process = subprocess.Popen(
            _command(name),
            env=_environment(task),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            process_group=0,  # so that Ctrl-C reaches only the suite, which ends it
        )
    try:
        yield
        if process.poll() is not None:
            raise ProbeError(f"probe {name} ended too soon, with status {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{name}"]


def _environment(task: Mapping[str, Any]) -> dict[str, str]:
    return {**os.environ, "BENCHMARK": json.dumps(task), "PYTHONPATH": str(_ROOT)}


def read_task() -> dict[str, Any]:
    """The task of this process."""
    task: dict[str, Any] = json.loads(os.environ["BENCHMARK"])
    return task


def report(result: Any) -> None:
    """Print the result."""
    print(json.dumps(result), flush=True)  # noqa: T201 - the suite reads it
