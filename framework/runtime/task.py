"""The partition task: one processor over one partition, as plain code without I/O of its own."""

import enum
import logging
import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, NamedTuple, NoReturn

from framework.codecs import Codec
from framework.dead_letters import to_dead_letter
from framework.errors import (
    CodecError,
    DeserializationError,
    InternalError,
    OffsetOutOfRangeError,
    OutputError,
    ProcessingError,
    RecordError,
    StateIncompatibleError,
    TopicRecreatedError,
)
from framework.formats import Format
from framework.output import Output, OutputRecord
from framework.processor import Processor
from framework.records import Batch, Record, TopicPartition
from framework.runtime.anchor import checksum_of
from framework.runtime.capture import BaseBudget, Capture
from framework.runtime.policy import ErrorPolicy
from framework.state import State
from framework.stores import Anchor, Checkpoint, Claim, Description, StoredUnit, Unit

__all__ = ["Breathe", "Definition", "LogRange", "OnOutOfRange", "PartitionTask", "Retry", "Rewind", "TaskStatus"]

log = logging.getLogger("framework")

Breathe = Callable[[], Awaitable[None]]
"""Gives the event loop a turn, and what cannot wait its due."""

OnOutOfRange = Literal["stop", "rebuild", "continue"]

_SLICE: Final = 0.02
"""Seconds of records in a row before the event loop gets a turn."""
_PIECE: Final = 2048
"""Records that are deserialized, and given to `process_batch`, at once."""
_CLOCK_EVERY: Final = 64
"""Records between looks at the clock."""
_CAREFUL_RUN: Final = 10_000
"""Offsets without a failure after which a task dares to go fast again; twice as many after each rewind."""
_CAREFUL_SLICE: Final = 32
"""Records that are given to `process` with undo, before what was changed counts as kept."""
_FIRST_CAREFUL_SLICE: Final = 32
"""Records that are given to `process_batch` with undo, until it is known how often they fail."""


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


