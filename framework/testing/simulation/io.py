"""The simulated thread of a store: calls that take their time, in order, and may fail before or after their effect."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from framework.errors import StoreError
from framework.testing.simulation.foreign import Foreign
from framework.testing.simulation.history import Scribe
from framework.testing.simulation.loop import SimulatedLoop

__all__ = ["Disk", "SimulatedIO"]

_WRITES = frozenset({"claim", "save", "set_aside"})


class Disk:
    """What goes wrong with it, for all processes."""

    def __init__(self, fault_rate: float) -> None:
        self.fault_rate = fault_rate
        self.full = False


class SimulatedIO:
    """Callable as `RunIO`, in the lane of its process: a killed process's call has happened, or never does."""

    def __init__(
        self, loop: SimulatedLoop, random: Random, scribe: Scribe, disk: Disk, foreign: Foreign, delay: float
    ) -> None:
        self._loop = loop
        self._random = random
        self._scribe = scribe
        self._disk = disk
        self._foreign = foreign
        self._delay = delay
        self._busy_until = 0.0

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._loop.closing:
            raise asyncio.CancelledError
        done = self._loop.create_future()
        self._busy_until = max(self._busy_until, self._loop.time()) + self._random.random() * self._delay
        self._loop.call_at(self._busy_until, self._happen, done, function, args)
        return await done

    def _happen(self, done: "asyncio.Future[Any]", function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._loop.closing or (done.cancelled() and self._random.random() < 0.5):
            return
        try:
            outcome, error = self._call(function, args), None
        except BaseException as failure:
            outcome, error = None, failure
        self._busy_until = max(self._busy_until, self._loop.time() + self._random.random() * self._delay / 4)
        self._loop.call_at(self._busy_until, _answer, done, outcome, error)

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        writes = function.__name__ in _WRITES
        if writes and self._disk.full:
            self._scribe.fault("disk full", function.__name__)
            raise StoreError("the simulated disk is full")
        fails = self._random.random() < self._disk.fault_rate
        loses_answer = fails and writes and self._random.random() < 0.7
        if fails and not loses_answer:
            self._scribe.fault("store failed", f"{function.__name__} did not happen")
            raise StoreError("the simulated disk failed")
        self._foreign.maybe(f"store: {function.__name__}, before")
        outcome = function(*args)
        self._foreign.maybe(f"store: {function.__name__}, after")
        if loses_answer:
            self._scribe.fault("store failed", f"{function.__name__} happened, the answer is lost")
            raise StoreError("the simulated disk failed")
        return outcome


def _answer(done: "asyncio.Future[Any]", outcome: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(outcome)
    else:
        done.set_exception(error)
