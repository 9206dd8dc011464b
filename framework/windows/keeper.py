"""Keepers: keep the windows of a processor in its state."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from typing_extensions import TypeVar

from framework.durations import Duration
from framework.errors import LateRecordError
from framework.event_time import time_text
from framework.output import Output
from framework.records import Record
from framework.state import State
from framework.timers import Timer
from framework.windows.kinds import Windows

if TYPE_CHECKING:
    from framework.windows.processor import WindowedProcessor

__all__ = ["Keeper", "Window"]

K = TypeVar("K", default=Any)


class Window(NamedTuple, Generic[K]):
    """A window of one key. Times are milliseconds since the epoch."""

    key: K
    start: int
    end: int
    """The first millisecond after the window."""
    is_final: bool
    """Whether the window has closed, so that its result is complete."""


class Keeper(ABC):
    """Keeps the windows of one processor."""

    def __init__(self, processor: "WindowedProcessor", windows: Windows) -> None:
        self._processor = processor
        self._windows = windows
        self._grace: int = Duration(windows.grace)
        self._keep: int | None = None if windows.keep is None else Duration(windows.keep)
        self._early: int = Duration(windows.early or 0)

    @abstractmethod
    def add(self, record: Record, state: State[Any, Any], out: Output) -> None:
        """Add a record to its windows. Raises `LateRecordError` if they have closed."""

    @abstractmethod
    def on_timer(self, timer: Timer, state: State[Any, Any], out: Output) -> None:
        """As `Processor.on_timer`."""

    @abstractmethod
    def split(self, timer: Timer, state: State[Any, Any]) -> list[Any]:
        """As `Processor.split_timer`."""

    def _emit(self, window: Window, accumulator: Any, out: Output) -> Any:
        """Emit the result of a window, and return it."""
        value = self._processor.result(accumulator)
        self._processor.emit(window, value, out)
        return value

    def _close_windows(
        self, keys: Iterable[Any], start: int, end: int, accumulators: Iterable[Any], out: Output
    ) -> list[Any]:
        """The windows of these keys close. Returns their results."""
        values = list(map(self._processor.result, accumulators))
        if self._windows.emit == "close":
            fields = zip(keys, repeat(start), repeat(end), repeat(True))  # is_final
            windows = map(tuple.__new__, repeat(Window), fields)  # as `Window` does, in a third of the time
            deque(map(self._processor.emit, windows, values, repeat(out)), maxlen=0)
        return values

    def _late(self, time: int, closed: int) -> LateRecordError:
        return LateRecordError(
            f"its event time is {time_text(time)}, and its window closed at {time_text(closed)}; event time has "
            f"reached {time_text(self._processor.event_time)}. A larger --out-of-order or grace lets such records in"
        )
