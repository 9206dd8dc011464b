"""The partition task: one processor over one partition, as plain code without I/O of its own."""

import enum
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from framework.codecs import Codec
from framework.errors import (
    CodecError,
    DeserializationError,
    InternalError,
    OffsetOutOfRangeError,
    OutputError,
    ProcessingError,
    RecordError,
    StateIncompatibleError,
)
from framework.formats import Format
from framework.output import Output, OutputRecord
from framework.processor import Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.stores import Checkpoint, Claim, Description, StoredUnit, Unit

__all__ = ["Breathe", "Definition", "LogRange", "OnError", "OnOutOfRange", "PartitionTask", "Rewind", "TaskStatus"]

log = logging.getLogger("framework")

OnError = Literal["stop", "skip"]
OnOutOfRange = Literal["stop", "rebuild", "continue"]
Breathe = Callable[[], Awaitable[None]]

_SLICE: Final = 0.02
"""Seconds of records in a row before the event loop gets a turn."""
_CLOCK_EVERY: Final = 64
"""Records between looks at the clock."""
_CAREFUL_RUN: Final = 10_000
"""Offsets without a failure after which a task dares to go fast again."""
_BASE_PIECE: Final = 20_000
"""Keys in a piece of a new base; about 10 ms to encode."""
_BASE_PIECES: Final = 4
"""Pieces that a checkpoint carries at the most."""
_BASE_FLOOR: Final = 1 << 20
"""Bytes of rows below which a new base is not worth it."""
_ROW_COST: Final = 128
"""Bytes that a row costs beyond its own: many small rows make a load slow, too."""


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


