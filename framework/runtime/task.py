"""The partition task: the state machine of one unit. It does no I/O of its own."""

import asyncio
import enum
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from framework.borders import describe, is_plugin_failure, located
from framework.errors import (
    CodecError,
    FrameworkError,
    InternalError,
    OffsetOutOfRangeError,
    StateIncompatibleError,
    TallyError,
    TopicRecreatedError,
)
from framework.event_time import NO_EVENT_TIME
from framework.output import OutputRecord
from framework.processor import Processor
from framework.progress import Progress
from framework.records import Record, TopicPartition
from framework.runtime.anchor import checksum_of
from framework.runtime.applier import Applier, Host, Memory
from framework.runtime.capture import BaseBudget, Capture
from framework.runtime.counts import Counts
from framework.runtime.definition import Definition
from framework.runtime.expiry import Expiry, NotedTable
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.outbox import Outbox
from framework.runtime.ports import LogRange
from framework.runtime.slices import Caution
from framework.runtime.timers import UnitTimers
from framework.runtime.watermark import Watermark
from framework.stores import (
    EXPIRY_TABLE,
    ROW_FORMAT,
    STATE_TABLE,
    TIMERS_TABLE,
    Checkpoint,
    Claim,
    Description,
    StoredTable,
    StoredUnit,
    Unit,
)
from framework.table import Table

__all__ = ["PartitionTask", "TaskStatus"]


class TaskStatus(enum.Enum):
    """The status of a task. `PartitionTask` has the diagram of transitions."""

    ASSIGNED = "assigned"
    LOADING = "loading"
    SEEKING = "seeking"
    RUNNING = "running"
    DRAINING = "draining"
    RELEASED = "released"
    FAILED = "failed"


_TABLES: Final = (STATE_TABLE, TIMERS_TABLE, EXPIRY_TABLE)

