"""Silence: how long a partition has had no records, according to the broker."""

from collections.abc import Callable

from framework.runtime.ports import LogEnd

__all__ = ["Silence"]


class Silence:
    """Follows the position of one task, and what the broker says of the end of the log."""

    __slots__ = ("_clock", "_position", "_since", "_told_at")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds, and never goes back."""
        self._clock = clock
        self._position: int | None = None
        self._since = 0.0
        self._told_at: float | None = None

    def has_lasted(self, seconds: float, position: int | None, end: LogEnd | None) -> bool:
        """Whether the log has had no record from this position on for so many seconds. Call it often.

        `end`: the last answer of the broker; None if there is none. It counts only if it came after these seconds.
        """
        now = self._clock()
        if position != self._position:
            self._position, self._since, self._told_at = position, now, None
        if position is None or end is None or end.offset > position or now - self._since < seconds:
            return False
        if self._told_at is None:
            self._told_at = end.told_at
        return end.told_at != self._told_at
