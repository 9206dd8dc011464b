"""The worker: one loop that owns all partition tasks of a process. No other code changes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from framework.borders import describe, is_plugin_failure
from framework.errors import FencedError
from framework.observers import Observers
from framework.records import TopicPartition
from framework.runtime.applier import Missing, Rewind
from framework.runtime.assignment import Assignment
from framework.runtime.background import as_error, contained
from framework.runtime.definition import Definition
from framework.runtime.ending import Ending
from framework.runtime.failures import Refusal, Retry
from framework.runtime.inbox import Assigned, Event, Failed, Inbox, Ready, Revoked
from framework.runtime.io import RunIO
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.loader import Loader
from framework.runtime.ports import Fetched, OutOfRange, Sink, Source
from framework.runtime.saver import Saver
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Store

__all__ = ["Worker"]

log = logging.getLogger("framework")


class Worker:
    """Applies the records of the assigned partitions, and stores checkpoints.

    Callbacks and loaders only post events. The loop handles them between two batches, and a revocation or a stop
    between two records, so that no task changes while it applies records.

    A last checkpoint is stored only if the run ends in order: after `stop`, at the end of the topics, or after a failed
    record if the policy is to stop. After any other error all memory is dropped, and the next owner continues from the
    stored state.
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
        observers: Observers,
        checkpoint_interval: float,
        fenced_patience: float,
        limits: Limits,
        give_up: Callable[[str], object],
    ) -> None:
        """`checkpoint_interval` is in seconds. `fenced_patience` is the time for which a partition that another owner
        claimed may stay assigned to this worker before that is an error, in seconds. `give_up` ends the process at
        once, without a last checkpoint; its argument is the reason, for a message.
        """
        clock = asyncio.get_running_loop().time
        self.applying: PartitionTask | None = None
        """The task whose plugin is applying records now."""
        self.assignment = Assignment(group, cluster_id, definitions, Lifecycle(), clock=clock, limits=limits)
        self.saver = Saver(
            self.assignment,
            source=source,
            sink=sink,
            store=store,
            run_io=run_io,
            observers=observers,
            interval=checkpoint_interval,
            limits=limits,
            on_fenced=self._on_fenced,
        )
        self._ending = Ending(self.assignment, self.saver, store=store, run_io=run_io, limits=limits)
        self._fenced = _Fenced(clock, fenced_patience)
        self._inbox = Inbox()
        self._source = source
        self._sink = sink
        self._loader = loader
        self._observers = observers
        self._limits = limits
        self._give_up = give_up
        self._fetching: asyncio.Task[Fetched] | None = None
        self._loading: list[asyncio.Task[None]] = []
        self._stopping = False

    # ---- called by others

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Save and release all partitions. Returns when that is done.

        Calls `give_up` if a plugin does not return from a record within `Limits.revoke_seconds`, because the whole
        group waits for this worker.
        """
        revoking = asyncio.ensure_future(self._inbox.revoke())
        while not (await asyncio.wait([revoking], timeout=self._limits.revoke_seconds))[0]:
            if self.applying is not None:
                self._give_up(f"partitions were revoked, but this worker still waits for {self.activity}")
        revoking.result()

    def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """Begin to load. Returns at once."""
        self._inbox.post(Assigned(partitions))

    def on_source_failed(self, error: BaseException) -> None:
        """Stop with this error."""
        self._inbox.post(Failed(error))

    def stop(self) -> None:
        """Finish the current record, store a last checkpoint, and leave the group."""
        self._stopping = True
        self._inbox.wake_up()

    def stop_when(self, positions: Mapping[TopicPartition, int]) -> None:
        """Stop once each partition is stored up to its position. A partition that is not named has no records."""
        self._ending.expect(positions)
        self._inbox.wake_up()

    # ---- read by others

    @property
    def tasks(self) -> list[PartitionTask]:
        """The tasks of all assigned partitions."""
        return self.assignment.tasks

    @property
    def is_assigned(self) -> bool:
        """Whether the group has assigned partitions to this worker, or has assigned it none. False while unknown."""
        return self.assignment.is_known

    @property
    def saving(self) -> object | None:
        """As `Saver.saving`."""
        return self.saver.saving

    @property
    def activity(self) -> str:
        """The thing that the worker waits for, for messages."""
        if self.applying is not None:
            task = self.applying
            return f"plugin {task.unit.plugin}, which is applying {task.partition} from offset {task.position}"
        if self.saving is not None:
            return "a checkpoint (the store, or acknowledgements of outputs)"
        if self._loading:
            return "state that is being loaded, or a format that gets a schema"
        return "the broker, or a plugin that is closing"

    # ---- the loop

    async def run(self) -> None:
        """Work until `stop` is called, the end (`stop_when`) is reached, or an error occurs, which is raised."""
        error: Exception | None = None
        in_order = True
        try:
            await self._source.start(self)
            while not self._stopping:
                await self._turn()
        except Refusal as refusal:
            error = refusal.error
        except BaseException as failure:
            if not is_plugin_failure(failure):
                if not isinstance(failure, GeneratorExit):  # after that, nothing can be awaited
                    await self._shut_down(in_order=False)
                raise
            error, in_order = as_error(failure), False
        failure_at_end = await self._shut_down(in_order=in_order)
        if error is not None:
            raise error
        if failure_at_end is not None:
            raise failure_at_end

    async def _turn(self) -> None:
        if self._fetching is None:
            self._fetching = asyncio.create_task(contained(self._source.fetch, self._limits.fetch_seconds))
        await self._inbox.wait(self._fetching)
        while (event := self._inbox.take()) is not None:
            await self._handle(event)
        if self._fetching.done():
            fetching, self._fetching = self._fetching, None
            await self._apply_fetched(fetching)
        await self._fire_timers()
        await self._step_idle()
        await self.saver.save_if_due()
        self._fenced.check()
        if await self._ending.is_reached():
            self._stopping = True

    async def _handle(self, event: Event) -> None:
        match event:
            case Revoked(done):
                try:
                    await self._hand_over()
                    self.assignment.let_go()
                finally:
                    if not done.done():
                        done.set_result(None)
            case Assigned(partitions):
                self._fenced.clear()
                self._start_loading(self.assignment.take_up(partitions))
            case Ready(partition):
                self._let_flow(partition)
            case Failed(error):
                raise error

    # ---- assignments

    def _start_loading(self, assigned: Mapping[TopicPartition, Sequence[PartitionTask]]) -> None:
        if assigned:
            self._load(contained(self._loader.load, assigned, lambda partition: self._inbox.post(Ready(partition))))

    def _load(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do this in the background, until it is done or the assignment ends. An error of it ends the run."""
        loading = asyncio.create_task(work)
        self._loading.append(loading)
        loading.add_done_callback(self._loaded)
        return loading

    def _loaded(self, loading: "asyncio.Task[None]") -> None:
        was_wanted = loading in self._loading
        if was_wanted:
            self._loading.remove(loading)
        try:
            error = loading.exception()
        except asyncio.CancelledError as cancelled:
            error = as_error(cancelled) if was_wanted else None
        if isinstance(error, FencedError):
            self._fenced.expect_rebalance(error)
        elif error is not None:
            self._inbox.post(Failed(error))

    def _let_flow(self, partition: TopicPartition) -> None:
        """Seek to the lowest position that any plugin needs. The other plugins skip records that they have applied."""
        tasks = self.assignment.of(partition)
        if not tasks or any(task.status not in (TaskStatus.SEEKING, TaskStatus.RUNNING) for task in tasks):
            return
        for task in tasks:
            if task.status is TaskStatus.SEEKING:
                task.move(TaskStatus.RUNNING)
                self._observers.assigned(
                    plugin=task.unit.plugin,
                    partition=partition,
                    last_offset=task.live.last_offset,
                    epoch=task.epoch,
                )
        self._source.release(partition, min(task.position for task in tasks if task.position is not None))

    async def _hand_over(self) -> None:
        """Save all tasks, and release them."""
        await self._cancel_loading()
        tasks = self.tasks
        await self._drain(tasks)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.commit_seconds):
                await self.saver.commit()
        for task in tasks:
            task.move(TaskStatus.RELEASED)
            self._observers.released(
                plugin=task.unit.plugin, partition=task.partition, last_offset=task.stored.last_offset
            )

    async def _cancel_loading(self) -> None:
        loading, self._loading = self._loading, []
        for each in loading:
            each.cancel()
        if loading:
            await asyncio.wait(loading)

    async def _drain(self, tasks: Sequence[PartitionTask]) -> None:
        self._stop_applying(tasks)
        await self.saver.finish()
        await self.saver.save([task for task in tasks if task.status is TaskStatus.DRAINING])

    def _stop_applying(self, tasks: Sequence[PartitionTask]) -> None:
        for task in tasks:
            if task.status is TaskStatus.RUNNING:
                task.move(TaskStatus.DRAINING)

    def _on_fenced(self, task: PartitionTask, error: FencedError) -> None:
        """Stop a task whose unit another owner has claimed."""
        task.fail()
        self._source.hold(task.partition)
        self._fenced.expect_rebalance(error)

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
            for task in self.assignment.of(batch.topic_partition):
                if task.status is TaskStatus.RUNNING:
                    await self._let(task, task.live.apply(batch, self._breathe))
            await self._breathe()

    async def _fire_timers(self) -> None:
        """Let timers fire and keys expire that are due although no record has come."""
        for task in self.assignment.tasks:  # the work on one may end another, so each status is read just before
            if task.status is TaskStatus.RUNNING and task.live.has_due_work:
                await self._let(task, task.live.fire(self._breathe))

    async def _step_idle(self) -> None:
        """Let event time go on in partitions that have had no record for long. This is stored before timers fire."""
        if all(definition.time.idle_after is None for definition in self.assignment.definitions):
            return
        ends, stepping = self._source.log_ends(), []
        for task in self.assignment.with_status(TaskStatus.RUNNING):
            if task.can_be_stored and not task.is_waiting:
                time = task.live.idle_step(ends.get(task.partition))
                if time is not None:
                    task.live.advance_watermark(time)
                    stepping.append(task)
        if stepping:
            await self.saver.save(stepping)

    async def _let(self, task: PartitionTask, work: Awaitable[None]) -> None:
        """Let a task do its work, and do with the task what the work asks for. Send its outputs."""
        self.applying = task
        try:
            await work
        except Rewind:
            self.applying = None
            await self._rewind(task)
        except Retry as retry:
            self._hold_until(task.partition, retry.at)
        except Missing as missing:
            self._hold_for(task.partition, missing.getting)
        finally:
            self.applying = None
        await self.saver.send_outputs(task)

    async def _breathe(self) -> None:
        """Give the event loop a turn, and do the work that cannot wait until the batch is applied."""
        task, self.applying = self.applying, None  # the plugin is not running meanwhile
        await asyncio.sleep(0)
        if task is not None:
            await self.saver.send_outputs(task)
        await self.saver.save_if_due()
        if self._stopping or self._inbox.has_revocation:
            self._stop_applying(self.tasks)
        self.applying = task

    async def _rewind(self, task: PartitionTask) -> None:
        """Load the task again from its last checkpoint, to apply the records after it with undo."""
        self._source.hold(task.partition)
        task.drop()
        task.move(TaskStatus.ASSIGNED)
        await self.saver.finish()
        if task.status is TaskStatus.ASSIGNED:
            self._start_loading({task.partition: [task]})

    def _hold_until(self, partition: TopicPartition, at: float) -> None:
        """Hold one partition until `at`, on the event loop's clock in seconds. The other partitions go on."""
        self._source.hold(partition)
        self._inbox.post_at(at, Ready(partition))

    def _hold_for(self, partition: TopicPartition, getting: Awaitable[None]) -> None:
        """Hold one partition until a format has got what it needs. The other partitions go on."""
        self._source.hold(partition)

        async def get() -> None:
            await getting
            self._inbox.post(Ready(partition))

        loading = self._load(contained(get))
        if asyncio.iscoroutine(getting):  # a task that is cancelled at once never begins to await it
            loading.add_done_callback(lambda _: getting.close())

    async def _reload(self, partitions: Sequence[TopicPartition]) -> None:
        """Save and load the tasks again whose position the log no longer holds. The loader applies the policy.

        Tasks that are not running are left alone: a new assignment is loading them already.
        """
        for partition in partitions:
            tasks = [task for task in self.assignment.of(partition) if task.status is TaskStatus.RUNNING]
            self._source.hold(partition)
            await self._drain(tasks)
            drained = [task for task in tasks if task.status is TaskStatus.DRAINING]
            for task in drained:
                task.move(TaskStatus.RELEASED)
                task.move(TaskStatus.ASSIGNED)
            if drained:
                self._start_loading({partition: drained})

    # ---- the end

    async def _shut_down(self, *, in_order: bool) -> Exception | None:
        """Do all steps of the end, also if some of them fail. Returns the first error; None if there is none."""
        self._inbox.close()
        steps: list[Callable[[], Awaitable[None]]] = [self._cancel_loading]
        if in_order:
            steps.append(self._hand_over)
        steps += [self.saver.stop, self._leave, self._sink.stop, self.assignment.close]
        first = None
        for step in steps:
            try:
                await step()
            except BaseException as failure:
                if not is_plugin_failure(failure):
                    raise
                first = first or as_error(failure)
                log.error("error while the run ends: %s", describe(failure))
        return first

    async def _leave(self) -> None:
        self._inbox.release_all()
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._fetching
        try:
            async with asyncio.timeout(self._limits.leave_seconds):
                await self._source.stop()
        except TimeoutError:
            log.warning(
                "the group coordinator did not answer within %g s; it will notice at the session timeout that this "
                "worker has left",
                self._limits.leave_seconds,
            )


class _Fenced:
    """Expects a rebalance after another owner claimed a partition. If none comes in time, that is an error."""

    def __init__(self, clock: Callable[[], float], patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._since: tuple[float, FencedError] | None = None

    def expect_rebalance(self, error: FencedError) -> None:
        log.warning("%s", error)
        if self._since is None:
            self._since = (self._clock(), error)

    def clear(self) -> None:
        self._since = None

    def check(self) -> None:
        """Raises the `FencedError` if the rebalance has not come in time."""
        if self._since is not None and self._clock() > self._since[0] + self._patience:
            raise self._since[1]
