"""Records what SQLite does to files: a VFS in APSW's copy of SQLite, and production's `Database` on top of it.

Python's `sqlite3` lets nobody between SQLite and the disk. So the store's own code runs here on connections of APSW:
the same statements in the same order, through another binding.
"""

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

import apsw

from framework.stores import _database
from tests.stores.power.disk import Recording

__all__ = ["RecordedDatabase", "recorded_sqlite"]

_NAME = "recorded"
_AUTOCHECKPOINT_PAGES = 8
"""How long a WAL gets before SQLite moves it into the database; production's 1,000 would be the same, only longer."""

_OpenDirectory = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))


@contextmanager
def recorded_sqlite(recording: Recording, database: "type[RecordedDatabase]") -> Iterator[None]:
    """Open the `sqlite` store's databases so that what SQLite does to their files is recorded."""
    vfs = _Vfs(recording)
    open_directory = _OpenDirectory(vfs.open_directory)
    vfs.xSetSystemCall("openDirectory", ctypes.cast(open_directory, ctypes.c_void_p).value or 0)
    try:
        with patch.object(_database, "Database", database):
            yield
    finally:
        vfs.xSetSystemCall("openDirectory", 0)
        vfs.unregister()


class RecordedDatabase(_database.Database):
    """Production's connection, whose statements APSW runs; what it inherits from `sqlite3` has nothing to do."""

    replaced: ClassVar[dict[str, str]] = {}
    """Statements to run instead of others, for bugs that are planted."""

    def __init__(self, database: str, *, timeout: float, **options: Any) -> None:
        super().__init__(":memory:", check_same_thread=False)
        flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE
        self._connection = apsw.Connection(database, flags=flags, vfs=_NAME)
        self._connection.set_busy_timeout(int(timeout * 1000))
        self._connection.pragma("wal_autocheckpoint", _AUTOCHECKPOINT_PAGES)

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return self._connection.execute(self.replaced.get(sql, sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        return self._connection.executemany(sql, parameters)

    def close(self) -> None:
        self._connection.close()
        super().close()


class _Vfs(apsw.VFS):
    def __init__(self, recording: Recording) -> None:
        super().__init__(_NAME, "")
        self._recording = recording
        self._real_open_directory = _OpenDirectory(self.xGetSystemCall("openDirectory") or 0)

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802 - SQLite's name
        return _File(name.filename() if isinstance(name, apsw.URIFilename) else name, name, flags, self._recording)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        self._recording.leave(filename)

    def open_directory(self, path: bytes, descriptor: Any) -> int:
        """SQLite opens the directory that a file is in for one purpose: to sync it."""
        self._recording.sync(path.decode().rpartition("/")[0])
        status: int = self._real_open_directory(path, descriptor)
        return status


class _File(apsw.VFSFile):
    def __init__(self, path: str, name: Any, flags: list[int], recording: Recording) -> None:
        super().__init__("", name, flags)
        self._recording = recording
        if not recording.knows(path):
            recording.enter(path)
        self._node = recording.node(path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._recording.write(self._node, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._recording.truncate(self._node, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._recording.sync_node(self._node)  # first, as SQLite syncs the file before its directory
        super().xSync(flags)
