"""A deterministic event loop: one random order, one simulated clock, no threads and no waiting."""

import asyncio
import contextvars
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from random import Random
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

from framework.testing.simulation.history import SimulationError

__all__ = ["Lane", "SimulatedLoop"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_LANE: Final[contextvars.ContextVar["Lane"]] = contextvars.ContextVar("lane")
_SPIN: Final = 50_000
"""Handles without a tick of the clock after which something runs in circles."""
_FAREWELLS: Final = 20
"""How often a task that swallows its cancellation is cancelled again."""


class Lane:
    """What one process has to do, in order. It may be frozen (SIGSTOP) and killed (SIGKILL) between any two handles."""

    __slots__ = ("context", "dead", "frozen", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.frozen = False
        self.dead = False
        self.context = contextvars.copy_context()
        self.context.run(_LANE.set, self)


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready, a lane chosen at random each time; when nothing is, the clock leaps to the next timer.

    A handle belongs to the lane in whose context it was made, so tasks stay in the lane that started them.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._world = Lane("kafka")
        self._lanes: list[Lane] = [self._world]
        self._runnable: list[Lane] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Lane]] = []
        self._sequence = itertools.count()
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = 1024
        self._spins = 0
        self._closing = False
        self.handles = 0
        """Handles run so far."""
        self.errors: list[str] = []
        """What callbacks raised."""
        self.set_exception_handler(self._on_error)

    # ---- what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = context or contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._push(context.get(_LANE, self._world), handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        context = context or contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._sequence), handle, context.get(_LANE, self._world)))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        raise NotImplementedError("there are no threads in a simulation")

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: *_Ts
    ) -> "asyncio.Future[_T]":
        raise NotImplementedError("there are no threads in a simulation")

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Keeps the task: one that a killed process leaves must not be collected, which would run its `finally`."""
        task = super().create_task(*args, **kwargs)
        if len(self._tasks) >= self._prune_at:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._prune_at = 1024 + 2 * len(self._tasks)
        self._tasks.append(task)
        return task

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unretrieved = "future" in context and "handle" not in context
        if not unretrieved and not self._closing:
            self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    # ---- what the simulation asks

    @property
    def lane(self) -> Lane:
        """Whose handle runs."""
        return _LANE.get(self._world)

    def new_lane(self, name: str) -> Lane:
        """A lane for a process that starts."""
        lane = Lane(name)
        self._lanes.append(lane)
        return lane

    def in_world(self, delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        """Call something later that no process can freeze or kill."""
        return self.call_later(delay, callback, *args, context=self._world.context.copy())

    def run_in(self, lane: Lane, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` now, as that lane."""
        return lane.context.copy().run(function, *args)

    def freeze(self, lane: Lane) -> None:
        """Keep its handles back until `thaw`, while the clock goes on."""
        lane.frozen = True
        self._forget(lane)

    def thaw(self, lane: Lane) -> None:
        """Let a frozen lane go on."""
        lane.frozen = False
        if lane.ready:
            self._runnable.append(lane)

    def kill(self, lane: Lane) -> None:
        """Run nothing of it ever again, no handle and no `finally`, before the loop is closed."""
        lane.dead = lane.frozen = True
        self._forget(lane)

    def advance(self, handles: int, until: float = float("inf")) -> int:
        """Run so many handles; gives how many it were: fewer where nothing is left to do up to the time `until`."""
        events._set_running_loop(self)
        try:
            for count in range(handles):
                if not self._runnable and not self._leap(until):
                    return count
                self._run_one()
            return handles
        finally:
            events._set_running_loop(None)

    @property
    def closing(self) -> bool:
        """Whether all is over: what still runs must have no effect."""
        return self._closing

    def close(self) -> None:
        """End all tasks, those of the killed included, in an afterlife that nobody watches any more."""
        self._closing = True
        for lane in self._lanes:
            if lane.frozen:
                self.thaw(lane)
        for _ in range(_FAREWELLS):
            unfinished = [task for task in self._tasks if not task.done()]
            if not unfinished:
                break
            for task in unfinished:
                task.cancel()
            self._spins = 0
            while self._runnable:
                self.advance(1)
        super().close()

    def _push(self, lane: Lane, handle: asyncio.Handle) -> None:
        if not lane.ready and not lane.frozen:
            self._runnable.append(lane)
        lane.ready.append(handle)

    def _forget(self, lane: Lane) -> None:
        if lane in self._runnable:
            self._runnable.remove(lane)

    def _run_one(self) -> None:
        runnable = self._runnable
        index = int(self._random.random() * len(runnable)) if len(runnable) > 1 else 0
        lane = runnable[index]
        handle = lane.ready.popleft()
        if not lane.ready:
            del runnable[index]
        if handle.cancelled():
            return
        self.handles += 1
        self._spins += 1
        if self._spins > _SPIN:
            raise SimulationError(f"{lane.name} runs in circles: {_SPIN} callbacks without a tick of the clock")
        handle._run()

    def _leap(self, until: float) -> bool:
        """Move the clock to the next timer; tells whether anything can run now."""
        timers = self._timers
        while timers and timers[0][0] <= until and not self._closing:
            when = timers[0][0]
            if when > self._now:
                self._now = when
                self._spins = 0
            while timers and timers[0][0] <= when:
                _, _, handle, lane = heapq.heappop(timers)
                if not handle.cancelled():
                    self._push(lane, handle)
            if self._runnable:
                return True
        return False
