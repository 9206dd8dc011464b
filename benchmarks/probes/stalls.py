"""Measures how long the event loop was blocked."""

import asyncio
import time
from types import TracebackType
from typing import Final, NamedTuple, Self

__all__ = ["Stall", "StallProbe"]

_TICK: Final = 0.001


class Stall(NamedTuple):
    """The time between two ticks of the loop. It is never shorter than a tick."""

    seconds: float
    cpu_seconds: float
    """CPU time of all threads of the process meanwhile. The rest was spent waiting for the disk or for a core."""


class StallProbe:
    """An async context manager that ticks each millisecond, and records the longest time between two ticks."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._longest = Stall(0.0, 0.0)
        self._last = _now()

    async def __aenter__(self) -> Self:
        self._last = _now()
        self._next = self._loop.call_later(_TICK, self._tick)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._next.cancel()

    def take(self) -> Stall:
        """The longest stall since the last call."""
        self._note()
        longest, self._longest = self._longest, Stall(0.0, 0.0)
        return longest

    def _tick(self) -> None:
        self._note()
        self._next = self._loop.call_later(_TICK, self._tick)

    def _note(self) -> None:
        now = _now()
        self._longest = max(self._longest, Stall(now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
