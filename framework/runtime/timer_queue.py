"""The queue of timers: entries in the order in which they fall due. Those of replaced timers are removed in pieces."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

__all__ = ["TimerEntry", "TimerQueue"]

TimerEntry = tuple[int, str, int, int, Any]
"""Time, name, number of the setting, serial number of the entry, and key of a timer. `undo` takes the number of a
setting back, so it may come twice. Serial numbers never do, so keys are never compared."""

_AT_ONCE: Final = 4
"""The number of old entries that are looked at for each new one. It bounds the time that this takes at once."""


class TimerQueue:
    """A heap of entries, some of which are *stale*: their timer was replaced or deleted.

    A timer that is set for each record leaves a stale entry each time. If there are too many, a new heap is begun. The
    entries of the old one move there a few at a time, from its end, which leaves it a heap. Stale ones are dropped.
    """

    __slots__ = ("_heap", "_is_stale", "_old", "_spare")

    def __init__(self, is_stale: Callable[[TimerEntry], bool], *, spare: int = 1000) -> None:
        """`spare`: so many stale entries are not worth the work of removing them."""
        self._is_stale = is_stale
        self._spare = spare
        self._heap: list[TimerEntry] = []
        self._old: list[TimerEntry] = []

    def __len__(self) -> int:
        return len(self._heap) + len(self._old)

    def push(self, entry: TimerEntry) -> None:
        """Add an entry."""
        heappush(self._heap, entry)

    def first(self) -> TimerEntry | None:
        """The entry that falls due first; None if there is none."""
        heap = self._first_heap()
        return heap[0] if heap else None

    def pop(self) -> TimerEntry:
        """Remove and return the first entry; there must be one."""
        return heappop(self._first_heap())

    def _first_heap(self) -> list[TimerEntry]:
        if not self._old or (self._heap and self._heap[0] < self._old[0]):
            return self._heap
        return self._old

    def tidy(self, live: int) -> None:
        """Remove some stale entries, if there are many. `live`: the number of entries that are not stale, at the most.

        Call it after `push`, but not while an undo could make stale entries live again.
        """
        if self._old:
            for _ in range(min(_AT_ONCE, len(self._old))):
                entry = self._old.pop()
                if not self._is_stale(entry):
                    heappush(self._heap, entry)
        elif len(self._heap) > 4 * live + self._spare:
            self._old, self._heap = self._heap, []
