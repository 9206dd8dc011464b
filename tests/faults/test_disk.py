"""The disk fails at a checkpoint: the worker ends, what is stored is as it was, and a restart goes on from there."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.worker import Worker
from tests.faults.application import Application

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

_IS_ROOT = os.geteuid() == 0
_BOUND_BY_MODES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if _IS_ROOT else []
"""Makes a process of root heed the modes of files."""


@contextmanager
def _limited(worker: Worker, state: Path) -> Iterator[None]:
    """Its files may not grow."""
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (1024, 1024))
    yield


@contextmanager
def _read_only(worker: Worker, state: Path) -> Iterator[None]:
    """Nothing may be made in any directory."""
    directories = [state, *(path for path in state.rglob("*") if path.is_dir())]
    for path in directories:
        path.chmod(0o555)
    yield
    for path in directories:
        path.chmod(0o755)


@contextmanager
def _full(worker: Worker, state: Path) -> Iterator[None]:
    """No space is left on the device."""
    filler = state / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    filler.unlink()


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Puts the state on a device of its own that is soon full."""
    state = tmp_path / "state"
    with ExitStack() as stack:

        def mount() -> None:
            state.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", state], check=True)
            stack.callback(lambda: subprocess.run(["umount", "--lazy", state], check=True))

        yield mount


def _may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return _IS_ROOT and subprocess.run(command, capture_output=True, check=False).returncode == 0


FAULTS = [
    ("sqlite", _limited),
    ("file", _limited),
    ("file", _read_only),  # a database that is open already does not mind
    *([("sqlite", _full), ("file", _full)] if _may_mount() else []),
]


@pytest.mark.parametrize(("store", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", value).strip("_"))
def test_the_disk_fails_at_a_checkpoint(store, fault, application, small_device):
    if fault is _full:
        small_device()
    running: Application = application(store=store)
    running.prefix = _BOUND_BY_MODES if fault is _read_only else []
    worker = running.start()
    running.wait_for(2000)
    with fault(worker, running.directory / "state"):
        assert worker.wait() == 1
        assert "cannot be read or written" in worker.messages[-1], running.story()
        assert "the stored state is unchanged" in worker.messages[-1]
        running.forget(worker)
        running.check_stored()
    running.start()
    running.wait_for(2000)
    running.finish()