class Rewind(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A record failed half-way on the fast path: memory is void, go back to the last checkpoint."""


class Retry(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A record failed and left no trace; read on from the task's position at the time `at` of the task's clock."""

    def __init__(self, at: float) -> None:
        super().__init__(at)
        self.at = at


@dataclass(frozen=True, slots=True)
class Definition:
    """What all tasks of one processor share."""

    name: str
    processor: type[Processor]
    options: Any
    codec: Codec
    key_format: Format
    value_format: Format
    on_error: ErrorPolicy
    keeps_rows: bool
    """Whether the store wants changes, or the whole state each time."""
    on_records_failed: Callable[[str, TopicPartition, Mapping[int, ProcessingError]], None]
    """Called at most once a batch, with what failed for good by its offset."""


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
        """Records that were not applied, because they failed for good."""
        self.missing_offsets = 0
        """Offsets that the log had lost before they were read."""
        self._counts = self._stored_counts = (0, 0)
        self._clock = clock
        self._state: State[Any, Any] | None = None
        self._careful_until = 0
        self._careful_run = _CAREFUL_RUN
        self._careful_slice = _FIRST_CAREFUL_SLICE
        self._good_run = 0
        self._failures: dict[int, ProcessingError] = {}
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

    def free(self, most: int) -> int:
        """Give back the memory of that many keys, after the task has ended; gives how many are left."""
        return 0 if self._state is None else self._state.free(most)

    def _forget(self) -> None:
        self._processor: Processor | None = None
        self._out = Output(self.unit.plugin, self.unit.topic, self.unit.partition)
        self._anchor = Anchor()
        self._raw: Batch | None = None
        self._captured_position: int | None = None
        self._unsaved = False
        self._capture = Capture(self.definition.codec, self._clock, keeps_rows=self.definition.keeps_rows)
        self._failing_offset = -1
        self._failed_tries = 0
        self._retry_at = -math.inf

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

        Raises `Rewind` where a record failed on the fast path, `Retry` where it is to be tried again later, and
        `ProcessingError` where it failed for good and the policy is to stop.
        """
        position = self._known_position
        if batch.start > position:
            raise InternalError(f"{self.unit}: records {position} to {batch.start} never came")
        if batch.end <= position:
            return
        if self.is_waiting:
            raise Retry(self._retry_at)
        first = bisect_left(batch.offsets, position)
        self._raw = batch.slice(first, len(batch)) if first else batch
        try:
            await self._apply_pieces(self._raw, breathe)
        finally:
            self._anchor, self._raw = self._newest_anchor(), None
            self._report_failures()

    async def _apply_pieces(self, raw: Batch, breathe: Breathe) -> None:
        deadline = self._clock() + _SLICE
        for first in range(0, max(1, len(raw)), _PIECE):
            if first and self._clock() > deadline:
                await breathe()
                if self.status is not TaskStatus.RUNNING:
                    return
                deadline = self._clock() + _SLICE
            piece = raw.slice(first, min(first + _PIECE, len(raw))) if len(raw) > _PIECE else raw
            await self._apply_piece(piece, breathe)
            if self.status is not TaskStatus.RUNNING:
                return

    async def _apply_piece(self, raw: Batch, breathe: Breathe) -> None:
        batch, refused = self._deserialize(raw)
        begin = 0
        for index, error in refused:
            await self._apply_run(batch.slice(begin, index), raw, breathe)
            if self.status is not TaskStatus.RUNNING:
                return
            self._refuse(raw, batch.offsets[index], error, error)
            begin = index + 1
        await self._apply_run(batch.slice(begin, len(batch)) if begin else batch, raw, breathe)

    def _deserialize(self, raw: Batch) -> tuple[Batch, Sequence[tuple[int, DeserializationError]]]:
        columns: dict[str, Sequence[Any]] = {}
        refused: dict[int, DeserializationError] = {}
        for part, name, form in (
            ("value", "values", self.definition.value_format),
            ("key", "keys", self.definition.key_format),
        ):
            if form.reads_anything:
                continue
            columns[name], bad = _read_part(raw, name, form)
            refused |= {index: self._deserialization_error(raw, index, part, error) for index, error in bad.items()}
        return raw.with_columns(**columns), sorted(refused.items())

    def _deserialization_error(self, raw: Batch, index: int, part: str, error: Exception) -> DeserializationError:
        name = self.definition.key_format.name if part == "key" else self.definition.value_format.name
        text = f"{self.source} offset {raw.offsets[index]}: the {part} is not {name}: {error}"
        if self.definition.on_error.on_error == "stop":
            text += f"; set --{part}-format, or --on-error to go on without such records"
        return DeserializationError(text)

    async def _apply_run(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        """Apply a run of deserialized records the fast way if that is safe, else with undo; `raw` has them as bytes."""
        by_batch, by_record = (_overrides(self.definition.processor, name) for name in ("process_batch", "process"))
        if not len(batch):
            pass
        elif self._known_position >= self._careful_until:
            if by_batch:
                self._apply_batch(batch, raw)
            else:
                await self._apply_records(batch, breathe)
        elif not by_batch:
            await self._apply_records_carefully(batch, raw, breathe)
        elif by_record:
            await self._apply_slices_carefully(batch, raw, breathe)
        else:
            await self._apply_halves_carefully(batch, raw, breathe)
        if self.status is TaskStatus.RUNNING:
            self.position = batch.end

    def _apply_batch(self, batch: Batch, raw: Batch) -> None:
        self._out._begin_batch(batch.offsets)
        try:
            self._live_processor.process_batch(batch, self._memory, self._out)
        except Exception as error:
            self._rewind(batch.end, error)
        refusal = self._skip_refused(batch, raw)
        if refusal is not None:
            self._rewind(batch.end, refusal)
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

    # ---- applying with undo, where records fail

    async def _apply_records_carefully(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        size = 1 if iscoroutinefunction(self.definition.processor.process) else _CAREFUL_SLICE
        deadline = self._clock() + _SLICE
        records = list(batch)
        begin = 0
        while begin < len(records):
            begin = await self._apply_until_failure(records[begin : begin + size], begin, batch, raw)
            if self._clock() > deadline:
                await breathe()
                if self.status is not TaskStatus.RUNNING:
                    return
                deadline = self._clock() + _SLICE

    async def _apply_until_failure(self, records: Sequence[Record], begin: int, batch: Batch, raw: Batch) -> int:
        """Apply records one by one up to one that fails, which is dealt with; gives the position behind them.

        They are those of the batch from position `begin` on.
        """
        good, error = await self._try_records(records)
        end = begin + good
        if error is not None and good:
            await self._apply_again(batch.slice(begin, end), raw)
        if good:
            self.last_offset, self.position = batch.offsets[end - 1], batch.offsets[end - 1] + 1
            self.applied += good
            self._good_run += good
        if error is None:
            return end
        self._fit_slices()
        self._fail(raw, batch.offsets[end], batch.keys[end], error)
        return end + 1

    async def _try_records(self, records: Sequence[Record]) -> tuple[int, Exception | None]:
        """Apply all of these, or leave no trace; gives how many come before one that fails."""
        process, state, out = self._live_processor.process, self._memory, self._out
        mark = out._mark()
        state.begin_undo()
        for position, record in enumerate(records):
            out._begin_record(record.offset)
            try:
                result = process(record, state, out)
                if result is not None:
                    await result
            except Exception as error:
                return position, self._undo(mark, error)
        state.end_undo()
        return len(records), None

    async def _apply_again(self, piece: Batch, raw: Batch) -> None:
        """Apply records that could be applied just now. Raises `Rewind` where that depends on the time of the day."""
        _, error = await self._try_records(list(self._read_again(piece, len(piece), raw)))
        if error is not None:
            self._rewind(piece.end, error)

    async def _apply_slices_carefully(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        """Apply slice by slice; in one that fails, `process` tells which record it is."""
        deadline = self._clock() + _SLICE
        begin = touched = 0
        if batch.offsets[0] == self._failing_offset:
            begin = await self._apply_until_failure([batch[0]], 0, batch, raw)
        while begin < len(batch):
            end = min(begin + self._careful_slice, len(batch))
            piece = self._read_again(batch.slice(begin, end), min(end, touched) - begin, raw)
            if self._try(piece, raw) is None:
                self._keep(piece)
                begin = end
            else:
                touched = max(touched, end)
                records = list(self._read_again(piece, end - begin, raw))
                begin = await self._apply_until_failure(records, begin, batch, raw)
            if self._clock() > deadline:
                await breathe()
                if self.status is not TaskStatus.RUNNING:
                    return
                deadline = self._clock() + _SLICE

    async def _apply_halves_carefully(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        """Apply slice by slice; one that fails is halved until a record that fails stands alone."""
        deadline = self._clock() + _SLICE
        begin = touched = 0
        suspects = 1 if batch.offsets[0] == self._failing_offset else 0
        while begin < len(batch):
            size = max(1, (suspects - begin) // 2) if begin < suspects else self._careful_slice
            end = min(begin + size, len(batch))
            piece = self._read_again(batch.slice(begin, end), min(end, touched) - begin, raw)
            error = self._try(piece, raw)
            if error is None:
                self._keep(piece)
                begin = end
            elif end - begin == 1:
                self._fit_slices()
                self._fail(raw, piece.offsets[0], piece.keys[0], error)
                begin = suspects = end
            else:
                suspects, touched = end, max(touched, end)
            if self._clock() > deadline:
                await breathe()
                if self.status is not TaskStatus.RUNNING:
                    return
                deadline = self._clock() + _SLICE

    def _keep(self, piece: Batch) -> None:
        """A slice was applied wholly."""
        self.last_offset, self.position = piece.offsets[-1], piece.end
        self.applied += len(piece)
        self._good_run += len(piece)
        self._careful_slice = max(self._careful_slice, self._good_run // 3)

    def _fit_slices(self) -> None:
        """After a record that failed: slices are to be a third as long as the way from one such record to the next."""
        self._careful_slice = max(1, (self._careful_slice + self._good_run // 3) // 2)
        self._good_run = 0

    def _read_again(self, piece: Batch, count: int, raw: Batch) -> Batch:
        """Deserialize its first records anew: a try that failed may have changed their keys and values in place."""
        formats = (("keys", self.definition.key_format), ("values", self.definition.value_format))
        mutable = [(name, form) for name, form in formats if form.mutable]
        if not mutable or count <= 0:
            return piece
        first = bisect_left(raw.offsets, piece.offsets[0])
        columns = {
            name: [*form.read_column(getattr(raw, name)[first : first + count]), *getattr(piece, name)[count:]]
            for name, form in mutable
        }
        return piece.with_columns(**columns)

    def _try(self, piece: Batch, raw: Batch) -> Exception | None:
        """Apply some records wholly, or leave no trace of them."""
        mark = self._out._mark()
        self._memory.begin_undo()
        self._out._begin_batch(piece.offsets)
        try:
            self._live_processor.process_batch(piece, self._memory, self._out)
        except Exception as error:
            return self._undo(mark, error)
        refusal = self._skip_refused(piece, raw)
        if refusal is not None:
            return self._undo(mark, refusal)
        self._memory.end_undo()
        return None

    def _undo(self, mark: int, error: Exception) -> Exception:
        self._memory.undo()
        self._out._cut(mark)
        return error

    def _rewind(self, until: int, error: Exception) -> NoReturn:
        """Go back, and then stay careful for long: each rewind loads the whole state."""
        self._careful_until = until + self._careful_run
        self._careful_run *= 2
        log.debug("%s: rewinding to the last checkpoint after %r", self.unit, error)
        raise Rewind from error

    # ---- what becomes of a record that failed

    @property
    def is_waiting(self) -> bool:
        """Whether it is not yet time to try a record again."""
        return self._clock() < self._retry_at

    def _fail(self, raw: Batch, offset: int, key: Any, error: Exception) -> None:
        """Have a record tried again later, or do with it what the policy says."""
        self.position = offset
        self._careful_until = max(self._careful_until, offset + self._careful_run)
        self._failed_tries = self._failed_tries + 1 if offset == self._failing_offset else 1
        self._failing_offset = offset
        wait = self.definition.on_error.wait_after(self._failed_tries)
        if wait is not None:
            self._retry_at = self._clock() + wait
            place = f"{self.unit.plugin} on {self.source} offset {offset}"
            log.warning("%s: try %d failed, the next is in %g s: %r", place, self._failed_tries, wait, error)
            raise Retry(self._retry_at) from error
        self._refuse(raw, offset, self._record_error(offset, key, error), error)

    def _record_error(self, offset: int, key: Any, error: Exception) -> RecordError:
        what = str(error) if isinstance(error, (RecordError, OutputError)) else repr(error)
        text = f"plugin {self.unit.plugin} failed on {self.source} offset {offset}, key {key!r}: {what}"
        if self.definition.on_error.on_error == "stop":
            text += "; the state is saved up to the record before it"
        result = RecordError(text)
        result.__cause__ = error
        return result

    def _refuse(self, raw: Batch, offset: int, error: ProcessingError, cause: Exception) -> None:
        """Do with a record that failed for good what the policy says."""
        self._failures[offset] = error
        policy = self.definition.on_error
        if policy.on_error == "stop":
            raise error
        if policy.dead_letter_topic is not None:
            record = raw[bisect_left(raw.offsets, offset)]
            self._out._add(to_dead_letter(policy.dead_letter_topic, record, self.unit.plugin, cause))
        self.skipped += 1
        self.last_offset = offset
        self.position = offset + 1

    def _skip_refused(self, batch: Batch, raw: Batch) -> Exception | None:
        """Skip the records that `process_batch` refused; where each must be looked at alone, give the first error."""
        refused = self._out._take_refused()
        if refused and (self.definition.on_error.on_error == "stop" or self.definition.on_error.retries):
            return refused[min(refused)]
        for position, error in sorted(refused.items()):
            offset = batch.offsets[position]
            self._refuse(raw, offset, self._record_error(offset, batch.keys[position], error), error)
        self.applied -= len(refused)
        return None

    def _newest_anchor(self) -> Anchor:
        """That of the last offset; the record, if it is a new one, is in the batch at hand."""
        raw = self._raw
        if raw is None or not len(raw) or self.last_offset < raw.offsets[0]:
            return self._anchor
        record = raw[bisect_left(raw.offsets, self.last_offset)]
        return replace(self._anchor, timestamp=record.timestamp, checksum=checksum_of(record))

    def _report_failures(self) -> None:
        if self._failures:
            failures, self._failures = self._failures, {}
            self.definition.on_records_failed(self.unit.plugin, self.source, failures)

    @property
    def _live_processor(self) -> Processor:
        if self._processor is None:
            raise InternalError(f"{self.unit} has no processor")
        return self._processor

    def take_outputs(self) -> list[OutputRecord]:
        """What the processor sent since the last call."""
        return self._out._take()

    # ---- checkpoints

    async def capture(self, budget: BaseBudget | None = None) -> Checkpoint | None:
        """What changed since the last capture, encoded; None if nothing did.

        `budget`: what the save that it is for may spend on new bases.

        Nothing may be applied meanwhile. Each capture must be stored before the next one; if it is not, the memory must
        be voided.

        Raises `CodecError`, naming the key, for a value that the codec cannot hold.
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
        except CodecError as error:
            self.fail()
            raise CodecError(
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


def _overrides(processor: type[Processor], method: str) -> bool:
    return getattr(processor, method) is not getattr(Processor, method)


def _read_part(raw: Batch, name: str, form: Format) -> tuple[Sequence[Any], dict[int, Exception]]:
    """The whole column of this name at once; where that fails, one by one, with what is wrong by index."""
    try:
        if name == "keys" and form.reads_text:
            return raw.key_texts(), {}
        return form.read_column(getattr(raw, name)), {}
    except ValueError:
        return _read_one_by_one(getattr(raw, name), form)


def _read_one_by_one(column: Sequence[bytes | None], form: Format) -> tuple[Sequence[Any], dict[int, Exception]]:
    values: list[Any] = []
    bad: dict[int, Exception] = {}
    read = form.read
    for index, data in enumerate(column):
        try:
            values.append(None if data is None else read(data))
        except ValueError as error:
            bad[index] = error
            values.append(None)
    return values, bad
