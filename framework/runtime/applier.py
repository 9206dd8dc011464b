"""The applier: runs one processor over one partition, without undo on the fast path, and with undo after a failure."""

import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from itertools import islice
from typing import Any, NoReturn

from framework.borders import describe, is_plugin_failure
from framework.errors import InternalError
from framework.event_time import NO_EVENT_TIME
from framework.processor import Processor
from framework.progress import Progress
from framework.records import Batch, Record
from framework.runtime.anchor import checksum_of
from framework.runtime.attempt import Attempt
from framework.runtime.decoding import Decoder
from framework.runtime.definition import Definition
from framework.runtime.expiry import Expiry
from framework.runtime.failures import Failures, Refusal, Retry
from framework.runtime.limits import Limits
from framework.runtime.outbox import Outbox
from framework.runtime.ports import LogEnd
from framework.runtime.silence import Silence
from framework.runtime.slices import Caution, Pieces
from framework.runtime.timers import UnitTimers
from framework.runtime.watermark import Watermark
from framework.stores import Unit
from framework.table import Table

__all__ = ["Applier", "Breathe", "Host", "Memory", "Missing", "Rewind"]

log = logging.getLogger("framework")

Breathe = Callable[[], Awaitable[None]]
"""Gives the event loop a turn, and does the work that cannot wait until a batch is applied."""


