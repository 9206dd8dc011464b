"""The partition task: one processor over one partition, as plain code without I/O of its own."""

import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

from framework.errors import (
    CodecError,
    InternalError,
    OffsetOutOfRangeError,
    StateIncompatibleError,
    TallyError,
    TopicRecreatedError,
)
from framework.processor import Processor
from framework.records import Record
from framework.runtime.anchor import checksum_of
from framework.runtime.applier import Applier, Definition
from framework.runtime.capture import BaseBudget, Capture
from framework.state import State
from framework.stores import Anchor, Checkpoint, Claim, Description, StoredUnit, Unit

__all__ = ["LogRange", "OnOutOfRange", "PartitionTask", "TaskStatus"]

log = logging.getLogger("framework")

OnOutOfRange = Literal["stop", "rebuild", "continue"]


class TaskStatus(enum.Enum):
    """Where a task is in its life; see `PartitionTask`."""

    ASSIGNED = "assigned"
    LOADING = "loading"
    SEEKING = "seeking"
    RUNNING = "running"
    DRAINING = "draining"
    RELEASED = "released"
    FAILED = "failed"


_NEXT: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = {
    TaskStatus.ASSIGNED: frozenset({TaskStatus.LOADING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.LOADING: frozenset({TaskStatus.SEEKING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.SEEKING: frozenset({TaskStatus.RUNNING, TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.DRAINING, TaskStatus.ASSIGNED, TaskStatus.FAILED}),
    TaskStatus.DRAINING: frozenset({TaskStatus.RELEASED, TaskStatus.FAILED}),
    TaskStatus.RELEASED: frozenset({TaskStatus.ASSIGNED}),
    TaskStatus.FAILED: frozenset({TaskStatus.RELEASED}),
}


class LogRange(NamedTuple):
    """The offsets that a partition's log holds: `start` up to, not including, `end`."""

    start: int
    end: int
    topic_id: str | None = None
    """None where the broker does not tell."""

    def __str__(self) -> str:
        if self.start == self.end:
            return f"no records, and goes on at offset {self.end}"
        return f"offsets {self.start} to {self.end - 1}"


class PartitionTask(Applier):
    """One processor, its state and its offsets over one partition.

    ::

        assigned ──▶ loading ──▶ seeking ──▶ running ──▶ draining ──▶ released
           ▲            │           │         │   │          │           │
           ├────────────┼───────────┼─ rewind ┘   │          │           │
           │            └───────────┴──▶ failed ◀─┴──────────┘           │
           └─────────────────────── assigned again ──────────────────────┘

    A released task keeps its memory: when the partition comes back, and the store still has this owner's epoch and
    offset, it goes on without loading. A rewind voids the memory. All transitions are checked.
    """

    def __init__(self, unit: Unit, definition: Definition, description: Description, clock: Callable[[], float]):
        self.description = description
        self.status = TaskStatus.ASSIGNED
        self.epoch = 0
        self.stored_offset = -1
        self.stored_position: int | None = None
        self.missing_offsets = 0
        """Offsets that the log had lost before they were read."""
        self._counts = self._stored_counts = (0, 0)
        super().__init__(unit, definition, clock)

    def __repr__(self) -> str:
        return f"<PartitionTask {self.unit}: {self.status.value} at {self.position}>"

    def move(self, status: TaskStatus) -> None:
        """Go to another status. Raises `InternalError` for a step that is not in the diagram."""
        if status not in _NEXT[self.status]:
            raise InternalError(f"{self.unit}: no way from {self.status.value} to {status.value}")
        self.status = status

    def void(self) -> None:
        """Drop the memory: what the store has is the truth."""
        self._state = None
        self._forget()

    def free(self, most: int) -> int:
        """Give back the memory of that many keys, after the task has ended; gives how many are left."""
        return 0 if self._state is None else self._state.free(most)

    def _forget(self) -> None:
        super()._forget()
        self._captured_position: int | None = None
        self._unsaved = False
        self._capture = Capture(self.definition.codec, self._clock, keeps_rows=self.definition.keeps_rows)

    @property
    def is_running(self) -> bool:
        return self.status is TaskStatus.RUNNING

    # ---- loading

    def accept(self, stored: StoredUnit) -> None:
        """Refuse stored state that this task could not go on with. Raises `StateIncompatibleError`."""
        old, new = stored.description, self.description
        if old is None:
            return
        problem = None
        if old.codec != new.codec:
            problem = f"was written with codec {old.codec}, this run uses {new.codec}; run with --codec {old.codec}"
        elif old.state_version > new.state_version:
            problem = (
                f"has state_version {old.state_version}, the plugin here is older ({new.state_version}); "
                "install the newer plugin"
            )
        elif old.state_version < new.state_version and not self._can_migrate():
            problem = (
                f"has state_version {old.state_version}, the plugin has {new.state_version} and no migrate(); "
                "install the older plugin, or start a new --group"
            )
        elif old.partitions != new.partitions:
            problem = (
                f"was built over {old.partitions} partitions, the topic has {new.partitions} now, so keys have moved; "
                "start a new --group to build it again from the log"
            )
        elif old.cluster_id and new.cluster_id and old.cluster_id != new.cluster_id:
            problem = (
                f"belongs to Kafka cluster {old.cluster_id}, this is {new.cluster_id}; "
                "name the right brokers, another --group or another --state-dir"
            )
        if problem:
            raise StateIncompatibleError(f"stored state of {self.unit} {problem}")

    def _can_migrate(self) -> bool:
        return self.definition.processor.migrate.__func__ is not Processor.migrate.__func__  # type: ignore[attr-defined]

    def holds(self, claim: Claim) -> bool:
        """Whether memory is what the claim found stored, so that nothing needs loading."""
        stored = claim.previous
        return (
            self._state is not None
            and not self._unsaved
            and stored is not None
            and stored.epoch == self.epoch
            and stored.last_offset == self.stored_offset == self.last_offset
        )

    def loaded(self, claim: Claim, data: dict[Any, Any] | None) -> None:
        """Take over what was loaded, or go on with memory where `data` is None."""
        stored = claim.previous
        self.epoch = claim.epoch
        if data is None:
            self._begin_base_anew(stored)
            return
        self.void()
        self._state = State(data)
        self._processor = self.definition.processor(self.definition.options, self.source)
        self.last_offset = self.stored_offset = stored.last_offset if stored else -1
        self.position = self._captured_position = self.stored_position = stored.position if stored else None
        self.applied, self.skipped = self._counts = self._stored_counts
        self.missing_offsets = stored.missing_offsets if stored else 0
        self._anchor = stored.anchor if stored else Anchor()
        if stored and stored.description:
            self._begin_base_anew(stored)
            self._migrate(stored.description.state_version)

    def _begin_base_anew(self, stored: StoredUnit | None) -> None:
        """A claim voids a base that is not finished."""
        if stored:
            self._capture.begin(stored.base_bytes, stored.bytes - stored.base_bytes)

    def _migrate(self, from_version: int) -> None:
        if from_version == self.description.state_version:
            return
        try:
            self.definition.processor.migrate(self._memory, from_version)
        except Exception as error:
            raise StateIncompatibleError(
                f"plugin {self.unit.plugin} could not migrate the state of {self.unit} from state_version "
                f"{from_version} to {self.description.state_version}: {error!r}; what is stored is unchanged"
            ) from error
        self._capture.rewrites = True

    def start_at(self, offset: int) -> None:
        """Begin a partition that has no position yet."""
        self.position = offset

    @property
    def is_new(self) -> bool:
        """Whether nothing tells yet where reading begins."""
        return self.position is None

    def check_log(self, log_range: LogRange, record: Record | None) -> None:
        """Make sure that the state can go on with this log; `record` is its one at the last offset, None if it is gone.

        Raises `OffsetOutOfRangeError` where the log lost records before they were read, and `TopicRecreatedError`
        where it is not the log that the state was built from.
        """
        position = self._known_position
        problem = self._difference(log_range, record)
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

    def _difference(self, log_range: LogRange, record: Record | None) -> str | None:
        """What tells that this is another log."""
        old, new = self._anchor, log_range.topic_id
        if old.topic_id and new and old.topic_id != new:
            return f"the topic was re-created (its id was {old.topic_id}, now it is {new})"
        if self._known_position > log_range.end:
            return "the topic was re-created, or its log truncated"
        if record is not None and (record.timestamp, checksum_of(record)) != (old.timestamp, old.checksum):
            return (
                f"the record at offset {record.offset} is not the one that the state ends with, so the topic was "
                "re-created, or its log truncated"
            )
        return None

    def _beside(self, log_range: LogRange) -> str:
        ends = "has no records" if self.last_offset < 0 else f"ends with offset {self.last_offset}"
        return f"{self.unit}: the stored state {ends} and goes on at {self.position}; the log holds {log_range}"

    def skip_gap(self, log_range: LogRange) -> int:
        """Go on behind records that the log has lost; gives the first of their offsets."""
        first = self._known_position
        self.missing_offsets += log_range.start - first
        self.position = log_range.start
        return first

    def belongs_to(self, log_range: LogRange) -> None:
        """The state goes on with this log."""
        self._anchor = replace(self._anchor, topic_id=log_range.topic_id or self._anchor.topic_id)

    # ---- checkpoints

    async def capture(self, budget: BaseBudget | None = None) -> Checkpoint | None:
        """What changed since the last capture, encoded; None if nothing did.

        `budget`: what the save that it is for may spend on new bases.

        Nothing may be applied meanwhile. Each capture must be stored before the next one; if it is not, the memory must
        be voided.

        Raises `CodecError`, naming the key, for a value that the codec cannot hold, and `TallyError` for one that was
        tallied but is no number.
        """
        state, position = self._memory, self._known_position
        if position == self._captured_position and not state.is_changed and not self._capture.rewrites:
            return None
        checkpoint = Checkpoint(
            unit=self.unit,
            epoch=self.epoch,
            previous_offset=self.stored_offset,
            last_offset=self.last_offset,
            position=position,
            keys=0,  # not known before what was tallied is settled, bit by bit
            description=self.description,
            anchor=self._newest_anchor(),
            missing_offsets=self.missing_offsets,
        )
        self._unsaved = True  # from now on, also if this is cancelled half-way
        try:
            checkpoint = await self._capture.fill(checkpoint, state, budget or BaseBudget())
        except (CodecError, TallyError) as error:
            self.fail()
            raise type(error)(
                f"plugin {self.unit.plugin} on {self.source}: {error}; nothing of this checkpoint was written, the "
                f"stored state ends at offset {self.stored_offset}"
            ) from error
        self._captured_position = position
        self._counts = (self.applied, self.skipped)
        return checkpoint

    def fail(self) -> None:
        """Void the memory for good; only a new assignment begins again."""
        self.void()
        self.move(TaskStatus.FAILED)

    def saved(self, checkpoint: Checkpoint) -> None:
        """The store has it."""
        self._unsaved = False
        self.stored_offset = checkpoint.last_offset
        self.stored_position = checkpoint.position
        self._stored_counts = self._counts

    @property
    def is_loaded(self) -> bool:
        """Whether the state is in memory."""
        return self._state is not None

    def view(self) -> Mapping[Any, Any]:
        """The state, to read."""
        return self._memory.view()
