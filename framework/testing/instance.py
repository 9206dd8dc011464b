"""One instance of a processor, whose records and timers the runtime's own code applies, in memory."""

import asyncio
import copy
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from framework.errors import LateRecordError, UsageError
from framework.event_time import NO_EVENT_TIME, EventTimeChoice
from framework.output import OutputRecord
from framework.plugins import load
from framework.processor import Options, Processor
from framework.records import Batch, Record, TopicPartition
from framework.runtime.attempt import Attempt
from framework.runtime.event_times import TimeSettings
from framework.runtime.expiry import Expiry
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.outbox import Outbox
from framework.runtime.timers import UnitTimers
from framework.runtime.watermark import Watermark
from framework.table import Table
from framework.timers import Timer

__all__ = ["Instance", "Result", "Stored", "pieces", "stretches", "to_batch"]

PARTITION = TopicPartition("test", 0)
_AT_ONCE = 1000


@dataclass(slots=True)
class Result:
    """The result of a run."""

    state: dict[Any, Any]
    outputs: list[OutputRecord]
    failed: dict[int, BaseException] = field(default_factory=dict)
    """The exception of each failed record, by its offset. Only with `on_error="skip"`."""
    timers: list[Timer] = field(default_factory=list)
    """The timers that have not fired, in the order of their times and names."""
    event_time: int = NO_EVENT_TIME
    """The watermark, in milliseconds since the epoch; `NO_EVENT_TIME` if the processor does not use event time."""
    failed_timers: list[tuple[Timer, BaseException]] = field(default_factory=list)
    """The timers whose `on_timer` failed, and its exceptions. Only with `on_error="skip"`."""
    written: dict[Any, int] = field(default_factory=dict)
    """The time of the last write of each key, in milliseconds since the epoch, if keys have a time to live."""
    late: list[int] = field(default_factory=list)
    """The offsets of the records for which `LateRecordError` was raised or refused. Late records are no failures."""


def to_batch(records: Iterable[Record | tuple[Any, Any]]) -> Batch:
    """All records as one batch. Raises `UsageError` where they cannot come from one partition."""
    made = [
        item if isinstance(item, Record) else Record(*PARTITION, offset, offset, *item)
        for offset, item in enumerate(records)
    ]
    partition = TopicPartition(made[0].topic, made[0].partition) if made else PARTITION
    offsets = [record.offset for record in made]
    if any((record.topic, record.partition) != partition for record in made) or offsets != sorted(set(offsets)):
        raise UsageError("the records for a processor must be of one partition, with rising offsets")
    return Batch(
        partition,
        offsets[0] if offsets else 0,
        offsets[-1] + 1 if offsets else 0,
        offsets,
        [record.timestamp for record in made],
        [record.key for record in made],
        [record.value for record in made],
        [record.headers for record in made],
    )


