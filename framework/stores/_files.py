"""Files for stores: safe names, locks, atomic writes, and errors that say what to do."""

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
    """`name`, quoted so that it is a name of a file or directory that is not hidden, and not a path."""
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def exists(path: Path) -> bool:
    """Whether the file exists. Raises `OSError` if unknown, where `Path.exists` of Python 3.14 returns False."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Convert each `OSError` to a `StoreError` that names the file, or `path` if the error names no file."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the disk and start again")
        where = error.filename or path
        raise StoreError(
            f"the state in {where} cannot be read or written: {error.strerror or error}; the stored state is "
            f"unchanged. To continue, {advice}"
        ) from error


def make_directory(path: Path) -> None:
    """Create the directory `path` and its parents, so that they survive a power failure."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    fsync_directory(path.parent)


def make_writable_directory(path: Path) -> None:
    """Create the directory `path`, and check that files can be written in it. Raises `OSError`."""
    make_directory(path)
    with TemporaryFile(dir=path):
        pass


def fsync_directory(path: Path) -> None:
    """Make renames and new files in the directory `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Write the file `path` atomically and durably.

    The caller must hold the directory's lock, because the temporary file has a fixed name. It is fixed so that the next
    write replaces a temporary file that a crash left.
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
    """Hold the lock file `path`, so that other processes cannot. With `shared`, others may hold it shared, too.

    `shared` does not create the file; without a file, nothing is locked. Raises `StoreError` if another process holds
    the lock for `timeout` seconds.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        if not shared:
            raise
        yield  # without a lock file, nothing was ever written
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
                    f"another process has held the lock {path} for {timeout:g} s or more; the stored state is "
                    "unchanged. Look for a worker with the same state directory that hangs or is suspended"
                ) from error
            time.sleep(0.002)
