"""Drives a processor over records in memory, as the runtime does."""

import asyncio
import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from framework.errors import UsageError
from framework.event_time import NO_EVENT_TIME, EventTimeChoice
from framework.output import OutputRecord
from framework.plugins import load
from framework.processor import Options, Processor
from framework.records import Batch, Record, TopicPartition
from framework.runtime.attempt import Attempt
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.outbox import Outbox
from framework.runtime.timers import UnitTimers
from framework.runtime.watermark import Watermark
from framework.table import Table
from framework.timers import Timer

__all__ = ["Driver", "Result", "pieces", "run_processor", "to_batch"]

PARTITION = TopicPartition("test", 0)


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


def run_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    *,
    options: Options | Mapping[str, Any] | None = None,
    state: Mapping[Any, Any] | None = None,
    batches: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    until: int | None = None,
    out_of_order: int | None = None,
) -> Result:
    """Apply `records` to a new instance of `processor`, and return the state and the outputs.

    `records`: pairs (key, value), which get the offsets 0, 1, … of partition 0 of the topic `test`; or `Record`s of one
    partition. Keys and values are given as they are after deserializing. `state`: the state before the first record.
    `batches`: the number of records that each `process_batch` gets; None runs `process` for one record after the other.
    `on_error`: as in `framework run`; with `stop`, an exception of the processor is raised here. `until`: after the
    last record, the watermark goes on to this time, in milliseconds since the epoch, as if a record of that event time
    came. `out_of_order`: as `--out-of-order`, in milliseconds; None: as the processor declares. The timestamps of
    the records are the event times. An `async def process`
    is run to its end, so this function cannot be called where an event loop runs.

    Raises `framework.UsageError` for records that are not of one partition in offset order and for batches without
    records, and pydantic's `ValidationError` for bad options.
    """
    if batches is not None and batches < 1:
        raise UsageError(f"a batch has at least one record, not {batches}")
    batch = to_batch(records)
    with Driver(processor, batch.topic_partition, options, state, out_of_order=out_of_order) as driver:
        for piece in pieces(batch, batches or 1):
            driver.apply(piece, fast=batches is not None, skip=on_error == "skip")
        if until is not None:
            driver.advance(driver.time.rule.after(until), skip=on_error == "skip")
        return driver.take_result()


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


class Driver:
    """One instance of a processor with its state and its timers. A record or timer that fails leaves no trace.

    A context manager: the processor is opened, used and closed in one event loop.
    """

    def __init__(
        self,
        processor: type[Processor],
        partition: TopicPartition,
        options: Options | Mapping[str, Any] | None = None,
        state: Mapping[Any, Any] | None = None,
        *,
        out_of_order: int | None = None,
    ) -> None:
        made = options if isinstance(options, Options) else processor.Options(**(options or {}))
        formats = Formats.of(processor, made, FormatChoice(), load([]).format)
        self.time = TimeSettings.of(
            processor, made, EventTimeChoice(out_of_order=out_of_order), formats.value, lambda: 0.0
        )
        self.timers = UnitTimers(can_fire=_overrides(processor, "on_timer"))
        self.watermark = Watermark(self.time.rule)
        self.processor = processor(made, partition)
        self.processor.timers = self.timers
        self.table: Table[Any, Any] = Table(copy.deepcopy(dict(state or {})))
        self.needless: list[BaseException] = []
        """Exceptions that `process_batch` raised although every record of the batch could be applied."""
        self._outbox = Outbox(processor.name or processor.__name__.lower(), partition, formats.writers)
        self._attempt = Attempt(self.processor, self.table, self.timers, self._outbox)
        self._has_process = _overrides(processor, "process")
        self._has_batch = _overrides(processor, "process_batch")
        self._failed: dict[int, BaseException] = {}
        self._failed_timers: list[tuple[Timer, BaseException]] = []
        self._last_offset = -1
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

    def take_result(self) -> Result:
        """The result so far; each output is returned only once."""
        timers = sorted(self.timers, key=lambda timer: (timer.time, timer.name, repr(timer.key)))
        return Result(
            copy.deepcopy(dict(self.table.view())),
            self._outbox.take(),
            dict(self._failed),
            timers,
            self.watermark.time,
            list(self._failed_timers),
        )

    def apply(self, batch: Batch, *, fast: bool, skip: bool) -> None:
        """Apply a batch: by `process_batch` if `fast` is true or there is no `process`, otherwise record by record.

        If the processor uses event time, the batch is split at the steps of the watermark, and timers fire there.
        """
        begin = 0
        for stop, time in self.watermark.steps(batch.timestamps) if self.time.is_used else ():
            self._apply(batch.slice(begin, stop), fast, skip)
            self.advance(time, skip=skip)
            begin = stop
        if begin < len(batch):
            self._apply(batch.slice(begin, len(batch)), fast, skip)

    def advance(self, time: int, *, skip: bool) -> None:
        """Move the watermark to `time`, in milliseconds since the epoch, and let the timers fire that are due."""
        self.watermark.advance(time)
        self.processor.event_time = self.timers.event_time = self.watermark.time
        self._runner.run(self._fire(skip))

    async def _fire(self, skip: bool) -> None:
        while self.timers.is_due(self.watermark.time, wall=False):
            timer, error = await self._attempt.timer(self._last_offset, wall=False)
            if error is not None:
                if not skip:
                    raise error
                self._failed_timers.append((timer, error))
                self.timers.delete(timer.key, name=timer.name)

    def _apply(self, batch: Batch, fast: bool, skip: bool) -> None:
        self._last_offset = batch.offsets[-1]
        if self._has_batch and (fast or not self._has_process):
            self._apply_batch(batch, skip)
        else:
            self._runner.run(self._apply_records(batch, skip))

    def _apply_batch(self, batch: Batch, skip: bool) -> None:
        """If `process_batch` fails, its records are applied one by one."""
        error = self._try_batch(batch, skip)
        if error is None:
            return
        failed = len(self._failed)
        if self._has_process:
            self._runner.run(self._apply_records(batch, skip))
        elif len(batch) == 1:
            self._fail(batch.offsets[0], error, skip)
        else:
            for piece in pieces(batch, 1):
                self._apply_batch(piece, skip)
        if len(self._failed) == failed:
            self.needless.append(error)

    def _try_batch(self, batch: Batch, skip: bool) -> BaseException | None:
        def on_refused(refused: Mapping[int, Exception]) -> BaseException | None:
            if not skip:
                return refused[min(refused)]
            self._failed.update((batch.offsets[position], error) for position, error in sorted(refused.items()))
            return None

        _, error = self._attempt.batch(batch, on_refused)
        return error

    async def _apply_records(self, batch: Batch, skip: bool) -> None:
        for record in batch:
            _, error = await self._attempt.records([record])
            if error is not None:
                self._fail(record.offset, error, skip)

    def _fail(self, offset: int, error: BaseException, skip: bool) -> None:
        if not skip:
            raise error
        self._failed[offset] = error


def _overrides(processor: type[Processor], method: str) -> bool:
    return getattr(processor, method) is not getattr(Processor, method)
