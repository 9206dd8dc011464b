"""The saver: sends outputs, stores checkpoints, and handles the outcomes of saves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from framework.borders import describe, is_plugin_failure
from framework.errors import FencedError, FrameworkError
from framework.observers import Observers
from framework.runtime.assignment import Assignment
from framework.runtime.background import contained
from framework.runtime.capture import BaseBudget
from framework.runtime.io import RunIO
from framework.runtime.limits import Limits
from framework.runtime.ports import Sink, Source
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.witness import commits_of
from framework.stores import Checkpoint, Outcome, Store

__all__ = ["Saver"]

log = logging.getLogger("framework")

_Captured = Sequence[tuple[PartitionTask, Checkpoint]]


class Saver:
    """Sends outputs to Kafka, and stores checkpoints after their outputs are acknowledged. One save runs at a time.

    A save runs in the background while records are applied. `finish` handles its outcome.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        source: Source,
        sink: Sink,
        store: Store,
        run_io: RunIO,
        observers: Observers,
        interval: float,
        limits: Limits,
        on_fenced: Callable[[PartitionTask, FencedError], None],
    ) -> None:
        """`interval` is the time between two checkpoints, in seconds."""
        self.last_saved: float | None = None
        """Time of the last successful save, on the event loop's clock in seconds; None before the first."""
        self._assignment = assignment
        self._source = source
        self._sink = sink
        self._store = store
        self._run_io = run_io
        self._observers = observers
        self._interval = interval
        self._limits = limits
        self._on_fenced = on_fenced
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.time() + interval
        self._store_id: str | None = None
        self._saving: asyncio.Task[list[tuple[PartitionTask, Checkpoint, Outcome]]] | None = None
        self._committing: asyncio.Task[None] | None = None

    @property
    def saving(self) -> object | None:
        """An object that stands for the save under way, a different one for each save; None if none is."""
        return None if self._saving is None or self._saving.done() else self._saving

    async def send_outputs(self, task: PartitionTask) -> None:
        """Send the outputs of a task. Waits while too many outputs are not acknowledged. Raises `OutputError`."""
        if task.applier is not None and len(task.applier.memory.outbox):
            with task.handing_over() as outputs:
                await self._sink.send(outputs)

    async def save_if_due(self) -> None:
        """Handle the outcome of a save that has ended, and begin the next save if it is due."""
        if self._saving is not None:
            if not self._saving.done():
                return
            await self.finish()
        if self._loop.time() >= self._next:
            await self.begin(self._assignment.with_status(TaskStatus.RUNNING))

    async def save(self, tasks: Sequence[PartitionTask]) -> None:
        """Save these tasks, and wait until they are stored."""
        await self.finish()
        await self.begin(tasks)
        await self.finish()

    async def begin(self, tasks: Sequence[PartitionTask]) -> None:
        """Capture these tasks now, and save them in the background. No other save may be under way.

        Raises the error of a task that could not be captured, after the save of the others has begun.
        """
        captured, failure = [], None
        budget = BaseBudget(self._limits.base_keys)
        for task in tasks:
            if not task.can_be_stored:
                continue
            await self.send_outputs(task)
            try:
                checkpoint = await task.capture(budget)
            except FrameworkError as error:
                failure = failure or error
                continue
            if checkpoint is not None:
                captured.append((task, checkpoint))
        self._next = self._loop.time() + self._interval
        if captured:
            self._saving = self._loop.create_task(contained(self._save, captured, self._sink.flushed()))
        if failure is not None:
            raise failure

    async def _save(
        self, captured: _Captured, flushed: Awaitable[None]
    ) -> list[tuple[PartitionTask, Checkpoint, Outcome]]:
        await flushed
        checkpoints = [checkpoint for _, checkpoint in captured]
        try:
            outcomes = await self._run_io(self._store.save, checkpoints)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            log.warning("the store failed to save, or its answer was lost; trying again: %s", describe(error))
            outcomes = await self._run_io(self._store.save, checkpoints)
        return [(task, checkpoint, outcome) for (task, checkpoint), outcome in zip(captured, outcomes, strict=True)]

    async def finish(self) -> None:
        """Wait for the save that is under way, if there is one, and handle its outcome. Raises the first failure."""
        if self._saving is None:
            return
        try:
            outcomes = await self._saving
        finally:  # not earlier, because the watchdog watches it
            self._saving = None
        failure = None
        for task, checkpoint, outcome in outcomes:
            if outcome.error is None:
                task.saved(checkpoint)
                self._tell(task, checkpoint)
            elif isinstance(outcome.error, FencedError):
                self._on_fenced(task, outcome.error)
            else:
                task.fail()
                failure = failure or outcome.error
        if failure is not None:
            raise failure
        self.last_saved = self._loop.time()
        if self._committing is None or self._committing.done():
            self._committing = self._loop.create_task(self.commit())

    def _tell(self, task: PartitionTask, checkpoint: Checkpoint) -> None:
        self._observers.checkpoint_saved(
            plugin=task.unit.plugin,
            partition=task.partition,
            last_offset=checkpoint.own_progress.last_offset,
            changes=sum(changes.changed for changes in checkpoint.tables.values()),
        )

    async def commit(self) -> None:
        """Commit the stored positions to the group, for lag tools and as a witness. A failure is logged, not raised."""
        tasks = self._assignment.tasks
        try:
            if self._store_id is None:
                self._store_id = await self._run_io(self._store.id_of, self._assignment.group)
            await self._source.commit(commits_of(tasks, self._store_id, survives=self._store.survives))
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            log.warning("could not commit offsets to the group: %s; stored state is not affected", describe(error))

    async def stop(self) -> None:
        """Cancel the save and the commit that are under way, without handling their outcomes."""
        for background in (self._saving, self._committing):
            if background is not None:
                background.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await background
