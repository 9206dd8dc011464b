"""The timers of a unit: a table, and for each of the two clocks a queue of the times at which timers are due."""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import count, islice
from operator import index
from typing import Any, Final

from framework.borders import shown
from framework.errors import UsageError
from framework.event_time import NO_EVENT_TIME, check_event_time
from framework.runtime.timer_queue import TimerEntry, TimerQueue
from framework.table import Table
from framework.timers import Timer, Timers

__all__ = ["UnitTimers", "stored_timers"]

_COUNTERS: Final = ()
"""Key of the table's entry that is no timer: how many timers were set, and how many fired."""


class UnitTimers(Timers[Any]):
    """The timers of one unit.

    `table` maps (key, name) to (time, number of the setting, whether it is for the wall clock). A queue may hold
    entries that the table has no longer, or not yet again. They are recognised by the number, and dropped when they are
    due, or when there are too many of them.
    """

    __slots__ = ("_can_fire", "_fired", "_marked", "_popped", "_queues", "_serials", "_set", "event_time", "table")

    def __init__(
        self, data: dict[Any, Any] | None = None, *, can_fire: bool = True, event_time: int = NO_EVENT_TIME
    ) -> None:
        """Takes over `data`, the stored table. Its timers are not due before `index` has seen them.

        `can_fire`: whether the processor has `on_timer`. Without it, it can set no timers.
        """
        data = {} if data is None else data
        self.event_time = event_time
        """The watermark, in milliseconds since the epoch."""
        self._can_fire = can_fire
        self._serials = count()
        counters: tuple[int, int] = data.get(_COUNTERS, (0, 0))
        self._set, self._fired = counters
        self.table: Table[Any, Any] = Table(data)
        self._queues = {wall: TimerQueue(partial(self._is_stale, wall)) for wall in (False, True)}
        self._popped: list[tuple[bool, TimerEntry]] | None = None
        """Entries that were popped since `begin_undo`; None while undo is off."""
        self._marked = (0, 0)

    # ---- the processor's side

    def set(self, key: Any, time: int, *, name: str = "", wall: bool = False) -> None:
        if not self._can_fire:
            raise UsageError("a processor that sets timers needs the method on_timer(self, timer, state, out)")
        if isinstance(time, bool) or not isinstance(time, int):
            try:
                time = index(time)
            except TypeError:
                raise TypeError(
                    f"the time of a timer is an integer, in milliseconds since the epoch, not {shown(time)}"
                ) from None
        if not isinstance(name, str):
            raise TypeError(f"the name of a timer is a str, not {shown(name)}")
        check_event_time(time)
        hash(key)  # raises before the heap has the timer
        wall = bool(wall)
        if not wall:  # if it fired at once, the result would depend on how records are split into batches
            time = max(time, self.event_time + 1)
        self._add(Timer(key, name, time, wall))

    def _add(self, timer: Timer) -> None:
        key, name, time, wall = timer
        number = self._set + 1
        queue = self._queues[wall]
        queue.push((time, name, number, next(self._serials), key))
        self.table[key, name] = (time, number, wall)
        self._set = number
        if self._popped is None:
            queue.tidy(len(self.table))

    def _is_stale(self, wall: bool, entry: TimerEntry) -> bool:
        time, name, number, _, key = entry
        return self.table.view().get((key, name)) != (time, number, wall)

    def get(self, key: Any, *, name: str = "") -> int | None:
        found: tuple[int, int, bool] | None = self.table.view().get((key, name))
        return found and found[0]

    def delete(self, key: Any, *, name: str = "") -> None:
        if (key, name) in self.table:
            del self.table[key, name]

    # ---- the runtime's side

    @property
    def fired(self) -> int:
        """Number of timers of this unit that have fired so far, also before it was loaded."""
        return self._fired

    def __iter__(self) -> Iterator[Timer]:
        return stored_timers(self.table.view().items())

    def __len__(self) -> int:
        return len(self.table) - (_COUNTERS in self.table)

    def index(self, entries: Iterator[tuple[Any, Any]], most: int) -> int:
        """Make up to `most` stored timers fall due at their times. Returns the number of entries that it has seen.

        `entries` are items of the stored table.
        """
        seen = 0
        for key, found in islice(entries, most):
            seen += 1
            if key != _COUNTERS:
                self._queues[found[2]].push((found[0], key[1], found[1], next(self._serials), key[0]))
        return seen

    def next_time(self, *, wall: bool) -> int | None:
        """The time of the next timer, in milliseconds since the epoch; None if there is none."""
        queue = self._queues[wall]
        while (entry := queue.first()) is not None:
            if not self._is_stale(wall, entry):
                return entry[0]
            self._pop(wall)
        return None

    def is_due(self, until: int, *, wall: bool) -> bool:
        """Whether any timer is due at `until`, in milliseconds since the epoch."""
        time = self.next_time(wall=wall)
        return time is not None and time <= until

    def take(self, *, wall: bool) -> Timer:
        """Remove the next timer and return it. Call `next_time` first; there must be one."""
        time, name, _, _, key = self._pop(wall)
        del self.table[key, name]
        self._fired += 1
        return Timer(key, name, time, wall)

    def replace(self, timer: Timer, keys: Collection[Any]) -> None:
        """If there are `keys`, delete this timer, and set timers of these keys for the same name and time."""
        if keys:
            self.delete(timer.key, name=timer.name)
        for key in keys:
            hash(key)
            self._add(Timer(key, timer.name, timer.time, timer.is_wall))

    def _pop(self, wall: bool) -> TimerEntry:
        entry = self._queues[wall].pop()
        if self._popped is not None:
            self._popped.append((wall, entry))
        return entry

    def store_counters(self) -> None:
        """Write the counters into the table, before a checkpoint takes its changes."""
        counters = (self._set, self._fired)
        if counters != (0, 0) and self.table.view().get(_COUNTERS) != counters:
            self.table[_COUNTERS] = counters

    def begin_undo(self) -> None:
        """As `Table.begin_undo`."""
        self.table.begin_undo()
        self._popped, self._marked = [], (self._set, self._fired)

    def end_undo(self) -> None:
        """As `Table.end_undo`."""
        self.table.end_undo()
        self._popped = None

    def undo(self) -> None:
        """As `Table.undo`."""
        self.table.undo()
        popped, self._popped = self._popped or [], None
        for wall, entry in popped:
            self._queues[wall].push(entry)
        self._set, self._fired = self._marked


def stored_timers(items: Iterable[tuple[Any, Any]]) -> Iterator[Timer]:
    """The timers among the items of a stored table, in no order."""
    for key, found in items:
        if key != _COUNTERS:
            yield Timer(key[0], key[1], found[0], found[2])
