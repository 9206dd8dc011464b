"""The stores that keep their state in a directory."""

from framework.stores.file import FileStore
from framework.stores.sqlite import SqliteStore

__all__ = ["DiskStore"]

DiskStore = SqliteStore | FileStore