class Missing(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A format needs `getting` to end before it can decode the records from the task's position on."""

    def __init__(self, getting: Awaitable[None]) -> None:
        super().__init__(getting)
        self.getting = getting


class Rewind(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A record failed on the fast path, which has no undo. The memory must be dropped and loaded again."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a unit. It is only dropped as a whole, and never repaired."""

    processor: Processor
    table: Table[Any, Any]
    timers: UnitTimers
    watermark: Watermark
    outbox: Outbox
    expiry: Expiry | None
    """None if keys live for ever."""


@dataclass(frozen=True, slots=True)
class Host:
    """The parts of a task that its applier needs."""

    unit: Unit
    definition: Definition
    clock: Callable[[], float]
    limits: Limits
    caution: Caution
    is_running: Callable[[], bool]
    """Whether to go on applying records; asked after each pause."""


class Applier:
    """Applies records through a processor to a state, and tracks the progress. It does not know the store.

    `is_whole` is true only while no record is half applied. Only then may the memory be stored.
    """

    def __init__(self, host: Host, memory: Memory, progress: Progress, applied: int = 0) -> None:
        """`applied` is the number of records that this process has applied to this state before."""
        self.memory = memory
        self.applied = applied
        self.is_whole = True
        self.failures = Failures(host.unit, host.definition, memory.outbox, host.clock)
        self._host = host
        self._progress = progress
        self._raw: Batch | None = None
        """The batch that is being applied, not yet decoded; None between batches."""
        self._decoder = Decoder(host.definition)
        self._attempt = Attempt(memory.processor, memory.table, memory.timers, memory.outbox)
        limits = host.limits
        self._many_outputs = max(1, limits.piece_outputs // 2)
        self._pieces = Pieces(limits.first_piece_records, limits.piece_records, self._many_outputs)
        self._looks = Pieces(1, limits.look_records, self._many_outputs)
        self._silence = Silence(host.clock)
        self._deadline = 0.0
        """Time of the next turn of the event loop, on the task's clock in seconds."""

    # ---- progress

    @property
    def last_offset(self) -> int:
        """Offset of the last applied record; -1 for none."""
        return self._progress.last_offset

    @property
    def position(self) -> int | None:
        """Offset of the next record to read; None if not decided yet."""
        return self._progress.position

    @property
    def progress(self) -> Progress:
        """The progress, with the anchor of the last applied record."""
        progress, raw = self._progress, self._raw
        if raw is None or not len(raw) or progress.last_offset < raw.offsets[0]:
            return progress
        record = raw[bisect_left(raw.offsets, progress.last_offset)]
        return replace(
            progress, anchor=replace(progress.anchor, timestamp=record.timestamp, checksum=checksum_of(record))
        )

    @progress.setter
    def progress(self, progress: Progress) -> None:
        """Continue at another place in the log. Raises `InternalError` while a batch is applied."""
        if self._raw is not None:
            raise InternalError(f"{self._host.unit}: the progress was set while records were applied")
        self._progress = progress

    def _advance(self, last_offset: int, position: int) -> None:
        old = self._progress
        self._progress = Progress(last_offset, position, old.anchor, old.missing_offsets)

    def _known_position(self) -> int:
        position = self._progress.position
        if position is None:
            raise InternalError(f"{self._host.unit} has no position yet")
        return position

    # ---- applying

    async def apply(self, batch: Batch, breathe: Breathe) -> None:
        """Apply the records of a fetched batch from the position on.

        Awaits the processor's own `async def process` and `breathe`, and nothing else. Returns early if the task is no
        longer running after that.

        Raises `Rewind` if a record failed on the fast path, `Retry` if a failed record is to be tried again later,
        `Missing` if a format cannot decode the next record yet, and `Refusal` if a record failed for good and the
        policy is to stop. After `Retry`, `Missing` and `Refusal` the memory is as before that record. After `Rewind`
        and any other error it must be dropped.
        """
        position = self._known_position()
        if batch.start > position:
            raise InternalError(
                f"{self._host.unit}: offsets {position} to {batch.start - 1} are missing between two fetched batches"
            )
        if batch.end <= position:
            return
        self.failures.check_waiting()
        first = bisect_left(batch.offsets, position)
        self._raw = raw = batch.slice(first, len(batch)) if first else batch
        self.is_whole = False
        self._begin_turn()
        try:
            if await self._expire_due(breathe) and await self._fire_due(breathe):
                await self._apply_pieces(raw, breathe)
        except (Retry, Missing, Refusal):
            self._finish()
            raise
        self._finish()

    async def fire(self, breathe: Breathe) -> None:
        """Let keys expire and timers fire that are due, by the watermark and by the wall clock.

        Awaits and raises as `apply`.
        """
        if not self.has_due_work or self.failures.is_waiting:
            return
        self.is_whole = False
        self._begin_turn()
        try:
            if await self._expire_due(breathe) and await self._fire_due(breathe):
                await self._fire_due(breathe, wall=True)
        except (Retry, Refusal):
            self._finish()
            raise
        self._finish()

    @property
    def has_due_work(self) -> bool:
        """Whether any timer is due, by the watermark or by the wall clock, or any key has to be looked at."""
        return self._is_due(self.memory.watermark.time) or self.memory.timers.is_due(self._now(wall=True), wall=True)

    def _is_due(self, until: int) -> bool:
        memory = self.memory
        return memory.timers.is_due(until, wall=False) or (memory.expiry is not None and memory.expiry.is_due(until))

    def idle_step(self, end: LogEnd | None) -> int | None:
        """The time to which the watermark has to go because no record has come for long; None if it stays.

        `end`: the end of the log, according to the broker's last answer. The step must be stored before `fire`, so that
        a crash cannot put it to another place among the records.
        """
        settings, watermark = self._host.definition.time, self.memory.watermark
        if settings.idle_after is None or watermark.time == NO_EVENT_TIME or not settings.is_used:
            return None
        if not self._silence.has_lasted(settings.idle_after / 1000, self.position, end) or self.has_due_work:
            return None
        time = settings.rule.after(self._now(wall=True) - settings.idle_after)
        return time if time > watermark.time and self._is_due(time) else None

    def _now(self, *, wall: bool) -> int:
        return int(self._host.definition.time.wall() * 1000) if wall else self.memory.watermark.time

    def advance_watermark(self, time: int) -> None:
        """Move the watermark to `time`, in milliseconds since the epoch. No timer fires yet."""
        memory = self.memory
        memory.watermark.advance(time)
        memory.processor.event_time = memory.timers.event_time = memory.watermark.time
        if memory.expiry is not None:
            memory.expiry.event_time = memory.watermark.time

    async def _fire_due(self, breathe: Breathe, *, wall: bool = False) -> bool:
        """Let timers fire until none is due. Returns whether the task still runs then."""
        until, timers, offset = self._now(wall=wall), self.memory.timers, self._progress.last_offset
        while timers.is_due(until, wall=wall):
            timer, error = await self._attempt.timer(offset, wall=wall)
            if error is not None and not self._attempt.split(timer):
                self.failures.fail_timer(timer, offset, error)
                timers.delete(timer.key, name=timer.name)
            if self._is_pause_due() and not await self._pause(breathe):
                return False
        return True

    async def _expire_due(self, breathe: Breathe) -> bool:
        """Remove the keys that have expired by the watermark. Returns whether the task still runs then."""
        expiry, until = self.memory.expiry, self.memory.watermark.time
        return expiry is None or not expiry.is_due(until) or await self._expire(until, breathe)

    async def _expire(self, until: int, breathe: Breathe) -> bool:
        """Remove the keys that expire before a record of the time `until`. Returns whether the task still runs then."""
        expiry = self.memory.expiry
        while expiry is not None and expiry.step(until, self._host.limits.noted_at_once):
            if self._is_pause_due() and not await self._pause(breathe):
                return False
        return True

    def _finish(self) -> None:
        self._progress, self._raw = self.progress, None
        self.failures.report()
        self.is_whole = True

    def _begin_turn(self) -> None:
        self._deadline = self._host.clock() + self._host.limits.slice_seconds

    def _is_pause_due(self) -> bool:
        return self._has_many_outputs() or self._host.clock() > self._deadline

    async def _pause(self, breathe: Breathe) -> bool:
        """Give the event loop a turn, between two records or timers. Returns whether to go on."""
        self.is_whole = True
        await breathe()
        self.is_whole = False
        self._begin_turn()
        return self._host.is_running()

    async def _apply_pieces(self, raw: Batch, breathe: Breathe) -> None:
        begin = 0
        while True:
            end = min(begin + self._pieces.size, len(raw))
            piece = raw.slice(begin, end) if end - begin < len(raw) else raw
            before = self._output_load()
            await self._apply_piece(piece, breathe)
            if end == len(raw) or not self._host.is_running():
                return
            self._pieces.fit(end - begin, self._output_load() - before)
            if self._is_pause_due() and not await self._pause(breathe):
                return
            begin = end

    def _output_load(self) -> int:
        """Number of collected outputs. A large output counts as several."""
        outbox, limits = self.memory.outbox, self._host.limits
        return max(len(outbox), outbox.size * limits.piece_outputs // limits.piece_output_bytes)

    def _has_many_outputs(self) -> bool:
        return self._output_load() >= self._many_outputs

    async def _apply_piece(self, raw: Batch, breathe: Breathe) -> None:
        missing = self._decoder.missing(raw)
        if missing is not None:
            raise Missing(missing)
        batch, refused = self._decoder.decode(raw)
        begin = 0
        for index, error in refused:
            await self._apply_run(batch.slice(begin, index), raw, breathe)
            if not self._host.is_running():
                return
            offset = batch.offsets[index]
            self._advance(self._progress.last_offset, offset)
            self.failures.refuse(raw, offset, error, error)
            self._advance(offset, offset + 1)
            begin = index + 1
        await self._apply_run(batch.slice(begin, len(batch)) if begin else batch, raw, breathe)

    async def _apply_run(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        """Apply decoded records. `raw` has them as bytes. If the processor uses time, timers fire between them.

        If keys have a time to live, they expire before the record that moves the watermark.
        """
        begin = 0
        if self._host.definition.time.is_used:
            for stop, time in self.memory.watermark.steps(batch.timestamps):
                if self.memory.expiry is not None:
                    before = batch.slice(begin, stop - 1)
                    if not (await self._apply_some(before, raw, breathe) and await self._expire(time, breathe)):
                        return
                    begin = stop - 1
                if not await self._apply_some(batch.slice(begin, stop), raw, breathe):
                    return
                self.advance_watermark(time)
                if not (self._host.is_running() and await self._fire_due(breathe)):
                    return
                if stop < len(batch) and self._is_pause_due() and not await self._pause(breathe):
                    return
                begin = stop
        await self._apply_some(batch.slice(begin, len(batch)) if begin else batch, raw, breathe)

    async def _apply_some(self, batch: Batch, raw: Batch, breathe: Breathe) -> bool:
        """Apply decoded records on the fast path, or with undo after a failure.

        Returns whether all were applied; if not, the task no longer runs.
        """
        by_batch = self._host.definition.processor.process_batch is not Processor.process_batch
        if not len(batch):
            pass
        elif not self._host.caution.covers(self._known_position()):
            if by_batch:
                self._apply_batch(batch, raw)
            else:
                await self._apply_records(batch, breathe)
        elif by_batch:
            await self._apply_slices_carefully(batch, raw, breathe)
        else:
            await self._apply_records_carefully(batch, raw, breathe)
        if self._host.is_running():
            self._advance(self._progress.last_offset, batch.end)
        return not len(batch) or self._progress.last_offset >= batch.offsets[-1]

    def _apply_batch(self, batch: Batch, raw: Batch) -> None:
        memory = self.memory
        memory.outbox.begin_batch(batch.offsets)
        try:
            memory.processor.process_batch(batch, memory.table, memory.outbox)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            self._rewind(batch.end, error)
        refused = memory.outbox.take_refused()
        if refused:
            refusal = self._skip_refused(batch, raw, refused)
            if refusal is not None:
                self._rewind(batch.end, refusal)
        self.applied += len(batch) - len(refused)
        self._advance(batch.offsets[-1], batch.offsets[-1] + 1)

    async def _apply_records(self, batch: Batch, breathe: Breathe) -> None:
        memory, looks = self.memory, self._looks
        process, state, out = memory.processor.process, memory.table, memory.outbox
        records, done = iter(batch), 0
        out.begin_records()
        while done < len(batch):
            before, began = self._output_load(), done
            done = min(done + looks.size, len(batch))
            for record in islice(records, looks.size):
                out.record = record
                try:
                    result = process(record, state, out)
                    if result is not None:
                        await result
                except BaseException as error:
                    if not is_plugin_failure(error):
                        raise
                    self._rewind(batch.end, error)
                if result is not None:  # it may have taken long
                    done = bisect_left(batch.offsets, record.offset) + 1
                    break
            self.applied += done - began
            looks.fit(done - began, self._output_load() - before)
            if done < len(batch) and self._is_pause_due():
                self._advance(batch.offsets[done - 1], batch.offsets[done - 1] + 1)
                if not await self._pause(breathe):
                    return
        self._advance(batch.offsets[-1], batch.offsets[-1] + 1)

    def _rewind(self, until: int, error: BaseException) -> NoReturn:
        """Raise `Rewind`, or the error of a broken table. Records up to `until` and further are applied with undo."""
        self._attempt.check_state(error)
        self._host.caution.rewound(until)
        log.debug("%s: rewinding to the last checkpoint after %s", self._host.unit, describe(error))
        raise Rewind from error

    # ---- applying with undo, after a failure

    async def _apply_records_carefully(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        largest = 1 if iscoroutinefunction(self._host.definition.processor.process) else self._host.limits.careful_slice
        records = list(batch)
        begin = 0
        while begin < len(records):
            first, before = begin, self._output_load()
            begin = await self._apply_until_failure(
                records[first : first + min(largest, self._pieces.size)], first, batch, raw
            )
            self._pieces.fit(begin - first, self._output_load() - before)
            if begin < len(records) and self._is_pause_due() and not await self._pause(breathe):
                return

    async def _apply_until_failure(self, records: Sequence[Record], begin: int, batch: Batch, raw: Batch) -> int:
        """Apply records up to the first that fails, and handle that failure. Returns the position after them.

        `records` are those of the batch from position `begin` on.
        """
        good, error = await self._attempt.records(records)
        end = begin + good
        if error is not None and good:
            await self._apply_again(batch.slice(begin, end), raw)
        if good:
            self._advance(batch.offsets[end - 1], batch.offsets[end - 1] + 1)
            self.applied += good
        if error is None:
            return end
        self._fail(batch, end, raw, error)
        return end + 1

    async def _apply_again(self, piece: Batch, raw: Batch) -> None:
        """Apply records again that succeeded just now and were undone. Raises `Rewind` if one of them fails now."""
        _, error = await self._attempt.records(list(self._decoder.decode_again(piece, len(piece), raw)))
        if error is not None:
            self._rewind(piece.end, error)

    async def _apply_slices_carefully(self, batch: Batch, raw: Batch, breathe: Breathe) -> None:
        """Apply slice by slice. A slice that fails is split until it holds the failing record alone."""
        clock, slices = self._host.clock, self._host.caution.slices
        began = clock()
        count = len(batch)
        begin = suspects = touched = 0
        sizes = [1] if self.failures.failed_last_at(batch.offsets[0]) else []  # of the next slices, the next one last
        while begin < count:
            if sizes:
                end = begin + sizes.pop()
            elif begin < suspects:
                end = begin + max(1, (suspects - begin) // 2)
            else:
                end = min(begin + min(slices.size, self._pieces.size), count)
            piece = batch.slice(begin, end)
            if begin < touched:
                piece = self._decoder.decode_again(piece, touched - begin, raw)
            before = self._output_load()
            got_through, error = self._try_slice(piece, raw)
            now = clock()
            if error is None:
                slices.kept(end - begin, now - began)
                self._pieces.fit(end - begin, self._output_load() - before)
                begin = end
            elif end - begin == 1:
                self._fail(piece, 0, raw, error)
                begin = suspects = end
                now = clock()
            else:
                if begin >= suspects:  # most plugins go record by record, so the record where it stopped failed
                    sizes = [1, got_through] if 0 < got_through < end - begin else [1]
                suspects, touched = end, max(touched, end)
            began = now
            if begin < count and self._is_pause_due():
                if not await self._pause(breathe):
                    return
                began = clock()

    def _try_slice(self, piece: Batch, raw: Batch) -> tuple[int, BaseException | None]:
        """Apply all records of a slice, or none. Returns as `Attempt.batch` does."""
        left_out = self.failures.left_out
        got_through, error = self._attempt.batch(piece, lambda refused: self._skip_refused(piece, raw, refused))
        if error is None:
            self.applied += len(piece) - (self.failures.left_out - left_out)
            self._advance(piece.offsets[-1], piece.end)
        return got_through, error

    # ---- records that fail

    def _fail(self, batch: Batch, position: int, raw: Batch, error: BaseException) -> None:
        """Handle the failure of the record at this position of the batch, which was undone.

        Raises `Retry` or `Refusal` as the policy says; else the record is skipped.
        """
        offset = batch.offsets[position]
        self._host.caution.slices.failed()
        self._host.caution.failed(offset)
        self._advance(self._progress.last_offset, offset)
        self.failures.fail(raw, offset, batch.keys[position], error)
        self._advance(offset, offset + 1)

    def _skip_refused(self, batch: Batch, raw: Batch, refused: Mapping[int, Exception]) -> Exception | None:
        """Skip the records that `process_batch` refused. Returns the first error if each must be handled alone."""
        first = self.failures.to_handle_alone(refused)
        if first is None:
            for position, error in sorted(refused.items()):
                self.failures.leave_out(raw, batch.offsets[position], batch.keys[position], error)
        return first
