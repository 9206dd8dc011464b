"""Grids: the borders of windows that do not depend on the records."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from framework.borders import shown
from framework.errors import UsageError
from framework.event_time import EARLIEST, LATEST

__all__ = ["DayGrid", "EvenGrid", "Grid", "Span"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_BEYOND: Final = "the window reaches beyond the years 1 to 9999"


class Span(NamedTuple):
    """A window's time, in milliseconds since the epoch."""

    start: int
    end: int
    """The first millisecond after it."""


class Grid(ABC):
    """Tells which windows a time is in."""

    @abstractmethod
    def spans(self, time: int) -> list[Span]:
        """The windows that contain `time`, the earliest first.

        Raises `ValueError` if one of them reaches beyond the years 1 to 9999.
        """


@dataclass(frozen=True, slots=True)
class EvenGrid(Grid):
    """Windows of `size` milliseconds that begin every `every` milliseconds, one of them at `origin`."""

    size: int
    every: int
    origin: int

    def spans(self, time: int) -> list[Span]:
        last = time - (time - self.origin) % self.every
        count = (self.size - (time - last) + self.every - 1) // self.every
        first = last - (count - 1) * self.every
        if first < EARLIEST or last + self.size > LATEST:
            raise ValueError(_BEYOND)
        return [Span(start, start + self.size) for start in range(first, last + self.every, self.every)]


@dataclass(frozen=True, slots=True)
class DayGrid(Grid):
    """Windows of `days` days of a time zone, from midnight to midnight there. One begins every `every` days."""

    days: int
    every: int
    zone: ZoneInfo
    origin: int
    """The ordinal of a day at which a window begins, see `date.toordinal`."""

    @classmethod
    def of(cls, days: int, every: int, zone: str, origin: str) -> Self:
        """`zone`: an IANA name. `origin`: a date in ISO 8601. Raises `UsageError` for those that do not exist."""
        try:
            first = date.fromisoformat(origin)
        except (ValueError, TypeError) as error:
            raise UsageError(f"the origin of windows in a time zone is a date, not {shown(origin)}") from error
        try:
            found = ZoneInfo(zone)
        except (ValueError, OSError, TypeError, LookupError) as error:  # `ZoneInfoNotFoundError` is a `KeyError`
            raise UsageError(
                f"there is no time zone {shown(zone)}; use a name such as Europe/Berlin. If the machine has no time "
                "zones at all, install the package tzdata"
            ) from error
        return cls(days, every, found, first.toordinal())

    def spans(self, time: int) -> list[Span]:
        try:
            today = (_EPOCH + time * _MILLISECOND).astimezone(self.zone).toordinal()
            last = today - (today - self.origin) % self.every
            count = (self.days - (today - last) + self.every - 1) // self.every
            firsts = range(last - (count - 1) * self.every, last + self.every, self.every)
            return [Span(self._midnight(first), self._midnight(first + self.days)) for first in firsts]
        except OverflowError as error:
            raise ValueError(_BEYOND) from error

    def _midnight(self, ordinal: int) -> int:
        """The first moment of a day. Where midnight is left out or comes twice, it is the earlier reading."""
        try:
            day = datetime.fromordinal(ordinal)
        except ValueError as error:
            raise OverflowError(str(error)) from error
        return (day.replace(tzinfo=self.zone) - _EPOCH) // _MILLISECOND
