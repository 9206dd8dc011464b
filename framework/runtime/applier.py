"""The applier: one processor over the state of one partition, the fast way, and with undo where records fail."""

import logging
import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from typing import Any, Final, NoReturn

from framework.codecs import Codec
from framework.dead_letters import to_dead_letter
from framework.errors import DeserializationError, InternalError, OutputError, ProcessingError, RecordError, TallyError
from framework.formats import Format
from framework.output import Output, OutputRecord
from framework.processor import Processor
from framework.records import Batch, Record, TopicPartition
from framework.runtime.anchor import checksum_of
from framework.runtime.policy import ErrorPolicy
from framework.state import State
from framework.stores import Anchor, Unit

__all__ = ["Applier", "Breathe", "Definition", "Retry", "Rewind"]

log = logging.getLogger("framework")

Breathe = Callable[[], Awaitable[None]]
"""Gives the event loop a turn, and what cannot wait its due."""

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
_SLICE_SECONDS: Final = 5e-6
"""What such a slice costs beyond what its records do; *measured*."""


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


class Applier(ABC):
    """Applies records through a processor to a state, and knows how far. It knows nothing of stores."""

    def __init__(self, unit: Unit, definition: Definition, clock: Callable[[], float]) -> None:
        self.unit = unit
        self.source = TopicPartition(unit.topic, unit.partition)
        self.definition = definition
        self.last_offset = -1
        self.position: int | None = None
        self.applied = 0
        """Records applied since it was made."""
        self.skipped = 0
        """Records that were not applied, because they failed for good."""
        self._mutable_columns = [
            (name, form)
            for name, form in (("keys", definition.key_format), ("values", definition.value_format))
            if form.mutable
        ]
        self._clock = clock
        self._state: State[Any, Any] | None = None
        self._careful_until = 0
        self._careful_run = _CAREFUL_RUN
        self._careful_slice = self._usual_run = _FIRST_CAREFUL_SLICE
        self._good_run = 0
        self._usual_seconds = self._good_seconds = 0.0
        self._failures: dict[int, ProcessingError] = {}
        self._forget()

    def _forget(self) -> None:
        """Begin anew but for the state."""
        self._processor: Processor | None = None
        self._out = Output(self.unit.plugin, self.unit.topic, self.unit.partition)
        self._anchor = Anchor()
        self._raw: Batch | None = None
        self._failing_offset = -1
        self._failed_tries = 0
        self._retry_at = -math.inf

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether records are to be applied; looked at after each pause."""

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
                if not self.is_running:
                    return
                deadline = self._clock() + _SLICE
            piece = raw.slice(first, min(first + _PIECE, len(raw))) if len(raw) > _PIECE else raw
            await self._apply_piece(piece, breathe)
            if not self.is_running:
                return

    async def _apply_piece(self, raw: Batch, breathe: Breathe) -> None:
        batch, refused = self._deserialize(raw)
        begin = 0
        for index, error in refused:
            await self._apply_run(batch.slice(begin, index), raw, breathe)
            if not self.is_running:
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
        by_batch = self.definition.processor.process_batch is not Processor.process_batch
        if not len(batch):
            pass
        elif self._known_position >= self._careful_until:
            if by_batch:
                self._apply_batch(batch, raw)
            else:
                await self._apply_records(batch, breathe)
        elif by_batch:
            await self._apply_slices_carefully(batch, raw, breathe)
        else:
            await self._apply_records_carefully(batch, raw, breathe)
        if self.is_running:
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
                    if not self.is_running:
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
                if not self.is_running:
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
        self._end_good_run()
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
        """Apply slice by slice; one that fails is cut until a record that fails stands alone."""
        processor, state, clock = self._live_processor, self._memory, self._clock
        began = clock()
        deadline = began + _SLICE
        count = len(batch)
        begin = suspects = touched = 0
        sizes = [1] if batch.offsets[0] == self._failing_offset else []  # of the next tries, the next one last
        while begin < count:
            if sizes:
                end = begin + sizes.pop()
            elif begin < suspects:
                end = begin + max(1, (suspects - begin) // 2)
            else:
                end = min(begin + self._careful_slice, count)
            piece = batch.slice(begin, end)
            if begin < touched:
                piece = self._read_again(piece, touched - begin, raw)
            got_through, error = self._try(processor, state, piece, raw)
            now = clock()
            if error is None:
                self._keep(piece, end - begin, now - began)
                begin = end
            elif end - begin == 1:
                self._end_good_run()
                self._fail(raw, piece.offsets[0], piece.keys[0], error)
                begin = suspects = end
                now = clock()
            else:
                if begin >= suspects:  # most plugins go record by record, so the culprit comes where it stopped
                    sizes = [1, got_through] if 0 < got_through < end - begin else [1]
                suspects, touched = end, max(touched, end)
            began = now
            if now > deadline:
                await breathe()
                if not self.is_running:
                    return
                began = clock()
                deadline = began + _SLICE

    def _keep(self, piece: Batch, count: int, seconds: float) -> None:
        """A slice of that many records was applied wholly."""
        self.last_offset, self.position = piece.offsets[-1], piece.end
        self.applied += count
        self._good_run += count
        self._good_seconds += seconds
        if self._good_run > 2 * self._usual_run:
            self._usual_run, self._usual_seconds = self._good_run, self._good_seconds
            self._fit_slices()

    def _end_good_run(self) -> None:
        """A record has failed."""
        self._usual_run = max(1, (self._usual_run + self._good_run) // 2)
        self._usual_seconds = (self._usual_seconds + self._good_seconds) / 2
        self._good_run, self._good_seconds = 0, 0.0
        self._fit_slices()

    def _fit_slices(self) -> None:
        """Longer slices repeat more work after a failure, shorter ones cost more each.

        By Young's formula for the time between checkpoints (Communications of the ACM 17(9), 1974): the square root of
        twice the cost of one times the mean time between failures; here, of that time's records.
        """
        part = 0.5
        if self._usual_seconds > 0:  # else the clock is too coarse to tell
            part = min(part, math.sqrt(2 * _SLICE_SECONDS / self._usual_seconds))
        self._careful_slice = max(1, round(part * self._usual_run))

    def _read_again(self, piece: Batch, count: int, raw: Batch) -> Batch:
        """Deserialize its first records anew: a try that failed may have changed their keys and values in place."""
        if not self._mutable_columns:
            return piece
        count = min(count, len(piece))
        first = bisect_left(raw.offsets, piece.offsets[0])
        columns = {
            name: [*form.read_column(getattr(raw, name)[first : first + count]), *getattr(piece, name)[count:]]
            for name, form in self._mutable_columns
        }
        return piece.with_columns(**columns)

    def _try(
        self, processor: Processor, state: State[Any, Any], piece: Batch, raw: Batch
    ) -> tuple[int, Exception | None]:
        """Apply some records wholly, or leave no trace of them; then, how many it seems to have got through."""
        out = self._out
        mark = out._mark()
        out._begin_batch(piece.offsets)
        state.begin_undo()
        try:
            processor.process_batch(piece, state, out)
        except Exception as error:
            got_through = state.touched
            return got_through, self._undo(mark, error)
        if out._refused:
            refusal = self._skip_refused(piece, raw)
            if refusal is not None:
                return 0, self._undo(mark, refusal)
        state.end_undo()
        return 0, None

    def _undo(self, mark: int, error: Exception) -> Exception:
        self._memory.undo()
        self._out._cut(mark)
        self._raise_if_nobodys_fault(error)
        return error

    def _rewind(self, until: int, error: Exception) -> NoReturn:
        """Go back, and then stay careful for long: each rewind loads the whole state."""
        self._raise_if_nobodys_fault(error)
        self._careful_until = until + self._careful_run
        self._careful_run *= 2
        log.debug("%s: rewinding to the last checkpoint after %r", self.unit, error)
        raise Rewind from error

    def _raise_if_nobodys_fault(self, error: Exception) -> None:
        """What was tallied with earlier records comes to light with one that has done nothing wrong."""
        if isinstance(error, TallyError):
            raise TallyError(f"plugin {self.unit.plugin} on {self.source}: {error}") from error

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