class Rewind(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A record failed half-way on the fast path: memory is void, go back to the last checkpoint."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What all tasks of one processor share."""

    name: str
    processor: type[Processor]
    options: Any
    codec: Codec
    key_format: Format
    value_format: Format
    on_error: OnError
    keeps_rows: bool
    """Whether the store wants changes, or the whole state each time."""
    on_record_failed: Callable[[str, TopicPartition, int, ProcessingError, bool], None]


class PartitionTask:
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
        self.unit = unit
        self.source = TopicPartition(unit.topic, unit.partition)
        self.definition = definition
        self.description = description
        self.status = TaskStatus.ASSIGNED
        self.epoch = 0
        self.last_offset = -1
        self.position: int | None = None
        self.stored_offset = -1
        self.stored_position: int | None = None
        self.applied = 0
        """Records applied since the task was made."""
        self.skipped = 0
        self._clock = clock
        self._state: State[Any, Any] | None = None
        self._careful_until = 0
        self._forget()

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

    def _forget(self) -> None:
        self._processor: Processor | None = None
        self._out = Output(self.unit.plugin, self.unit.topic, self.unit.partition)
        self._captured_position: int | None = None
        self._base_keys: Iterator[Any] | None = None
        self._base_bytes = 0
        self._row_bytes = 0
        self._rewrite = False

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
            and stored is not None
            and stored.epoch == self.epoch
            and stored.last_offset == self.stored_offset == self.last_offset
        )

    def loaded(self, claim: Claim, data: dict[Any, Any] | None) -> None:
        """Take over what was loaded, or go on with memory where `data` is None."""
        stored = claim.previous
        self.epoch = claim.epoch
        if data is None:
            return
        self.void()
        self._state = State(data)
        self._processor = self.definition.processor(self.definition.options, self.source)
        self.last_offset = self.stored_offset = stored.last_offset if stored else -1
        self.position = self._captured_position = self.stored_position = stored.position if stored else None
        if stored and stored.description:
            self._base_bytes, self._row_bytes = stored.base_bytes, stored.bytes - stored.base_bytes
            self._migrate(stored.description.state_version)

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
        self._rewrite = True

    def start_at(self, offset: int) -> None:
        """Begin a partition that has no position yet."""
        self.position = offset

    @property
    def is_new(self) -> bool:
        """Whether nothing tells yet where reading begins."""
        return self.position is None

    def check_range(self, log_range: LogRange) -> None:
        """Raises `OffsetOutOfRangeError` if the log cannot be read on from where the state is."""
        position = self._known_position
        if log_range.start <= position <= log_range.end:
            return
        where = f"{self.unit}: the stored state goes on at offset {position}, the log holds {log_range.start}"
        if position < log_range.start:
            raise OffsetOutOfRangeError(
                f"{where} to {log_range.end}: {log_range.start - position} offsets are gone (retention). "
                "Choose --on-out-of-range continue (keep the state, leave a gap) or rebuild (set it aside, start anew)"
            )
        raise OffsetOutOfRangeError(
            f"{where} to {log_range.end} only: the topic was re-created or truncated. "
            "Choose --on-out-of-range rebuild (set the state aside, start anew), or another --group"
        )

    def is_beyond(self, log_range: LogRange) -> bool:
        """Whether the state is ahead of the log, which then is not the log that it came from."""
        return self._known_position > log_range.end

    def skip_gap(self, log_range: LogRange) -> int:
        """Go on behind records that the log has lost; gives how many offsets that leaves out."""
        gap = log_range.start - self._known_position
        self.position = log_range.start
        return gap

    @property
    def _known_position(self) -> int:
        if self.position is None:
            raise InternalError(f"{self.unit} has no position yet")
        return self.position

    @property
    def _memory(self) -> State[Any, Any]:
        if self._state is None:
            raise InternalError(f"{self.unit} has no state in memory")
        return self._state

    # ---- applying

    async def apply(self, batch: Batch, breathe: Breathe) -> None:
        """Apply what this task does not have yet of a batch as it came from Kafka.

        Awaits nothing but the processor's own `async def process` and `breathe`, which gives the event loop a turn;
        ends early where the task is not running any more after that.

        Raises `Rewind` where a record failed on the fast path, `ProcessingError` where it failed for good.
        """
        position = self._known_position
        if batch.start > position:
            raise InternalError(f"{self.unit}: records {position} to {batch.start} never came")
        if batch.end <= position:
            return
        first = bisect_left(batch.offsets, position)
        batch, refused = self._deserialize(batch.slice(first, len(batch)) if first else batch)
        begin = 0
        for index, error in refused:
            await self._apply_run(batch.slice(begin, index), breathe)
            if self.status is not TaskStatus.RUNNING:
                return
            self._refuse(batch[index], error)
            begin = index + 1
        await self._apply_run(batch.slice(begin, len(batch)) if begin else batch, breathe)

    def _deserialize(self, batch: Batch) -> tuple[Batch, Sequence[tuple[int, DeserializationError]]]:
        keys, bad_keys = _read_column(batch.keys, self.definition.key_format)
        values, bad_values = _read_column(batch.values, self.definition.value_format)
        refused = {
            index: self._deserialization_error(batch, index, part, error)
            for part, bad in (("value", bad_values), ("key", bad_keys))
            for index, error in bad.items()
        }
        return batch.with_columns(keys, values), sorted(refused.items())

    def _deserialization_error(self, batch: Batch, index: int, part: str, error: Exception) -> DeserializationError:
        name = self.definition.key_format.name if part == "key" else self.definition.value_format.name
        return DeserializationError(
            f"{self.source} offset {batch.offsets[index]}: the {part} is not {name}: {error}; "
            f"set --{part}-format, or --on-error skip to go on without such records"
        )

    async def _apply_run(self, batch: Batch, breathe: Breathe) -> None:
        """Apply a run of deserialized records the fast way if that is safe, else one by one with undo."""
        if not len(batch):
            pass
        elif self._known_position < self._careful_until:
            await self._apply_carefully(batch, breathe)
        elif _overrides(self.definition.processor, "process_batch"):
            self._apply_batch(batch)
        else:
            await self._apply_records(batch, breathe)
        if self.status is TaskStatus.RUNNING:
            self.position = batch.end

    def _apply_batch(self, batch: Batch) -> None:
        self._out._begin_batch(batch.offsets)
        try:
            self._live_processor.process_batch(batch, self._memory, self._out)
        except Exception as error:
            self._rewind(batch.end, error)
        self.last_offset = batch.offsets[-1]
        self.applied += len(batch)

    async def _apply_records(self, batch: Batch, breathe: Breathe) -> None:
        process, state, out = self._live_processor.process, self._memory, self._out
        deadline, countdown = self._clock() + _SLICE, _CLOCK_EVERY
        for record in batch:
            out._begin_record(record.offset)
            try:
                result = process(record, state, out)
                if result is not None:
                    await result
            except Exception as error:
                self._rewind(batch.end, error)
            self.last_offset = record.offset
            self.applied += 1
            countdown -= 1
            if result is not None or not countdown:
                countdown = _CLOCK_EVERY
                if self._clock() > deadline:
                    self.position = record.offset + 1
                    await breathe()
                    if self.status is not TaskStatus.RUNNING:
                        return
                    deadline = self._clock() + _SLICE

    async def _apply_carefully(self, batch: Batch, breathe: Breathe) -> None:
        for index in range(len(batch)):
            record = batch[index]
            error = await self._try_one(record, batch.slice(index, index + 1))
            if error is None:
                self.last_offset = record.offset
                self.applied += 1
            else:
                self._careful_until = max(self._careful_until, record.offset + _CAREFUL_RUN)
                self._refuse(record, error)
            self.position = record.offset + 1
            if not index % _CLOCK_EVERY:
                await breathe()
                if self.status is not TaskStatus.RUNNING:
                    return

    async def _try_one(self, record: Record, batch: Batch) -> ProcessingError | None:
        """Apply one record wholly, or leave no trace of it."""
        processor, state, out = self._live_processor, self._memory, self._out
        mark = out._mark()
        state.begin_undo()
        try:
            if _overrides(type(processor), "process"):
                out._begin_record(record.offset)
                result = processor.process(record, state, out)
                if result is not None:
                    await result
            else:
                out._begin_batch(batch.offsets)
                processor.process_batch(batch, state, out)
        except Exception as error:
            state.undo()
            out._cut(mark)
            return self._record_error(record, error)
        state.end_undo()
        return None

    def _record_error(self, record: Record, error: Exception) -> ProcessingError:
        what = str(error) if isinstance(error, (RecordError, OutputError)) else repr(error)
        result = RecordError(
            f"plugin {self.unit.plugin} failed on {self.source} offset {record.offset}, key {record.key!r}: {what}; "
            "the state is saved up to the record before it"
        )
        result.__cause__ = error
        return result

    def _rewind(self, until: int, error: Exception) -> None:
        self._careful_until = until
        log.debug("%s: rewinding to the last checkpoint after %r", self.unit, error)
        raise Rewind from error

    def _refuse(self, record: Record, error: ProcessingError) -> None:
        """Do with a record that failed what the policy says."""
        skip = self.definition.on_error == "skip"
        self.definition.on_record_failed(self.unit.plugin, self.source, record.offset, error, skip)
        if not skip:
            raise error
        self.skipped += 1
        self.last_offset = record.offset
        self.position = record.offset + 1

    @property
    def _live_processor(self) -> Processor:
        if self._processor is None:
            raise InternalError(f"{self.unit} has no processor")
        return self._processor

    def take_outputs(self) -> list[OutputRecord]:
        """What the processor sent since the last call."""
        return self._out._take()

    # ---- checkpoints

    def capture(self) -> Checkpoint | None:
        """What changed since the last capture, encoded; None if nothing did.

        Each capture must be stored before the next one; if it is not, the memory must be voided.

        Raises `CodecError`, naming the key, for a value that the codec cannot hold.
        """
        state, position = self._memory, self._known_position
        if position == self._captured_position and not state.changed and not self._rewrite:
            return None
        checkpoint = Checkpoint(
            unit=self.unit,
            epoch=self.epoch,
            previous_offset=self.stored_offset,
            last_offset=self.last_offset,
            position=position,
            keys=len(state),
            description=self.description,
            changes=state.changed,
            row=None,
        )
        whole = self._rewrite or not self.definition.keeps_rows
        try:
            checkpoint = self._with_whole(checkpoint) if whole else self._with_changes(checkpoint)
        except CodecError:
            self.fail()
            raise
        self._captured_position = position
        return checkpoint

    def fail(self) -> None:
        """Void the memory for good; only a new assignment begins again."""
        self.void()
        self.move(TaskStatus.FAILED)

    def _with_whole(self, checkpoint: Checkpoint) -> Checkpoint:
        body = self._encode(self._memory.view())
        self._memory.take_changes()
        self._rewrite = False
        if not self.definition.keeps_rows:
            return replace(checkpoint, row=body)
        self._base_keys = None
        self._base_bytes, self._row_bytes = len(body), 0
        return replace(checkpoint, base=[body], base_begins=True, base_ends=True)

    def _with_changes(self, checkpoint: Checkpoint) -> Checkpoint:
        state = self._memory
        if state.changed:
            changed, gone = state.take_changes()
            checkpoint = replace(checkpoint, row=self._encode_changes(changed, gone))
        begins = self._base_keys is None and self._row_bytes > max(_BASE_FLOOR, self._base_bytes)
        if begins:
            self._base_keys = iter(list(state.view()))
            self._base_bytes = self._row_bytes = 0
        if checkpoint.row is not None:
            self._row_bytes += len(checkpoint.row) + _ROW_COST
        if self._base_keys is None:
            return checkpoint
        base, ends = self._next_base_pieces(self._base_keys)
        if ends:
            self._base_keys = None
        return replace(checkpoint, base=base, base_begins=begins, base_ends=ends)

    def _next_base_pieces(self, keys: Iterator[Any]) -> tuple[list[bytes], bool]:
        """Some more of the new base, as of now: rows saved since it began bring it up to date when it is loaded."""
        data, pieces = self._memory.view(), []
        for _ in range(_BASE_PIECES):
            chunk = list(islice(keys, _BASE_PIECE))
            if chunk:
                pieces.append(self._encode({key: data[key] for key in chunk if key in data}))
            if len(chunk) < _BASE_PIECE:
                break
        self._base_bytes += sum(map(len, pieces))
        return pieces, len(chunk) < _BASE_PIECE

    def _encode(self, data: Mapping[Any, Any]) -> bytes:
        try:
            return self.definition.codec.encode(data)
        except CodecError as error:
            raise self._codec_error(data, error) from error

    def _encode_changes(self, changed: dict[Any, Any], gone: list[Any]) -> bytes:
        try:
            return self.definition.codec.encode([changed, gone])
        except CodecError as error:
            raise self._codec_error(changed, error) from error

    def _codec_error(self, data: Mapping[Any, Any], error: CodecError) -> CodecError:
        """Name the key, which the codec's own error knows only as a place."""
        for key, value in data.items():
            try:
                self.definition.codec.encode({key: value})
            except CodecError as culprit:
                return CodecError(
                    f"plugin {self.unit.plugin} on {self.source}: codec {self.definition.codec.name} cannot hold the "
                    f"state of key {key!r} (value of type {type(value).__name__}): {culprit}; "
                    f"nothing of this checkpoint was written, the stored state ends at offset {self.stored_offset}"
                )
        return CodecError(f"plugin {self.unit.plugin} on {self.source}: {error}")

    def saved(self, checkpoint: Checkpoint) -> None:
        """The store has it."""
        self.stored_offset = checkpoint.last_offset
        self.stored_position = checkpoint.position

    @property
    def is_loaded(self) -> bool:
        """Whether the state is in memory."""
        return self._state is not None

    def view(self) -> Mapping[Any, Any]:
        """The state, to read."""
        return self._memory.view()


def _overrides(processor: type[Processor], method: str) -> bool:
    return getattr(processor, method) is not getattr(Processor, method)


def _read_column(column: Sequence[bytes | None], form: Format) -> tuple[Sequence[Any], dict[int, Exception]]:
    """The whole column at once; where that fails, one by one, with what is wrong by index."""
    try:
        return form.read_column(column), {}
    except ValueError:
        pass
    values: list[Any] = []
    bad: dict[int, Exception] = {}
    for index, data in enumerate(column):
        try:
            values.extend(form.read_column([data]))
        except ValueError as error:
            bad[index] = error
            values.append(None)
    return values, bad
