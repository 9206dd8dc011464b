"""The watchdog: notices when a partition or a checkpoint makes no progress, and when the event loop is blocked."""

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
"""Shortest stall timeout, in seconds. A healthy broker may be silent for almost as long."""
_LOOKS: Final = 4
"""Smallest number of looks in a stall timeout."""
_LONGEST_INTERVAL: Final = 5.0
"""Longest time between two looks, in seconds."""
_NAMED: Final = 5
"""Largest number of stalls that a message names."""
_EXIT_STATUS: Final = StalledError.exit_status


class Sign(NamedTuple):
    """The observable progress of one subject, such as a task or a checkpoint."""

    subject: Hashable
    progress: object
    """A value that differs after each step of progress."""
    description: str
    """Text for messages."""


class Stall(NamedTuple):
    """A subject without progress."""

    sign: Sign
    looks: int
    """Number of looks in a row that found no progress."""


class Stalls:
    """Finds subjects without progress, by looks in equal intervals.

    It counts looks and reads no clock, so that time in which the whole process was suspended does not count.
    """

    def __init__(self, patience: int) -> None:
        """`patience` is the number of looks without progress that make a stall."""
        self._patience = patience
        self._seen: dict[Hashable, Stall] = {}

    def look(self, signs: Iterable[Sign]) -> tuple[list[Stall], list[Stall]]:
        """Returns the stalls to report now, and those that are over. Each is due again after `patience` more looks."""
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
    """The methods of a source that the watchdog uses."""

    def check(self) -> None:
        """Raises `StalledError` if the consumer is dead."""

    def log_ends(self) -> dict[TopicPartition, LogEnd]:
        """The known ends of the assigned partitions' logs."""

    def missing_topics(self) -> list[str]:
        """Topics of the subscription that the broker does not have."""


class _Worker(Protocol):
    """The members of a worker that the watchdog uses."""

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
    """The members of a loader that the watchdog uses."""

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
            yield Sign(topic, None, f"the broker has no topic {topic}")
        if not self.worker.is_assigned:
            yield Sign("assignment", None, "the group coordinator has not assigned any partitions yet")
        saving = self.worker.saving
        if saving is not None:
            yield Sign("checkpoint", saving, "a checkpoint waits for the store, or for acknowledgements of outputs")
        ends = self.source.log_ends()
        for task in self.worker.tasks:
            if task.status is not TaskStatus.RELEASED and not task.is_waiting:
                yield self._sign(task, ends.get(task.partition))

    def _sign(self, task: PartitionTask, end: LogEnd | None) -> Sign:
        where = f"{task.unit}: {task.status.value} at offset {task.position}"
        if task.status is not TaskStatus.RUNNING:
            return Sign(task.unit, (task.status, self.loader.steps), where)
        if end is None:
            return Sign(task.unit, task.position, f"{where}, the log's end is unknown: its broker does not answer")
        if task.position is None or task.position < end.offset:
            return Sign(task.unit, task.position, f"{where}, the log ends at {end.offset}")
        return Sign(task.unit, (task.position, end), f"{where}, the log's end at the last answer of its broker")

    def at_work(self) -> str:
        """The records that are being applied, for messages."""
        task = self.worker.applying
        if task is None:
            return ""
        return f"; plugin {task.unit.plugin} is applying {task.partition} from offset {task.position}"


class Watchdog:
    """Watches a run while it is entered. The event loop looks for stalls, and a thread looks for a blocked event loop.

    A stall of `timeout` seconds is logged, and logged again after each further `timeout`. With `on_stall` "stop", it
    also ends the worker with `StalledError`. If the worker does not end within another `timeout`, the process ends
    without a last checkpoint, with status 1. A dead consumer always ends the worker.

    C code that keeps the GIL blocks the thread, too. Then `faulthandler` writes all stacks to stderr after twice the
    timeout.
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
            log.info("progress again after %g s: %s", self._seconds(stall), stall.sign.description)
        if not due:
            return
        message = self._message(due)
        log.warning("%s", message)
        if self._stops:
            self._end(StalledError(f"{message}. The stored state is intact; start the worker again"))

    def _message(self, due: list[Stall]) -> str:
        due = sorted(due, key=lambda stall: -stall.looks)
        named = "; ".join(stall.sign.description for stall in due[:_NAMED])
        more = f"; and {len(due) - _NAMED} more" if len(due) > _NAMED else ""
        return f"no progress for {self._seconds(due[0]):g} s: {named}{more}{self._watched.at_work()}"

    def _seconds(self, stall: Stall) -> float:
        return round(stall.looks * self._interval, 1)

    def expect_end(self) -> None:
        """Expect the run to end. If it takes longer than `timeout`, the process ends without a last checkpoint."""
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
            "the event loop has been blocked for %g s%s. Stack of its thread:\n%s",
            round(silent * self._interval, 1),
            self._watched.at_work(),
            stack,
        )
        if self._stops:
            self._exit("the event loop is blocked")

    def _exit(self, why: str) -> None:
        log.error("%s: ending the process without a last checkpoint; the stored state is intact", why)
        os._exit(_EXIT_STATUS)
