"""The worker: one loop that owns all partition tasks of a process, and alone changes them."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from framework.errors import FencedError, FrameworkError, OutputError, ProcessingError, StoreError
from framework.records import Batch, TopicPartition
from framework.runtime.applier import Definition, Retry, Rewind
from framework.runtime.capture import BaseBudget
from framework.runtime.io import RunIO
from framework.runtime.loader import Loader
from framework.runtime.sink import Sink
from framework.runtime.source import Fetched, OutOfRange, Source
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Checkpoint, Description, Store, Unit

__all__ = ["Worker"]

log = logging.getLogger("framework")

_FETCH_WAIT: Final = 0.2
"""Seconds that a fetch waits for records."""
_HINT_WAIT: Final = 2.0
"""Seconds that the last hint to Kafka may take before partitions are handed over."""
_LEAVE_WAIT: Final = 15.0
"""Seconds that leaving the group may take."""

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at what other workers have stored, at the least."""

_FREED_AT_ONCE: Final = 20_000
"""Keys: some milliseconds."""

_Saving = asyncio.Task[list[tuple[Checkpoint, FrameworkError | None]]]


@dataclass(frozen=True, slots=True)
class _Revoked:
    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class _Assigned:
    partitions: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class _Ready:
    partition: TopicPartition


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


_Event = _Revoked | _Assigned | _Ready | _Failed