def pieces(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in runs of `size` records; the last may be shorter."""
    for first in range(0, len(batch), size):
        yield batch.slice(first, min(first + size, len(batch)))


def stretches(
    batch: Batch, idle: Mapping[int, int] | None, until: int | None = None
) -> Iterator[tuple[Batch, int | None]]:
    """The batch in parts, each with the time to which the watermark goes on after it, if it does.

    `idle` and `until` are as for `run_processor`. Raises `UsageError` for an offset that the batch does not have.
    """
    begin = 0
    for offset, time in sorted((idle or {}).items()):
        if offset not in batch.offsets:
            raise UsageError(f"idle names offset {offset}, but no record has it")
        end = bisect_left(batch.offsets, offset) + 1
        yield batch.slice(begin, end), time
        begin = end
    yield batch.slice(begin, len(batch)), until


@dataclass(frozen=True, slots=True)
class Stored:
    """What a checkpoint holds."""

    state: Mapping[Any, Any] = field(default_factory=dict)
    timers: Mapping[Any, Any] = field(default_factory=dict)
    """The table of timers, as `UnitTimers` has it."""
    written: Mapping[Any, int] = field(default_factory=dict)
    """The time of the last write of each key, in milliseconds since the epoch, if keys have a time to live."""
    event_time: int = NO_EVENT_TIME
    """The watermark, in milliseconds since the epoch."""
    last_offset: int = -1
    """The offset of the last record that was applied."""


class Instance:
    """One instance of a processor with its state and its timers. A record or timer that fails leaves no trace.

    A context manager: the processor is opened, used and closed in one event loop.
    """

    def __init__(
        self,
        processor: type[Processor],
        partition: TopicPartition,
        options: Options | Mapping[str, Any] | None = None,
        stored: "Stored | None" = None,
        *,
        out_of_order: int | None = None,
    ) -> None:
        """Continues from what is `stored`, if anything is."""
        stored = stored or Stored()
        made = options if isinstance(options, Options) else processor.Options(**(options or {}))
        formats = Formats.of(processor, made, FormatChoice(), load([]).format)
        self.time = TimeSettings.of(
            processor, made, EventTimeChoice(out_of_order=out_of_order), formats.value, lambda: 0.0
        )
        self.timers = _restored(dict(stored.timers), can_fire=_overrides(processor, "on_timer"))
        self.watermark = Watermark(self.time.rule, stored.event_time)
        self.processor = processor(made, partition)
        self.processor.timers = self.timers
        self.processor.event_time = self.timers.event_time = stored.event_time
        self.table: Table[Any, Any] = Table(copy.deepcopy(dict(stored.state)))
        self.expiry = _expiry(self.time.ttl, stored, self.table)
        """None if keys live for ever."""
        self.needless: list[BaseException] = []
        """Exceptions that `process_batch` raised although every record of the batch could be applied."""
        self._outbox = Outbox(processor.name or processor.__name__.lower(), partition, formats.writers)
        self._attempt = Attempt(self.processor, self.table, self.timers, self._outbox)
        self._failed: dict[int, BaseException] = {}
        self._failed_timers: list[tuple[Timer, BaseException]] = []
        self._late: list[int] = []
        self._last_offset = stored.last_offset
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the processor; if that fails, close it."""
        try:
            self._runner.run(self.processor.open())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the processor."""
        try:
            self._runner.run(self.processor.close())
        finally:
            self._runner.close()

    def take_outputs(self) -> list[OutputRecord]:
        """The outputs since the last call."""
        return self._outbox.take()

    def take_result(self) -> Result:
        """The result so far; each output is returned only once."""
        return Result(
            self.state(),
            self.take_outputs(),
            self.failed(),
            self.sorted_timers(),
            self.watermark.time,
            list(self._failed_timers),
            self._written(),
            self.late(),
        )

    def state(self) -> dict[Any, Any]:
        """A copy of the state."""
        return copy.deepcopy(dict(self.table.view()))

    def sorted_timers(self) -> list[Timer]:
        """The timers that have not fired, in the order of their times and names."""
        return sorted(self.timers, key=lambda timer: (timer.time, timer.name, repr(timer.key)))

    def failed(self) -> dict[int, BaseException]:
        """The exception of each failed record, by its offset."""
        return dict(self._failed)

    def late(self) -> list[int]:
        """The offsets of the late records."""
        return list(self._late)

    def apply(self, batch: Batch, *, fast: bool, skip: bool, fire: bool = True) -> None:
        """Apply a batch: by `process_batch` if `fast` is true or there is no `process`, otherwise record by record.

        If the processor uses event time, the batch is split at the steps of the watermark, and timers fire there.
        `fire=False` is for a batch of one record: the timers that are due are left to `fire`.
        """
        begin = 0
        for stop, time in self.watermark.steps(batch.timestamps) if self.time.is_used else ():
            if self.expiry is not None:
                self._apply(batch.slice(begin, stop - 1), fast, skip)
                begin = stop - 1
                self._expire(time)
            self._apply(batch.slice(begin, stop), fast, skip)
            self.move(time)
            if fire:
                self.fire(skip=skip)
            begin = stop
        self._apply(batch.slice(begin, len(batch)), fast, skip)

    def move(self, time: int) -> None:
        """Move the watermark to `time`, in milliseconds since the epoch, unless it is there already."""
        self.watermark.advance(time)
        self.processor.event_time = self.timers.event_time = self.watermark.time
        if self.expiry is not None:
            self.expiry.event_time = self.watermark.time

    def step(self, until: int) -> None:
        """Move the watermark as a record of this event time would, in milliseconds since the epoch."""
        time = self.time.rule.after(until)
        if time > self.watermark.time:
            self._expire(time)
            self.move(time)

    def _expire(self, until: int) -> None:
        while self.expiry is not None and self.expiry.step(until, _AT_ONCE):
            pass

    def _written(self) -> dict[Any, int]:
        if self.expiry is None:
            return {}
        while self.expiry.state.note(_AT_ONCE):
            pass
        return dict(self.expiry.table.view())

    @property
    def last_offset(self) -> int:
        """The offset of the last record that was applied."""
        return self._last_offset

    @property
    def is_due(self) -> bool:
        """Whether the watermark has reached the time of a timer."""
        return self.timers.is_due(self.watermark.time, wall=False)

    def fire(self, *, skip: bool, most: int | None = None) -> None:
        """Let the timers fire that are due, or at most so many of them."""
        fired = 0
        while self.is_due and (most is None or fired < most):
            self._runner.run(self._fire_one(skip, wall=False))
            fired += 1

    def fire_wall(self, now: int, *, skip: bool) -> None:
        """Let the wall-clock timers fire that are due at `now`, in milliseconds since the epoch."""
        while self.timers.is_due(now, wall=True):
            self._runner.run(self._fire_one(skip, wall=True))

    async def _fire_one(self, skip: bool, *, wall: bool) -> None:
        timer, error = await self._attempt.timer(self._last_offset, wall=wall)
        if error is not None and not self._attempt.split(timer):
            if not skip:
                raise error
            self._failed_timers.append((timer, error))
            self.timers.delete(timer.key, name=timer.name)

    def _apply(self, batch: Batch, fast: bool, skip: bool) -> None:
        if not len(batch):
            return
        self._last_offset = batch.offsets[-1]
        if self._has("process_batch") and (fast or not self._has("process")):
            self._apply_batch(batch, skip)
        else:
            self._runner.run(self._apply_records(batch, skip))

    def _has(self, method: str) -> bool:
        return _overrides(type(self.processor), method)

    def _apply_batch(self, batch: Batch, skip: bool) -> None:
        """If `process_batch` fails, its records are applied one by one."""
        error = self._try_batch(batch, skip)
        if error is None:
            return
        left_out = len(self._failed) + len(self._late)
        if self._has("process"):
            self._runner.run(self._apply_records(batch, skip))
        elif len(batch) == 1:
            self._fail(batch.offsets[0], error, skip)
        else:
            for piece in pieces(batch, 1):
                self._apply_batch(piece, skip)
        if len(self._failed) + len(self._late) == left_out:
            self.needless.append(error)

    def _try_batch(self, batch: Batch, skip: bool) -> BaseException | None:
        def on_refused(refused: Mapping[int, Exception]) -> BaseException | None:
            failed = sorted(position for position, error in refused.items() if not isinstance(error, LateRecordError))
            if failed and not skip:
                return refused[failed[0]]
            for position, error in sorted(refused.items()):
                self._fail(batch.offsets[position], error, skip)
            return None

        _, error = self._attempt.batch(batch, on_refused)
        return error

    async def _apply_records(self, batch: Batch, skip: bool) -> None:
        for record in batch:
            _, error = await self._attempt.records([record])
            if error is not None:
                self._fail(record.offset, error, skip)

    def _fail(self, offset: int, error: BaseException, skip: bool) -> None:
        if isinstance(error, LateRecordError):
            self._late.append(offset)
        elif skip:
            self._failed[offset] = error
        else:
            raise error


def _overrides(processor: type[Processor], method: str) -> bool:
    return getattr(processor, method) is not getattr(Processor, method)


def _restored(stored: dict[Any, Any], *, can_fire: bool) -> UnitTimers:
    timers = UnitTimers(stored, can_fire=can_fire)
    timers.index(iter(list(stored.items())), len(stored))
    return timers


def _expiry(ttl: int | None, stored: Stored, state: Table[Any, Any]) -> Expiry | None:
    if ttl is None:
        return None
    expiry = Expiry(ttl, dict(stored.written), event_time=stored.event_time)
    expiry.index(iter(stored.written.items()), len(stored.written))
    expiry.adopt(iter(stored.state), len(stored.state))
    expiry.watch(state)
    return expiry
