"""The kinds of windows, as a processor declares them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from framework.borders import shown
from framework.durations import Duration
from framework.errors import UsageError
from framework.event_time import event_time_of, time_text
from framework.windows.grid import DayGrid, EvenGrid, Grid

__all__ = ["Emit", "Hopping", "Session", "Sliding", "Tumbling", "Windows"]

Emit = Literal["close", "update"]
"""When a window emits its result: once when it closes, or after each record that changes it."""

_SECOND: Final = 1000
_DAY: Final = 86_400_000
_ZONE_TICK: Final = 900_000
"""The watermark's step for days of a time zone. Midnight is at a multiple of 15 minutes in all zones of today."""
_DurationLike = str | timedelta | Duration


@dataclass(frozen=True)
class Windows(ABC):
    """The windows of a processor: how records are grouped by event time, and when results are emitted.

    Durations are a str such as `5m`, a timedelta, or a `framework.Duration`; they are stored as `Duration`.
    """

    grace: _DurationLike = field(default="0s", kw_only=True)
    """How long a window stays open after its end, in event time. Records for a closed window are late."""
    keep: _DurationLike | None = field(default=None, kw_only=True)
    """How long a closed window stays in the state, in event time; None: it is removed when it closes."""
    emit: Emit = field(default="close", kw_only=True)
    early: _DurationLike | None = field(default=None, kw_only=True)
    """With `emit="close"`: also emit the results of open windows each time that event time reaches a multiple of this;
    None: no early results."""

    _durations: ClassVar[tuple[str, ...]] = ()
    """The fields besides these that are durations longer than 0."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for values that cannot be used."""
        self._convert("grace", longer=False)
        for name in (*self._durations, *(name for name in ("keep", "early") if getattr(self, name) is not None)):
            self._convert(name, longer=True)
        if self.emit not in ("close", "update"):
            raise UsageError(f"windows emit on close or on update, not on {shown(self.emit)}")
        if self.emit == "update" and self.early is not None:
            raise UsageError("windows that emit on update have no early results; leave early out")

    def _convert(self, name: str, *, longer: bool) -> None:
        value: Any = getattr(self, name)
        try:
            duration = value if isinstance(value, Duration) else Duration(_not_a_number(value))
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"the {name} of windows: {error}") from error
        if longer and not duration:
            raise UsageError(f"the {name} of windows must be longer than 0")
        object.__setattr__(self, name, duration)

    @property
    @abstractmethod
    def tick(self) -> int:
        """The step of the watermark that fits, in milliseconds: with larger steps, windows would close later."""


def _not_a_number(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"{shown(value)} has no unit; write 500ms, 5m or 7d")
    return value


class _Aligned(Windows):
    """Windows whose borders do not depend on the records."""

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """Tells which windows a time is in."""


@dataclass(frozen=True)
class Tumbling(_Aligned):
    """Windows of one size, one after the other. Each record is in one of them."""

    size: _DurationLike
    timezone: str = "UTC"
    """An IANA name such as `Europe/Berlin`. The windows are then days from midnight to midnight there, which have 23 or
    25 hours where the clock changes. Only for sizes of whole days."""
    origin: str = "1970-01-01"
    """A time at which a window begins: ISO 8601, in UTC if it names no zone. With a time zone: a date there."""

    _durations: ClassVar[tuple[str, ...]] = ("size",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.grid

    @property
    def grid(self) -> Grid:
        return _grid(self.size, self.size, self.timezone, self.origin)

    @property
    def tick(self) -> int:
        return _tick(self, self.size, self.timezone, self.origin)

    def __str__(self) -> str:
        return f"tumbling windows of {self.size}{_aligned_text(self.timezone, self.origin)}"


@dataclass(frozen=True)
class Hopping(_Aligned):
    """Windows of one size that begin at regular times, so that they overlap. Each record is in several of them."""

    size: _DurationLike
    every: _DurationLike
    """A window begins each time that this much time has passed."""
    timezone: str = "UTC"
    """As in `Tumbling`; then `every` must be whole days, too."""
    origin: str = "1970-01-01"
    """As in `Tumbling`."""

    _durations: ClassVar[tuple[str, ...]] = ("size", "every")

    def __post_init__(self) -> None:
        super().__post_init__()
        if Duration(self.every) > Duration(self.size):
            raise UsageError(
                f"windows of {self.size} every {self.every} would leave records out; every must not be longer than size"
            )
        _ = self.grid

    @property
    def grid(self) -> Grid:
        return _grid(self.size, self.every, self.timezone, self.origin)

    @property
    def tick(self) -> int:
        return math.gcd(_tick(self, self.size, self.timezone, self.origin), Duration(self.every))

    def __str__(self) -> str:
        return f"hopping windows of {self.size} every {self.every}{_aligned_text(self.timezone, self.origin)}"


@dataclass(frozen=True)
class Session(Windows):
    """Windows of one key's records whose times differ by less than `gap` from one to the next.

    A session ends `gap` after its last record. A processor with sessions needs `merge`.
    """

    gap: _DurationLike

    _durations: ClassVar[tuple[str, ...]] = ("gap",)

    @property
    def tick(self) -> int:
        return min(_SECOND, Duration(self.gap))

    def __str__(self) -> str:
        return f"session windows with a gap of {self.gap}"


@dataclass(frozen=True)
class Sliding(Windows):
    """For each time at which a key has a record: the window of this size that ends with it, and includes it.

    A processor with sliding windows needs `merge`.
    """

    size: _DurationLike

    _durations: ClassVar[tuple[str, ...]] = ("size",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None or self.early is not None:
            raise UsageError("sliding windows have neither keep nor early; leave them out")

    @property
    def tick(self) -> int:
        return min(_SECOND, Duration(self.size))

    def __str__(self) -> str:
        return f"sliding windows of {self.size}"


def _grid(size: Any, every: Any, timezone: str, origin: str) -> Grid:
    if timezone == "UTC":
        return EvenGrid(int(size), int(every), _origin(origin))
    if size % _DAY or every % _DAY:
        raise UsageError(
            f"windows in time zone {shown(timezone)} are whole days, not {size}"
            f"{f' every {every}' if every != size else ''}; leave the time zone out, or use days"
        )
    return DayGrid.of(int(size) // _DAY, int(every) // _DAY, timezone, origin)


def _origin(text: str) -> int:
    try:
        return event_time_of(text)
    except ValueError as error:
        raise UsageError(f"the origin of windows: {error}") from error


def _tick(windows: Windows, size: Any, timezone: str, origin: str) -> int:
    """The largest step at which every close, and every early result, falls on a step; but not below a second."""
    steps = [int(size), int(Duration(windows.grace)), int(Duration(windows.early or 0))]
    steps.append(_ZONE_TICK if timezone != "UTC" else _origin(origin) % int(size))
    return max(math.gcd(*steps), min(_SECOND, int(size)))


def _aligned_text(timezone: str, origin: str) -> str:
    place = f" in {timezone}" if timezone != "UTC" else ""
    if origin == "1970-01-01":
        return place
    return f"{place} from {origin if timezone != 'UTC' else time_text(_origin(origin))}"
