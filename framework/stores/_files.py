"""Files as stores need them: safe names, locks, whole or not at all, and errors that say what to do."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote

from framework.errors import StoreError

__all__ = [
    "exists",
    "file_errors",
    "file_name",
    "fsync_directory",
    "locked",
    "make_directory",
    "make_writable_directory",
    "replace_file",
]

_ADVICE = {
    errno.ENOSPC: "free some space and start again",
    errno.EDQUOT: "free some space and start again",
    errno.EFBIG: "raise the file size limit and start again",
    errno.EACCES: "give this user the right to it, or choose another state directory",
    errno.EPERM: "give this user the right to it, or choose another state directory",
    errno.EROFS: "make the file system writable, or choose another state directory",
    errno.ENAMETOOLONG: "choose a shorter group or plugin name, or the sqlite store",
    errno.ENOTDIR: "choose a state directory that is a directory",
    errno.EEXIST: "choose a state directory that is a directory",
}


def file_name(name: str) -> str:
    """`name` as a name of a file or directory that is neither hidden nor leads elsewhere."""
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def exists(path: Path) -> bool:
    """Unlike `Path.exists`, which from Python 3.14 on takes what it may not look at for what is not there."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn every `OSError` into a `StoreError` that names the file (`path` where the error names none)."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the disk and start again")
        where = error.filename or path
        raise StoreError(
            f"the state in {where} cannot be read or written: {error.strerror or error}; what is stored is as it was. "
            f"To go on, {advice}"
        ) from error


def make_directory(path: Path) -> None:
    """Make `path` and its parents so that they outlast a power cut."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    fsync_directory(path.parent)


def make_writable_directory(path: Path) -> None:
    """Make `path`, and find out now whether it can be written."""
    make_directory(path)
    with TemporaryFile(dir=path):
        pass


def fsync_directory(path: Path) -> None:
    """Make renames and new files in `path` outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write `path` whole or not at all, durably.

    Only for who holds the directory's lock: the temporary name is fixed, so that what a crash left is written over.
    """
    temporary = path.with_name(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


@contextmanager
def locked(path: Path, timeout: float, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path` against other processes; `shared` creates nothing and lets others read.

    Raises `StoreError` when another process holds it for `timeout` seconds.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        if not shared:
            raise
        yield  # who never locked never wrote
        return
    try:
        _wait_for_lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, path, timeout)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, kind: int, path: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"another process holds the lock {path} since {timeout:g} s or more; what is stored is as it "
                    "was. Look for a worker with the same state directory that hangs or is stopped"
                ) from error
            time.sleep(0.002)