class Worker:
    """Applies the records of the assigned partitions, and stores checkpoints.

    Callbacks and loaders only post events; the loop handles them between two batches (a revoke or a stop between two
    records), so nothing changes a task while it applies. One save is under way at a time, in the background.
    """

    def __init__(
        self,
        *,
        group: str,
        cluster_id: str | None,
        definitions: Sequence[Definition],
        source: Source,
        sink: Sink,
        store: Store,
        loader: Loader,
        run_io: RunIO,
        hook: Any,
        checkpoint_interval: float,
        fenced_patience: float,
    ) -> None:
        """`hook` are pluggy's observers. `fenced_patience` is how many seconds a partition that somebody else claimed
        may stay assigned here before that is an error.
        """
        self._group = group
        self._cluster_id = cluster_id
        self._definitions = definitions
        self._source = source
        self._sink = sink
        self._store = store
        self._loader = loader
        self._run_io = run_io
        self._hook = hook
        self._checkpoint_interval = checkpoint_interval
        self._fenced_patience = fenced_patience
        self._stop_at: Mapping[TopicPartition, int] | None = None
        self._awaited: Sequence[str] = ()
        self._next_look = 0.0
        self._loop = asyncio.get_running_loop()
        self._assigned: dict[TopicPartition, list[PartitionTask]] | None = None
        self._warm: dict[Unit, PartitionTask] = {}
        self._events: deque[_Event] = deque()
        self._wake: asyncio.Future[None] = self._loop.create_future()
        self._fetching: asyncio.Task[Fetched] | None = None
        self._loading: list[asyncio.Task[None]] = []
        self._saving: _Saving | None = None
        self._hinting: asyncio.Task[None] | None = None
        self._freeing: set[asyncio.Task[None]] = set()
        self._unacknowledged: list[Awaitable[Any]] = []
        self._next_checkpoint = self._loop.time() + checkpoint_interval
        self._fenced: tuple[float, FencedError] | None = None
        self._stopping = False
        self._closed = False
        self._error: BaseException | None = None
        self.last_saved: float | None = None
        """When a checkpoint was last stored, on the event loop's clock."""
        self.applying: PartitionTask | None = None
        """The task whose records are being applied."""

    # ---- told by others

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Checkpoint and let go; returns when that is done."""
        if self._closed:
            return
        done = self._loop.create_future()
        self._post(_Revoked(done))
        await done

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Begin to load; returns at once."""
        self._post(_Assigned(partitions))

    def on_source_failed(self, error: BaseException) -> None:
        """Stop with this error."""
        self._post(_Failed(error))

    def stop(self) -> None:
        """Finish the record at hand, store a last checkpoint, leave."""
        self._stopping = True
        self._wake_up()

    def stop_when(self, positions: Mapping[TopicPartition, int]) -> None:
        """Stop once each partition is stored up to its position; one that is not named has no records.

        Partitions that other workers have count as well, in a store that other workers can see.
        """
        self._stop_at = positions
        self._wake_up()

    def _post(self, event: _Event) -> None:
        self._events.append(event)
        self._wake_up()

    def _wake_up(self) -> None:
        if not self._wake.done():
            self._wake.set_result(None)

    # ---- asked by others

    @property
    def tasks(self) -> list[PartitionTask]:
        """The tasks of the partitions that are assigned."""
        return [task for tasks in (self._assigned or {}).values() for task in tasks]

    @property
    def is_assigned(self) -> bool:
        """Whether the group has told what this worker has to do, be it nothing."""
        return self._assigned is not None

    @property
    def saving(self) -> object | None:
        """The save that is under way; another object for each."""
        return None if self._saving is None or self._saving.done() else self._saving

    def positions(self) -> dict[TopicPartition, int]:
        """Up to where every plugin has applied each assigned partition."""
        return {
            partition: min(task.position for task in tasks if task.position is not None)
            for partition, tasks in (self._assigned or {}).items()
            if any(task.position is not None for task in tasks)
        }

    # ---- the loop

    async def run(self) -> None:
        """Work until `stop`, the end (`stop_when`) or an error, which is raised after a last checkpoint of the rest."""
        try:
            await self._source.start(self)
            while not self._stopping:
                await self._turn()
        except Exception as error:
            self._error = error
        await self._shut_down()
        if self._error is not None:
            raise self._error

    async def _turn(self) -> None:
        if self._fetching is None:
            self._fetching = self._loop.create_task(self._source.fetch(_FETCH_WAIT))
        waited_for: set[asyncio.Future[Any]] = {self._fetching, self._wake}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if self._wake.done():
            self._wake = self._loop.create_future()
        while self._events:
            await self._handle(self._events.popleft())
        if self._fetching.done():
            fetching, self._fetching = self._fetching, None
            await self._apply_fetched(fetching)
        await self._checkpoint_if_due()
        self._check_fenced()
        if await self._is_at_end():
            self._stopping = True

    async def _handle(self, event: _Event) -> None:
        match event:
            case _Revoked(done):
                try:
                    await self._let_go()
                finally:
                    done.set_result(None)
            case _Assigned(partitions):
                self._take_up(partitions)
            case _Ready(partition):
                self._let_flow(partition)
            case _Failed(error):
                raise error

    async def _is_at_end(self) -> bool:
        ends, assigned = self._stop_at, self._assigned
        if ends is None or assigned is None or not await self._is_at_own_end(ends):
            return False
        others = {partition: end for partition, end in ends.items() if end and partition not in assigned}
        if not others or not self._store.survives:  # what others keep in their memory cannot be seen from here
            return True
        return await self._are_at_end(others)

    async def _is_at_own_end(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all that is assigned here is applied, and then also stored."""
        tasks = self.tasks
        if not all(_has_come_to(ends, task, task.position) for task in tasks):
            return False
        if not all(_has_come_to(ends, task, task.stored_position) for task in tasks):
            await self._finish_save()
            await self._begin_save([task for task in tasks if task.status is TaskStatus.RUNNING])
            await self._finish_save()
        return all(_has_come_to(ends, task, task.stored_position) for task in tasks)

    async def _are_at_end(self, others: Mapping[TopicPartition, int]) -> bool:
        """Whether other workers have stored theirs; a partition of one that crashed will be assigned here instead."""
        if self._loop.time() < self._next_look:
            return False
        began = self._loop.time()
        stored = await self._run_io(self._store.stored, self._group)
        self._next_look = self._loop.time() + max(_LOOK_EVERY, 4 * (self._loop.time() - began))
        positions = {each.unit: each.position or 0 for each in stored}
        units = {
            Unit(self._group, definition.name, *partition): end
            for partition, end in others.items()
            for definition in self._definitions
        }
        missing = sorted(
            {f"{unit.topic}-{unit.partition}" for unit, end in units.items() if positions.get(unit, 0) < end}
        )
        if missing and missing != self._awaited:
            log.info(
                "all that is assigned here is stored; waiting for other workers to store theirs: %s",
                ", ".join(missing),
            )
        self._awaited = missing
        return not missing

    # ---- assignments

    def _take_up(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._fenced = None
        self._assigned = {
            partition: [self._task(definition, partition, count) for definition in self._definitions]
            for partition, count in partitions.items()
        }
        self._free(list(self._warm.values()))
        self._warm = {}
        log.info("assigned: %s", ", ".join(map(str, sorted(partitions))) or "nothing")
        self._start_loading(self._assigned)

    def _free(self, tasks: Sequence[PartitionTask]) -> None:
        """Free states that went elsewhere bit by bit: millions of keys at once would stall the loop."""

        async def free() -> None:
            for task in tasks:
                while task.free(_FREED_AT_ONCE):  # noqa: ASYNC110 - it is work, not waiting
                    await asyncio.sleep(0)

        if tasks:
            freeing = self._loop.create_task(free())
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)

    def _task(self, definition: Definition, partition: TopicPartition, partitions: int) -> PartitionTask:
        unit = Unit(self._group, definition.name, *partition)
        description = Description(
            definition.codec.name, definition.processor.state_version, partitions, self._cluster_id
        )
        task = self._warm.pop(unit, None)
        if task is None:
            return PartitionTask(unit, definition, description, self._loop.time)
        task.description = description
        task.move(TaskStatus.ASSIGNED)
        return task

    def _start_loading(self, assigned: Mapping[TopicPartition, Sequence[PartitionTask]]) -> None:
        if assigned:
            loading = self._loop.create_task(
                self._loader.load(assigned, lambda partition: self._post(_Ready(partition)))
            )
            self._loading.append(loading)
            loading.add_done_callback(self._loaded)

    def _loaded(self, loading: "asyncio.Task[None]") -> None:
        self._loading.remove(loading)
        error = None if loading.cancelled() else loading.exception()
        if isinstance(error, FencedError):
            self._expect_rebalance(error)
        elif error is not None:
            self._post(_Failed(error))

    def _let_flow(self, partition: TopicPartition) -> None:
        """Seek to the lowest position that any plugin needs; the others skip what they have."""
        tasks = (self._assigned or {}).get(partition, [])
        if not tasks or any(task.status not in (TaskStatus.SEEKING, TaskStatus.RUNNING) for task in tasks):
            return
        for task in tasks:
            if task.status is TaskStatus.SEEKING:
                task.move(TaskStatus.RUNNING)
                self._hook.framework_assigned(
                    plugin=task.unit.plugin, partition=partition, last_offset=task.last_offset, epoch=task.epoch
                )
        self._source.release(partition, min(task.position for task in tasks if task.position is not None))

    async def _let_go(self) -> None:
        """Hand everything over; memory stays warm in case a partition comes back."""
        tasks = self.tasks
        await self._hand_over(tasks)
        self._warm = {task.unit: task for task in tasks}
        self._assigned = None

    async def _hand_over(self, tasks: Sequence[PartitionTask]) -> None:
        """Checkpoint all of these, and release them."""
        await self._cancel_loading()
        await self._drain(tasks)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._source.commit_hint(self._hints()), _HINT_WAIT)
        for task in tasks:
            task.move(TaskStatus.RELEASED)
            self._hook.framework_released(
                plugin=task.unit.plugin, partition=task.source, last_offset=task.stored_offset
            )

    async def _cancel_loading(self) -> None:
        loading = list(self._loading)
        for each in loading:
            each.cancel()
        if loading:
            await asyncio.wait(loading)

    async def _drain(self, tasks: Sequence[PartitionTask]) -> None:
        self._stop_applying(tasks)
        await self._finish_save()
        await self._begin_save([task for task in tasks if task.status is TaskStatus.DRAINING])
        await self._finish_save()

    def _stop_applying(self, tasks: Sequence[PartitionTask]) -> None:
        for task in tasks:
            if task.status is TaskStatus.RUNNING:
                task.move(TaskStatus.DRAINING)

    # ---- applying

    async def _apply_fetched(self, fetching: "asyncio.Task[Fetched]") -> None:
        try:
            fetched = fetching.result()
        except OutOfRange as error:
            await self._reload(error.partitions)
            return
        for batch in fetched:
            if fetched.assignment != self._source.assignment:
                return
            for task in (self._assigned or {}).get(batch.source, ()):
                if task.status is TaskStatus.RUNNING:
                    await self._apply(task, batch)
            await self._breathe()

    async def _apply(self, task: PartitionTask, batch: Batch) -> None:
        self.applying = task
        try:
            await task.apply(batch, self._breathe)
        except Rewind:
            await self._rewind(task)
        except Retry as retry:
            self._hold_until(task.source, retry.at)
        except ProcessingError:
            raise  # the memory is as before the record
        except Exception:
            task.fail()  # the memory may be half-way, so it must not be stored
            raise
        finally:
            await self._send_outputs(task)
            self.applying = None

    async def _breathe(self) -> None:
        """Give the loop a turn, and what cannot wait until the batch is applied its due."""
        await asyncio.sleep(0)
        await self._checkpoint_if_due()
        if self._stopping or any(isinstance(event, _Revoked) for event in self._events):
            self._stop_applying(self.tasks)

    async def _rewind(self, task: PartitionTask) -> None:
        """Go back to the last checkpoint, to apply one record at a time from there."""
        self._source.hold(task.source)
        task.void()
        task.move(TaskStatus.ASSIGNED)
        await self._finish_save()
        if task.status is TaskStatus.ASSIGNED:
            self._start_loading({task.source: [task]})

    def _hold_until(self, partition: TopicPartition, at: float) -> None:
        """Let no records of it flow before that time of the event loop's clock, while all others do."""
        self._source.hold(partition)
        self._loop.call_at(at, self._post, _Ready(partition))

    async def _reload(self, partitions: Sequence[TopicPartition]) -> None:
        """The log has lost a running partition's position: checkpoint, and let the loader decide.

        The news may be old, and the partition be assigned and loading again: then there is nothing to do.
        """
        for partition in partitions:
            tasks = [task for task in (self._assigned or {}).get(partition, []) if task.status is TaskStatus.RUNNING]
            self._source.hold(partition)
            await self._drain(tasks)
            drained = [task for task in tasks if task.status is TaskStatus.DRAINING]
            for task in drained:
                task.move(TaskStatus.RELEASED)
                task.move(TaskStatus.ASSIGNED)
            if drained:
                self._start_loading({partition: drained})

    async def _send_outputs(self, task: PartitionTask) -> None:
        outputs = task.take_outputs()
        if outputs:
            self._unacknowledged += await self._sink.send(outputs)

    # ---- checkpoints

    async def _checkpoint_if_due(self) -> None:
        if self._saving is not None:
            if not self._saving.done():
                return
            await self._finish_save()
        if self._loop.time() >= self._next_checkpoint:
            await self._begin_save([task for task in self.tasks if task.status is TaskStatus.RUNNING])

    async def _begin_save(self, tasks: Sequence[PartitionTask]) -> None:
        """Capture all of these now, and store it in the background."""
        captured, failure, budget = [], None, BaseBudget()
        for task in tasks:
            await self._send_outputs(task)
            try:
                checkpoint = await task.capture(budget)
            except FrameworkError as error:
                failure = failure or error
                continue
            if checkpoint is not None:
                captured.append(checkpoint)
        self._next_checkpoint = self._loop.time() + self._checkpoint_interval
        if captured:
            acknowledgements, self._unacknowledged = self._unacknowledged, []
            self._saving = self._loop.create_task(self._save(captured, acknowledgements))
        if failure is not None:
            raise failure

    async def _save(
        self, captured: list[Checkpoint], acknowledgements: Sequence[Awaitable[Any]]
    ) -> list[tuple[Checkpoint, FrameworkError | None]]:
        await asyncio.gather(*acknowledgements)
        outcomes = await self._run_io(self._store.save, captured)
        return list(zip(captured, outcomes, strict=True))

    async def _finish_save(self) -> None:
        if self._saving is None:
            return
        try:
            outcomes = await self._saving
        finally:  # until then the watchdog sees it
            self._saving = None
        tasks = {task.unit: task for task in self.tasks}
        for checkpoint, outcome in outcomes:
            task = tasks[checkpoint.unit]
            if outcome is None:
                task.saved(checkpoint)
                self._hook.framework_checkpoint_saved(
                    plugin=task.unit.plugin,
                    partition=task.source,
                    last_offset=checkpoint.last_offset,
                    changes=checkpoint.changes,
                )
            elif isinstance(outcome, FencedError):
                self._on_fenced(task, outcome)
            else:
                raise outcome
        self.last_saved = self._loop.time()
        if self._hinting is None or self._hinting.done():
            self._hinting = self._loop.create_task(self._source.commit_hint(self._hints()))

    def _hints(self) -> dict[TopicPartition, int]:
        hints: dict[TopicPartition, int] = {}
        for task in self.tasks:
            if task.stored_position is not None:
                hints[task.source] = min(task.stored_position, hints.get(task.source, task.stored_position))
        return hints

    def _on_fenced(self, task: PartitionTask, error: FencedError) -> None:
        """Somebody else owns it: forget it."""
        task.fail()
        self._source.hold(task.source)
        self._expect_rebalance(error)

    def _expect_rebalance(self, error: FencedError) -> None:
        """Somebody else owns a partition: the group should soon say so, too; if it does not, that is an error."""
        log.warning("%s", error)
        if self._fenced is None:
            self._fenced = (self._loop.time() + self._fenced_patience, error)

    def _check_fenced(self) -> None:
        if self._fenced is not None and self._loop.time() > self._fenced[0]:
            raise self._fenced[1]

    # ---- the end

    async def _shut_down(self) -> None:
        self._closed = True
        await self._cancel_loading()
        if self._fetching is not None:
            self._fetching.cancel()
        if not isinstance(self._error, StoreError | OutputError):
            await self._last_checkpoint()
        for event in self._events:
            if isinstance(event, _Revoked):
                event.done.set_result(None)
        for background in self._background():
            background.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await background
        try:
            await asyncio.wait_for(self._source.stop(), _LEAVE_WAIT)
        except TimeoutError:
            log.warning("the group's coordinator does not answer; left without saying goodbye")
        await self._sink.stop()

    async def _last_checkpoint(self) -> None:
        try:
            await self._hand_over(self.tasks)
        except Exception as error:
            if self._error is None:
                self._error = error
            else:
                log.error("no last checkpoint: %s", error)

    def _background(self) -> Iterator["asyncio.Future[Any]"]:
        yield from self._freeing.copy()
        for task in (self._fetching, self._saving, self._hinting):
            if task is not None:
                yield task
        for acknowledgement in self._unacknowledged:
            yield asyncio.ensure_future(acknowledgement)


def _has_come_to(ends: Mapping[TopicPartition, int], task: PartitionTask, position: int | None) -> bool:
    return task.status is TaskStatus.RUNNING and position is not None and position >= ends.get(task.source, 0)
