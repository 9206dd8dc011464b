"""The watchdog: notices what should make progress and does not, and an event loop that does not turn."""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import traceback
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from framework.errors import StalledError
from framework.policy import OnStall
from framework.records import TopicPartition
from framework.runtime.ports import LogEnd
from framework.runtime.task import PartitionTask, TaskStatus

__all__ = ["SHORTEST_TIMEOUT", "Sign", "Stall", "Stalls", "Watchdog"]

log = logging.getLogger("framework")

SHORTEST_TIMEOUT: Final = 2.0
"""Seconds; in less, a broker may say nothing although all is well."""
_LOOKS: Final = 4
"""Looks in a stall timeout, at the least."""
_LONGEST_INTERVAL: Final = 5.0
"""Seconds between two looks, at the most."""
_NAMED: Final = 5
"""Stalls that a message names."""
_EXIT_STATUS: Final = StalledError.exit_status


class Sign(NamedTuple):
    """What is to be seen of something that should make progress."""

    subject: Hashable
    progress: object
    """Another value whenever it makes some."""
    description: str


class Stall(NamedTuple):
    """Something that makes no progress."""

    sign: Sign
    looks: int
    """For how many looks."""


class Stalls:
    """What makes no progress, by looks in equal intervals. It has no clock: time in which nobody looks, because the
    whole process stood still, does not count.
    """

    def __init__(self, patience: int) -> None:
        """`patience` is how many looks without progress make a stall."""
        self._patience = patience
        self._seen: dict[Hashable, Stall] = {}

    def look(self, signs: Iterable[Sign]) -> tuple[list[Stall], list[Stall]]:
        """The stalls to report now, each again after as long a time; and those that are over."""
        before, self._seen = self._seen, {}
        for sign in signs:
            last = before.get(sign.subject)
            stands = last is not None and last.sign.progress == sign.progress
            self._seen[sign.subject] = Stall(sign, last.looks + 1 if last and stands else 0)
        due = [stall for stall in self._seen.values() if stall.looks and stall.looks % self._patience == 0]
        over = [
            last
            for subject, last in before.items()
            if last.looks >= self._patience and (subject not in self._seen or not self._seen[subject].looks)
        ]
        return due, over


class _Source(Protocol):
    """What the watchdog needs of a source."""

    def check(self) -> None:
        """Raises `StalledError` where the consumer is dead."""

    def log_ends(self) -> dict[TopicPartition, LogEnd]:
        """The ends of the assigned partitions' logs, as far as they are known."""

    def missing_topics(self) -> list[str]:
        """Topics of the subscription that the broker does not have."""


class _Worker(Protocol):
    """What the watchdog needs of a worker."""

    @property
    def tasks(self) -> list[PartitionTask]: ...
    @property
    def is_assigned(self) -> bool: ...
    @property
    def applying(self) -> PartitionTask | None: ...
    @property
    def saving(self) -> object | None: ...
    def on_source_failed(self, error: BaseException) -> None: ...


