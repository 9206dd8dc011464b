"""Timers: the interface through which a processor asks to be called at a time. `runtime/timers.py` implements it."""

from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple

from typing_extensions import TypeVar

__all__ = ["Timer", "Timers"]

K = TypeVar("K", default=Any)


class Timer(NamedTuple, Generic[K]):
    """A timer that a processor has set."""

    key: K
    name: str
    time: int
    """When it fires, in milliseconds since the epoch."""
    is_wall: bool
    """Whether `time` is compared with the wall clock; else with the watermark."""


class Timers(ABC, Generic[K]):
    """The timers of a processor over one partition. A processor uses them as `self.timers`.

    There is one timer for each pair of a key and a name. Timers are stored with the state, in the same checkpoint.

    A timer fires by a call of `Processor.on_timer`, once the watermark reaches its time: after the record that moved
    the watermark, and before the next record. Timers that are due together fire in the order of their times, then of
    their names, then in the order in which they were set. A timer is deleted before it fires, so `on_timer` may set it
    again. A timer for a time that the watermark has reached already fires at the next step of the watermark.

    A wall-clock timer is compared with the clock of the machine instead. It fires between two records, in general at
    another place among them after a restart. So state that such timers change is not a function of the records alone.
    """

    __slots__ = ()

    @abstractmethod
    def set(self, key: K, time: int, *, name: str = "", wall: bool = False) -> None:
        """Set a timer, or replace the one of this key and name.

        A `time` that the watermark has reached already is replaced by the first millisecond after the watermark.

        `key`: as a key of the state. `time`: milliseconds since the epoch. Raises `TypeError` for a `time` that is no
        integer, a `name` that is no str, and a key without a hash; `ValueError` for a key that does not equal itself,
        such as NaN, and for a time beyond the years 1 to 9999; and `UsageError` if the processor has no `on_timer`.
        """

    @abstractmethod
    def get(self, key: K, *, name: str = "") -> int | None:
        """The time at which the timer of this key and name fires, in milliseconds since the epoch; None if not set."""

    @abstractmethod
    def delete(self, key: K, *, name: str = "") -> None:
        """Delete a timer. Does nothing if it is not set."""
