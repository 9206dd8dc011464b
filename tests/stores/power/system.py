"""Records what Python code does to files: the calls of `os`, and files that `Path.open` opens to be written."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.stores.power.disk import Recording

__all__ = ["recorded_system"]

_real_open, _real_os_open, _real_fsync = io.open, os.open, os.fsync
_real_mkdir, _real_replace, _real_rename, _real_unlink = os.mkdir, os.replace, os.rename, os.unlink


@contextmanager
def recorded_system(recording: Recording) -> Iterator[None]:
    """Record what this process does below the recording's directory, but what it only reads."""
    system = _System(recording)
    with (
        patch.multiple(
            os,
            open=system.os_open,
            fsync=system.fsync,
            mkdir=system.mkdir,
            replace=system.replace,
            rename=system.replace,
            unlink=system.unlink,
        ),
        patch.object(io, "open", system.open),
    ):
        yield


class _System:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes: dict[int, int] = {}
        """By file descriptor."""

    def open(self, file: Any, mode: str = "r", *options: Any, **more: Any) -> Any:
        reads = mode in ("r", "rb")
        if reads or isinstance(file, int) or more.get("opener") or not self._recording.covers(file):
            return _real_open(file, mode, *options, **more)
        assert mode == "wb", f"{file} is opened as {mode!r}, which is not recorded"
        return io.BufferedWriter(_RecordedFile(Path(file), self))

    def opened(self, path: Path, descriptor: int) -> int:
        """Gives the node of a file that was opened to be written over."""
        if self._recording.knows(path):
            self._recording.truncate(self._recording.node(path), 0)
        else:
            self._recording.enter(path)
        node = self._nodes[descriptor] = self._recording.node(path)
        return node

    def wrote(self, node: int, offset: int, data: bytes) -> None:
        self._recording.write(node, offset, data)

    def os_open(self, path: Any, flags: int, *options: Any, **more: Any) -> int:
        descriptor = _real_os_open(path, flags, *options, **more)
        if self._recording.covers(path) and flags & os.O_TMPFILE != os.O_TMPFILE:
            if flags & os.O_CREAT and not self._recording.knows(path):
                self._recording.enter(path)
            self._nodes[descriptor] = self._recording.node(path)
        return descriptor

    def fsync(self, descriptor: int) -> None:
        _real_fsync(descriptor)
        self._recording.sync_node(self._nodes[descriptor])

    def mkdir(self, path: Any, *options: Any, **more: Any) -> None:
        _real_mkdir(path, *options, **more)
        if self._recording.covers(path):
            self._recording.enter(path, is_directory=True)

    def replace(self, path: Any, target: Any) -> None:
        _real_replace(path, target)
        if self._recording.covers(path):
            self._recording.rename(path, target)

    def unlink(self, path: Any, *options: Any, **more: Any) -> None:
        _real_unlink(path, *options, **more)
        if self._recording.covers(path):
            self._recording.leave(path)


class _RecordedFile(io.FileIO):
    def __init__(self, path: Path, system: _System) -> None:
        super().__init__(str(path), "wb")
        self._system = system
        self._node = system.opened(path, self.fileno())

    def write(self, data: Any) -> int:
        offset = self.tell()
        size = super().write(data)
        self._system.wrote(self._node, offset, bytes(data[:size]))
        return size
