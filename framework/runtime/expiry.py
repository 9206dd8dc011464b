"""Expiry: removes the keys of a state that were not written for a time to live, by event time."""

from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice
from typing import Any

from framework.event_time import NO_EVENT_TIME
from framework.table import Table

__all__ = ["Expiry", "NotedTable"]


class NotedTable:
    """A table whose changes are taken twice: first they are noted, and later a checkpoint takes them.

    For a checkpoint it has the methods of a table.
    """

    __slots__ = ("_changed", "_deleted", "_new", "_note", "_table")

    def __init__(self, table: Table[Any, Any], note: Callable[[Any, bool], None]) -> None:
        """`note` is called with each key that changes from now on, and whether the table still has it."""
        self._table = table
        self._note = note
        self._new: set[Any] = set()
        """Changed keys that are not noted yet."""
        self._changed, self._deleted = table.take_changed()

    @property
    def is_changed(self) -> bool:
        """As `Table.is_changed`."""
        return bool(self._new or self._changed or self._table.is_changed)

    def add_tallies(self, most: int) -> int:
        """As `Table.add_tallies`."""
        return self._table.add_tallies(most)

    def view(self) -> Mapping[Any, Any]:
        """As `Table.view`."""
        return self._table.view()

    def note(self, most: int) -> bool:
        """Add up to `most` tallies, or note up to `most` changes. Returns whether any are left.

        Raises as `Table.add_tallies`. If it raises, changes may be lost, so the memory must be dropped.
        """
        if self._table.add_tallies(most):
            return True
        if not self._new and self._table.is_changed:
            self._new, deleted = self._table.take_changed()
            self._deleted |= deleted
        data = self._table.view()
        for _ in range(min(most, len(self._new))):
            key = self._new.pop()
            self._changed.add(key)
            self._note(key, key in data)
        return bool(self._new)

    def remove(self, key: Any) -> None:
        """Remove a key, if the table has it."""
        if key in self._table:
            del self._table[key]

    def take_changed(self) -> tuple[set[Any], set[Any]]:
        """As `Table.take_changed`."""
        while self.note(len(self._new) + 1):
            pass
        taken = self._changed, self._deleted
        self._changed, self._deleted = set(), set()
        return taken


class Expiry:
    """The expiry of the keys of one state.

    The time of a record is the watermark that it leads to. A key expires once the time of a record is at least the
    time to live after that of the last record that wrote the key. It is removed before that record is applied.

    `table` maps each key to the time of its last write, in milliseconds since the epoch. It is stored. In memory, each
    key is also in one bucket: that of its last write, or of an earlier one. When a bucket is due, keys that were
    written again move to a later one. So a write costs no more than an entry of the table.
    """

    __slots__ = ("_bucket_of", "_buckets", "_times", "_ttl", "event_time", "state", "table")

    def __init__(self, ttl: int, data: dict[Any, int] | None = None, *, event_time: int = NO_EVENT_TIME) -> None:
        """`ttl`: the time to live, in milliseconds. Takes over `data`, the stored table.

        Call `index` with all of it, then `watch`.
        """
        self.table: Table[Any, int] = Table({} if data is None else data)
        self.event_time = event_time
        """The watermark, in milliseconds since the epoch."""
        self.state = NotedTable(Table(), self._note)
        """The state, as a checkpoint takes it."""
        self._ttl = ttl
        self._buckets: dict[int, dict[Any, None]] = {}
        """Keys by the time of the bucket."""
        self._bucket_of: dict[Any, int] = {}
        self._times: list[int] = []
        """The times of the buckets, as a heap."""

    def index(self, entries: Iterator[tuple[Any, int]], most: int) -> int:
        """Put up to `most` stored keys into buckets. Returns the number of entries that it has seen.

        `entries` are items of the stored table.
        """
        seen = 0
        for key, time in islice(entries, most):
            seen += 1
            self._put(key, time)
        return seen

    def adopt(self, keys: Iterator[Any], most: int) -> int:
        """Let keys that have no time of a write, as they had no time to live before, count as written now.

        Returns the number of keys that it has seen, up to `most`.
        """
        seen = 0
        for key in islice(keys, most):
            seen += 1
            if key not in self._bucket_of:
                self._write(key)
        return seen

    def watch(self, state: Table[Any, Any]) -> None:
        """Note the changes of this state from now on."""
        self.state = NotedTable(state, self._note)

    def is_due(self, until: int) -> bool:
        """Whether any key has to be looked at before the watermark reaches `until`."""
        return bool(self._times) and self._times[0] + self._ttl <= until

    def step(self, until: int, most: int) -> bool:
        """Do a part of the work before a record of the time `until`, for about `most` keys.

        Returns whether any work is left. Raises as `NotedTable.note`.
        """
        return self.state.note(most) or self._expire(until, most) or self.state.note(most)

    def free(self, most: int) -> int:
        """As `Table.free`."""
        for _ in range(min(most, len(self._bucket_of))):
            key, time = self._bucket_of.popitem()
            del self._buckets[time][key]
        return max(self.table.free(most), len(self._bucket_of))

    def _note(self, key: Any, is_there: bool) -> None:
        if is_there:
            self._write(key)
        elif key in self._bucket_of:
            del self._buckets[self._bucket_of.pop(key)][key]
            del self.table[key]

    def _write(self, key: Any) -> None:
        if self.table.view().get(key) != self.event_time:
            self.table[key] = self.event_time
        if key not in self._bucket_of:
            self._put(key, self.event_time)

    def _put(self, key: Any, time: int) -> None:
        if time not in self._buckets:
            self._buckets[time] = {}
            heappush(self._times, time)
        self._buckets[time][key] = None
        self._bucket_of[key] = time

    def _expire(self, until: int, most: int) -> bool:
        while self.is_due(until):
            bucket = self._buckets[self._times[0]]
            for _ in range(min(most, len(bucket))):
                self._look_at(bucket.popitem()[0], until)
                most -= 1
            if bucket:
                return True
            del self._buckets[heappop(self._times)]
        return False

    def _look_at(self, key: Any, until: int) -> None:
        """Remove a key that has expired, or put it into the bucket of its last write."""
        del self._bucket_of[key]
        time = self.table.view()[key]
        if time == NO_EVENT_TIME:  # it was written before event time began
            self.table[key] = time = until
        if time + self._ttl > until:
            self._put(key, time)
        else:
            del self.table[key]
            self.state.remove(key)
