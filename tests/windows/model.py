"""A model of windows, written the plain way: all records of all windows, looked at again after each record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework import NO_EVENT_TIME, Duration, Record
from framework.windows import Hopping, Session, Sliding, Tumbling

__all__ = ["Model", "Seen"]

Seen = tuple[str, int, int, bool, Any]
"""An emitted result: key, start, end, whether it is final, and the value."""


@dataclass
class Model:
    """Groups records into windows; the value of a window is what `of` makes of its records."""

    windows: Any
    of: Callable[[Sequence[Any]], Any]
    out_of_order: int = 0
    event_time: int = NO_EVENT_TIME
    late: list[int] = field(default_factory=list)
    closed: list[Seen] = field(default_factory=list)
    updates: list[Seen] = field(default_factory=list)
    _open: dict[tuple[str, int, int], list[Record]] = field(default_factory=dict)
    _moments: list[tuple[str, int]] = field(default_factory=list)
    _records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        if not self._is_taken(record):
            self.late.append(record.offset)
        self.step((record.timestamp - self.out_of_order) // self.windows.tick * self.windows.tick)

    def step(self, time: int) -> None:
        """Move the watermark, and close the windows that are due."""
        self.event_time = max(self.event_time, time)
        due = [window for window in self._open if window[2] + self.windows.grace <= self.event_time]
        for window in sorted(due, key=lambda each: (each[2], each[0])):
            self.closed.append((*window, True, self.of([each.value for each in self._open.pop(window)])))

    @property
    def open(self) -> dict[tuple[str, int, int], Any]:
        """The values of the windows that are open."""
        return {window: self.of([each.value for each in records]) for window, records in self._open.items()}

    def _is_taken(self, record: Record) -> bool:
        match self.windows:
            case Tumbling(size=size):
                return self._aligned(record, Duration(size), Duration(size))
            case Hopping(size=size, every=every):
                return self._aligned(record, Duration(size), Duration(every))
            case Session(gap=gap):
                return self._session(record, Duration(gap))
            case Sliding(size=size):
                return self._sliding(record, Duration(size))
        raise AssertionError(self.windows)

    def _is_open(self, end: int) -> bool:
        return bool(end + self.windows.grace > self.event_time)

    def _put(self, key: str, start: int, end: int, records: list[Record]) -> None:
        self._open[key, start, end] = records
        self.updates.append((key, start, end, False, self.of([each.value for each in records])))

    def _aligned(self, record: Record, size: int, every: int) -> bool:
        taken, time = False, record.timestamp
        for start in range((time - size) // every * every, time + 1, every):
            if start <= time < start + size and self._is_open(start + size):
                self._put(
                    record.key, start, start + size, [*self._open.get((record.key, start, start + size), []), record]
                )
                taken = True
        return taken

    def _session(self, record: Record, gap: int) -> bool:
        time = record.timestamp
        touched = [each for each in self._open if each[0] == record.key and each[1] < time + gap and time < each[2]]
        if not touched and not self._is_open(time + gap):
            return False
        records = [record]
        for each in touched:
            records += self._open.pop(each)
        times = [each.timestamp for each in records]
        self._put(record.key, min(times), max(times) + gap, sorted(records, key=lambda each: each.offset))
        return True

    def _sliding(self, record: Record, size: int) -> bool:
        key, time = record.key, record.timestamp
        if not self._is_open(time + 1):
            return False
        self._records.append(record)
        ends = {each[2] - 1 for each in self._open if each[0] == key} | {time}
        for moment in sorted(ends):
            if time <= moment < time + size:
                start = moment + 1 - size
                within = [each for each in self._records if each.key == key and start <= each.timestamp <= moment]
                self._put(key, start, moment + 1, sorted(within, key=lambda each: (each.timestamp, each.offset)))
        return True