class _Loader(Protocol):
    """What the watchdog needs of a loader."""

    @property
    def steps(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Watched:
    """Reads the signs of a run."""

    worker: _Worker
    source: _Source
    loader: _Loader

    def signs(self) -> Iterator[Sign]:
        for topic in self.source.missing_topics():
            yield Sign(topic, None, f"the broker has no topic {topic} (any more)")
        if not self.worker.is_assigned:
            yield Sign("assignment", None, "the group's coordinator has assigned nothing")
        saving = self.worker.saving
        if saving is not None:
            yield Sign("checkpoint", saving, "a checkpoint is under way (store, or outputs that are not acknowledged)")
        ends = self.source.log_ends()
        for task in self.worker.tasks:
            if task.status is not TaskStatus.RELEASED and not task.is_waiting:
                yield self._sign(task, ends.get(task.partition))

    def _sign(self, task: PartitionTask, end: LogEnd | None) -> Sign:
        where = f"{task.unit}: {task.status.value} at offset {task.position}"
        if task.status is not TaskStatus.RUNNING:
            return Sign(task.unit, (task.status, self.loader.steps), where)
        if end is None:
            return Sign(task.unit, task.position, f"{where}, the log's end is not known: its broker is silent")
        if task.position is None or task.position < end.offset:
            return Sign(task.unit, task.position, f"{where}, the log ends at {end.offset}")
        return Sign(task.unit, (task.position, end), f"{where}, the log's end when its broker was last heard of")

    def at_work(self) -> str:
        """What the loop is applying, for messages."""
        task = self.worker.applying
        return "" if task is None else f"; at work on {task.unit}, offset {task.position} or later"


class Watchdog:
    """Watches a run while it is entered: in the event loop for what stalls, in a thread for a loop that does not turn.

    What stalls for `timeout` seconds is logged, and again after each further `timeout`. With `on_stall` "stop" it ends
    the worker with `StalledError`; where that does not end within another `timeout`, the process ends as in a crash,
    with status 1. A dead consumer ends the worker in any case.

    The thread needs the interpreter to get its turn; where not even that happens (in C code that keeps the GIL),
    `faulthandler` writes all stacks to stderr after twice the time.
    """

    def __init__(self, worker: _Worker, source: _Source, loader: _Loader, *, timeout: float, on_stall: OnStall) -> None:
        self._watched = _Watched(worker, source, loader)
        self._worker = worker
        self._source = source
        self._timeout = timeout
        self._stops = on_stall == "stop"
        self._patience = ceil(max(_LOOKS, timeout / _LONGEST_INTERVAL))
        self._interval = timeout / self._patience
        self._stalls = Stalls(self._patience)
        self._turns = 0
        self._ending = False
        self._closing = threading.Event()

    async def __aenter__(self) -> Self:
        self._loop_thread = threading.get_ident()
        self._looking = asyncio.create_task(self._look_again_and_again())
        self._thread = threading.Thread(target=self._watch_loop, name="framework-watchdog", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking
        faulthandler.cancel_dump_traceback_later()
        self._thread.join(self._interval)

    # ---- in the event loop

    async def _look_again_and_again(self) -> None:
        while True:
            self._turns += 1
            self._arm_faulthandler()
            try:
                if not self._ending:
                    self._look()
            except Exception as error:
                self._end(error)
            await asyncio.sleep(self._interval)

    def _arm_faulthandler(self) -> None:
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(2 * self._timeout, exit=self._stops, file=sys.__stderr__)

    def _look(self) -> None:
        self._source.check()
        due, over = self._stalls.look(self._watched.signs())
        for stall in over:
            log.info("goes on after %g s without progress: %s", self._seconds(stall), stall.sign.description)
        if not due:
            return
        message = self._message(due)
        log.warning("%s", message)
        if self._stops:
            self._end(StalledError(f"{message}. What is stored is good; start the worker again"))

    def _message(self, due: list[Stall]) -> str:
        due = sorted(due, key=lambda stall: -stall.looks)
        named = "; ".join(stall.sign.description for stall in due[:_NAMED])
        more = f"; and {len(due) - _NAMED} more" if len(due) > _NAMED else ""
        return f"no progress for {self._seconds(due[0]):g} s: {named}{more}{self._watched.at_work()}"

    def _seconds(self, stall: Stall) -> float:
        return round(stall.looks * self._interval, 1)

    def expect_end(self) -> None:
        """The run should end soon; where it does not within a `timeout`, the process ends as in a crash."""
        self._ending = True

    def _end(self, error: Exception) -> None:
        self.expect_end()
        self._worker.on_source_failed(error)

    # ---- in the thread

    def _watch_loop(self) -> None:
        turns, silent, ending = -1, 0, 0
        while not self._closing.wait(self._interval):
            silent = silent + 1 if turns == self._turns else 0
            turns = self._turns
            if silent and silent % self._patience == 0:
                self._report_blocked(silent)
            ending += self._ending
            if ending > self._patience:
                self._exit("the run does not end")

    def _report_blocked(self, silent: int) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)).rstrip()
        log.warning(
            "the event loop has not turned for %g s%s. It is here:\n%s",
            round(silent * self._interval, 1),
            self._watched.at_work(),
            stack,
        )
        if self._stops:
            self._exit("the event loop is blocked")

    def _exit(self, why: str) -> None:
        log.error("%s: ending the process without a last checkpoint, as a crash would; what is stored is good", why)
        os._exit(_EXIT_STATUS)