_NEXT: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = {
    TaskStatus.ASSIGNED: frozenset({TaskStatus.LOADING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.LOADING: frozenset({TaskStatus.SEEKING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.SEEKING: frozenset({TaskStatus.RUNNING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.DRAINING, TaskStatus.ASSIGNED, TaskStatus.FAILED}),
    TaskStatus.DRAINING: frozenset({TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.RELEASED: frozenset({TaskStatus.ASSIGNED, TaskStatus.FAILED}),
    TaskStatus.FAILED: frozenset({TaskStatus.RELEASED, TaskStatus.FAILED}),
}


class PartitionTask:
    """One processor, its state and its progress over one partition.

    ::

        assigned ──▶ loading ──▶ seeking ──▶ running ──▶ draining ──▶ released
           ▲            │           │         │   │          │           │
           ├────────────┼───────────┼─ rewind ┘   │          │           │
           │            └───────────┴──▶ failed ◀─┴──────────┴───────────┤
           └─────────────────────── assigned again ──────────────────────┘

    A released task keeps its memory. If the partition comes back and the store still has this owner's epoch and
    version, the task continues without loading. `move` checks each transition.

    The memory is one object, the applier. It is only dropped as a whole. It counts as unsaved from the moment at which
    a checkpoint begins to take changes out of it until the store has answered "saved". Memory that is unsaved, or in
    which a record is half applied, is never captured, and is loaded anew at the next assignment.
    """

    def __init__(
        self,
        unit: Unit,
        definition: Definition,
        description: Description,
        *,
        clock: Callable[[], float],
        limits: Limits,
        lifecycle: Lifecycle,
    ) -> None:
        self.unit = unit
        self.definition = definition
        self.description = description
        self.status = TaskStatus.ASSIGNED
        self.epoch = 0
        self.version = 0
        """Version of the last stored checkpoint; 0 if there is none."""
        self.stored = Progress()
        """Progress of the last stored checkpoint."""
        self._stored_event_time: Mapping[TopicPartition, int] = {}
        self.applier: Applier | None = None
        """The memory; None if nothing is loaded."""
        self._stored_counts = self._captured_counts = Counts()
        self._unsaved = False
        self._captures: Mapping[str, Capture] = {}
        """By the name of the table."""
        self._host = Host(unit, definition, clock, limits, Caution(limits), lambda: self.status is TaskStatus.RUNNING)
        self._lifecycle = lifecycle

    @property
    def partition(self) -> TopicPartition:
        """The partition of the unit."""
        return self.unit.topic_partition

    def __repr__(self) -> str:
        return f"<PartitionTask {self.unit}: {self.status.value} at {self.position}>"

    def move(self, status: TaskStatus) -> None:
        """Change the status. Raises `InternalError` for a transition that is not in the diagram."""
        if status not in _NEXT[self.status]:
            raise InternalError(f"{self.unit}: a task cannot go from {self.status.value} to {status.value}")
        self.status = status

    # ---- memory

    @property
    def live(self) -> Applier:
        """The memory. Raises `InternalError` if nothing is loaded."""
        if self.applier is None:
            raise InternalError(f"{self.unit} has no state in memory")
        return self.applier

    @property
    def position(self) -> int | None:
        """Offset of the next record to read; None if not known."""
        return self.stored.position if self.applier is None else self.applier.position

    @property
    def is_waiting(self) -> bool:
        """Whether the task waits before it tries a failed record again."""
        return self.applier is not None and self.applier.failures.is_waiting

    @property
    def counts(self) -> Counts:
        """What this process has applied and left out."""
        if self.applier is None:
            return self._stored_counts
        failures = self.applier.failures
        return Counts(self.applier.applied, failures.skipped, failures.late, failures.timers)

    @property
    def can_be_stored(self) -> bool:
        """Whether no record is half applied, and all changes that were taken out of the memory are stored."""
        return self.applier is not None and self.applier.is_whole and not self._unsaved

    def view(self) -> Mapping[Any, Any]:
        """The state, for reading only."""
        return self.live.memory.table.view()

    @contextmanager
    def handing_over(self) -> Iterator[list[OutputRecord]]:
        """Take the outputs, which the block must send. If the block raises, the memory is not whole any more."""
        applier = self.live
        was_whole, applier.is_whole = applier.is_whole, False
        yield applier.memory.outbox.take()
        applier.is_whole = was_whole

    def drop(self) -> None:
        """Drop the memory. The stored state is not affected."""
        applier, self.applier, self._captures = self.applier, None, {}
        self._unsaved = False
        if applier is not None:
            self._lifecycle.retire(self.unit, applier.memory.processor)

    def fail(self) -> None:
        """Drop the memory, and stop until a new assignment."""
        self.drop()
        self.move(TaskStatus.FAILED)

    # ---- loading

    def accept(self, stored: StoredUnit | None) -> None:
        """Check that this task can continue from stored state. Raises `StateIncompatibleError` if not."""
        if stored is None or stored.description is None:
            return
        problem = _difference(stored.description, self.description, can_migrate=self._can_migrate())
        if TIMERS_TABLE in stored.tables and stored.tables[TIMERS_TABLE].keys and not self.can_fire:
            problem = problem or "has timers, but the plugin here has no on_timer; install the plugin that set them"
        if problem:
            raise StateIncompatibleError(f"stored state of {self.unit} {problem}")

    @property
    def can_fire(self) -> bool:
        """Whether the processor has `on_timer`."""
        return self.definition.processor.on_timer is not Processor.on_timer

    def _can_migrate(self) -> bool:
        return self.definition.processor.migrate.__func__ is not Processor.migrate.__func__  # type: ignore[attr-defined]

    def holds(self, claim: Claim) -> bool:
        """Whether the memory equals the stored state of the claim, so that nothing needs to be loaded."""
        stored = claim.previous
        return (
            self.can_be_stored
            and stored is not None
            and (stored.epoch, stored.version) == (self.epoch, self.version)
            and stored.own_progress.position == self.stored.position  # a unit set aside keeps its epoch and version
            and self.stored.last_offset == self.live.last_offset
        )

    def keep(self, claim: Claim) -> None:
        """Continue with the memory after a claim for which `holds` is true."""
        self.epoch = claim.epoch
        for name, capture in self._captures.items():
            _begin(capture, claim.previous, name)

    def load(
        self,
        claim: Claim,
        data: dict[Any, Any],
        timers: UnitTimers | None = None,
        expiry: Expiry | None = None,
    ) -> None:
        """Make new memory from what was stored at the claim, and migrate the state if needed.

        `data`: the state. `timers`: None for no timers. `expiry`: None for the times of no writes. The memory takes all
        of them over. Raises `PluginError` if the
        processor cannot be made, and `StateIncompatibleError` if it fails to migrate.
        """
        self.drop()
        stored = claim.previous
        progress = stored.own_progress if stored else Progress()
        self.epoch, self.version, self.stored = claim.epoch, stored.version if stored else 0, progress
        self._stored_event_time = stored.event_time if stored else {}
        counts = self._stored_counts
        memory = self._new_memory(stored, data, timers, expiry)
        self.applier = Applier(self._host, memory, progress, counts.applied)
        failures = self.applier.failures
        failures.skipped, failures.late, failures.timers = counts.failed, counts.late, counts.failed_timers
        self._captures = {name: self._new_capture(stored, name) for name in _TABLES}
        if stored and stored.description:
            self._migrate(stored.description.state_version)
        if memory.expiry is not None:
            memory.expiry.watch(memory.table)
        elif stored and EXPIRY_TABLE in stored.tables:  # an earlier version of the plugin had a time to live
            self._captures[EXPIRY_TABLE].rewrites = stored.tables[EXPIRY_TABLE].keys > 0

    def _new_memory(
        self, stored: StoredUnit | None, data: dict[Any, Any], timers: UnitTimers | None, expiry: Expiry | None
    ) -> Memory:
        timers = UnitTimers(can_fire=self.can_fire) if timers is None else timers
        timers.event_time = time = self._event_time(stored)
        if expiry is None:
            expiry = self.new_expiry(stored)
            if expiry is not None:
                expiry.adopt(iter(data), len(data))
        return Memory(
            self._lifecycle.make(self.unit, self.definition, timers, time),
            Table(data),
            timers,
            Watermark(self.definition.time.rule, time),
            Outbox(self.unit.plugin, self.partition, self.definition.formats.writers),
            expiry,
        )

    def new_expiry(self, stored: StoredUnit | None, data: dict[Any, int] | None = None) -> Expiry | None:
        """The expiry of a stored unit, with its stored table `data`; None if keys live for ever."""
        ttl = self.definition.time.ttl
        return None if ttl is None else Expiry(ttl, data, event_time=self._event_time(stored))

    def _event_time(self, stored: StoredUnit | None) -> int:
        return stored.event_time.get(self.partition, NO_EVENT_TIME) if stored else NO_EVENT_TIME

    def _new_capture(self, stored: StoredUnit | None, name: str) -> Capture:
        definition, host = self.definition, self._host
        capture = Capture(definition.codec, host.clock, host.limits, keeps_rows=definition.keeps_rows)
        _begin(capture, stored, name)
        return capture

    def _migrate(self, from_version: int) -> None:
        if from_version == self.description.state_version:
            return
        self.live.is_whole = False
        try:
            self.definition.processor.migrate(self.live.memory.table, from_version)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise StateIncompatibleError(
                f"plugin {self.unit.plugin} could not migrate the state of {self.unit} from state_version "
                f"{from_version} to {self.description.state_version}: {located(describe(error), error)}; the stored "
                "state is unchanged"
            ) from error
        self.live.is_whole = self._captures[STATE_TABLE].rewrites = True
        expiry = self.live.memory.expiry
        if expiry is not None:
            expiry.adopt(iter(self.view()), len(self.view()))

    async def open(self) -> None:
        """Open the processor after the state is loaded, unless it is open.

        Raises `PluginError` if that fails. The memory is dropped then, so that no half-open processor is used.
        """
        try:
            await self._lifecycle.open(self.unit, self.live.memory.processor)
        except BaseException:
            self.drop()
            raise

    # ---- positions

    def start_at(self, offset: int) -> None:
        """Set the position of a partition that has none yet."""
        self.live.progress = replace(self.live.progress, position=offset)

    def check_log(self, log_range: LogRange, record: Record | None) -> None:
        """Check that the state can continue with this log. `record` is the log's record at the last offset, if any.

        Raises `OffsetOutOfRangeError` if the log lost records before they were read, and `TopicRecreatedError` if the
        state was built from another log.
        """
        progress = self.live.progress
        position = _known(progress)
        problem = _other_log(progress, log_range, record)
        if problem:
            raise TopicRecreatedError(
                f"{self._beside(log_range)}: {problem}. Choose --on-out-of-range rebuild (set the state aside, start "
                "at the log's beginning), or another --group"
            )
        if position < log_range.start:
            raise OffsetOutOfRangeError(
                f"{self._beside(log_range)}: up to {log_range.start - position} records are gone (retention). "
                "Choose --on-out-of-range continue (keep the state and go on without them) or rebuild (set the state "
                "aside, start at the log's beginning), or another --group"
            )

    def _beside(self, log_range: LogRange) -> str:
        progress = self.live.progress
        ends = "has no records" if progress.last_offset < 0 else f"ends with offset {progress.last_offset}"
        return f"{self.unit}: the stored state {ends} and goes on at {progress.position}; the log holds {log_range}"

    def skip_gap(self, log_range: LogRange) -> int:
        """Move the position to the start of the log. Returns the offset of the first lost record."""
        progress = self.live.progress
        first = _known(progress)
        missing = progress.missing_offsets + log_range.start - first
        self.live.progress = replace(progress, position=log_range.start, missing_offsets=missing)
        return first

    def belongs_to(self, log_range: LogRange) -> None:
        """Remember the id of the log's topic with the state."""
        progress = self.live.progress
        anchor = replace(progress.anchor, topic_id=log_range.topic_id or progress.anchor.topic_id)
        self.live.progress = replace(progress, anchor=anchor)

    # ---- checkpoints

    async def capture(self, budget: BaseBudget | None = None) -> Checkpoint | None:
        """Returns a checkpoint with the changes since the last one; None if nothing changed.

        `budget` is shared by all checkpoints of one save. No record may be applied meanwhile.

        Raises `InternalError` if `can_be_stored` is false or outputs are not sent. Raises `CodecError`, with the key,
        for a value that the codec cannot encode, and `TallyError` for a tallied value that is not a number; the task
        has failed then.
        """
        applier = self.live
        if not self.can_be_stored:
            raise InternalError(f"{self.unit}: the memory cannot be stored now")
        memory, progress = applier.memory, applier.progress
        memory.timers.store_counters()
        tables = self._tables(memory)
        event_time = {} if memory.watermark.time == NO_EVENT_TIME else {self.partition: memory.watermark.time}
        is_same = not any(self._has_changed(name, table) for name, table in tables.items())
        if progress.position == self.stored.position and is_same and event_time == self._stored_event_time:
            return None
        if len(memory.outbox):
            raise InternalError(f"{self.unit}: a checkpoint was begun before all outputs were sent")
        self._unsaved = True  # until the store has answered "saved", also if the next lines raise
        self._captured_counts = self.counts
        budget = budget or BaseBudget(self._host.limits.base_keys)
        changes = {}
        try:
            while memory.expiry is not None and memory.expiry.state.note(self._host.limits.noted_at_once):  # noqa: ASYNC110 - work
                await asyncio.sleep(0)
            for name, table in tables.items():
                if name == STATE_TABLE or self._has_changed(name, table):
                    changes[name] = await self._captures[name].take(table, budget)
        except (CodecError, TallyError) as error:
            self.fail()
            raise type(error)(self._not_stored(error, progress)) from error
        return Checkpoint(
            unit=self.unit,
            epoch=self.epoch,
            version=self.version + 1,
            progress={self.partition: progress},
            description=self.description,
            tables=changes,
            event_time=event_time,
        )

    def _tables(self, memory: Memory) -> dict[str, Table[Any, Any] | NotedTable]:
        tables: dict[str, Table[Any, Any] | NotedTable] = {TIMERS_TABLE: memory.timers.table}
        if memory.expiry is None:
            return {STATE_TABLE: memory.table, **tables, EXPIRY_TABLE: Table()}
        return {STATE_TABLE: memory.expiry.state, **tables, EXPIRY_TABLE: memory.expiry.table}

    def _has_changed(self, name: str, table: Table[Any, Any] | NotedTable) -> bool:
        return table.is_changed or self._captures[name].rewrites

    def _not_stored(self, error: FrameworkError, progress: Progress) -> str:
        return (
            f"plugin {self.unit.plugin} on {self.partition}: {error}; the checkpoint of offsets "
            f"{self.stored.last_offset + 1} to {progress.last_offset} was not written. The stored state ends at offset "
            f"{self.stored.last_offset}"
        )

    def saved(self, checkpoint: Checkpoint) -> None:
        """The store has saved this checkpoint."""
        self.version = checkpoint.version
        self.stored, self._stored_event_time = checkpoint.own_progress, checkpoint.event_time
        self._stored_counts = self._captured_counts
        self._unsaved = False


def _difference(old: Description, new: Description, *, can_migrate: bool) -> str | None:
    """Why the plugin cannot continue from stored state, and what to do; None if it can."""
    if old.row_format > ROW_FORMAT:
        return f"has row format {old.row_format}, this framework reads {ROW_FORMAT}; use the framework that wrote it"
    if old.codec != new.codec:
        return f"was written with codec {old.codec}, this run uses {new.codec}; run with --codec {old.codec}"
    if old.state_version > new.state_version:
        return (
            f"has state_version {old.state_version}, the plugin here is older ({new.state_version}); "
            "install the newer plugin"
        )
    if old.state_version < new.state_version and not can_migrate:
        return (
            f"has state_version {old.state_version}, the plugin has {new.state_version} and no migrate(); "
            "install the older plugin, or start a new --group"
        )
    if old.state_definition and new.state_definition and old.state_definition != new.state_definition:
        return (
            f"was built with {old.state_definition}, but the plugin here has {new.state_definition}; "
            "run with the earlier options, or start a new --group"
        )
    if old.partitions != new.partitions:
        return (
            f"was built over {old.partitions} partitions, the topic has {new.partitions} now, so keys have moved; "
            "start a new --group to build it again from the log"
        )
    if old.cluster_id and new.cluster_id and old.cluster_id != new.cluster_id:
        return (
            f"belongs to Kafka cluster {old.cluster_id}, this is {new.cluster_id}; "
            "name the right brokers, another --group or another --state-dir"
        )
    return None


def _other_log(progress: Progress, log_range: LogRange, record: Record | None) -> str | None:
    """Why the state was built from another log than this one; None if nothing indicates that."""
    old, new = progress.anchor, log_range.topic_id
    if old.topic_id and new and old.topic_id != new:
        return f"the topic was re-created (its id was {old.topic_id}, now it is {new})"
    if _known(progress) > log_range.end:
        return "the topic was re-created, or its log truncated"
    if record is None or record.offset != progress.last_offset:  # it may belong to a state that was set aside
        return None
    if (record.timestamp, checksum_of(record)) != (old.timestamp, old.checksum):
        return (
            f"the record at offset {record.offset} is not the one that the state ends with, so the topic was "
            "re-created, or its log truncated"
        )
    return None


def _known(progress: Progress) -> int:
    if progress.position is None:
        raise InternalError("a position was needed before it was known")
    return progress.position


def _begin(capture: Capture, stored: StoredUnit | None, name: str) -> None:
    """Tell the capture the sizes of the stored table after a claim."""
    table = stored.tables.get(name) if stored else None
    table = table or StoredTable(0, 0, 0)
    capture.begin(table.base_bytes, table.bytes - table.base_bytes)
