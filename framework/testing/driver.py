"""Drives a processor over records in memory, as the runtime does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from framework.codecs import Codec
from framework.errors import UsageError
from framework.output import OutputRecord
from framework.plugins import load
from framework.processor import Options, Processor
from framework.records import Headers, Record, TopicPartition
from framework.testing.instance import Instance, Result, Stored, pieces, stretches, to_batch
from framework.testing.saved import Saved
from framework.timers import Timer

__all__ = ["Driver", "run_processor"]

_TOPIC = "test"


@dataclass(slots=True)
class _Unit:
    """One partition: its log, its instance, and its last checkpoint."""

    instance: Instance
    saved: Saved
    stored: Stored = field(default_factory=Stored)
    records: list[Record] = field(default_factory=list)
    since: list[Record | int] = field(default_factory=list)
    """The records, and the steps of event time, that came after the last checkpoint."""


class Driver:
    """Applies records to a processor one by one, through crashes, restarts and rebalances::

        with Driver(Median, {"keep": 3}) as driver:
            driver.send("a", 5)
            driver.checkpoint()
            driver.send("a", 7)
            driver.crash()
            assert driver.state == {"a": [5, 7]}

    The runtime's own code applies the records, fires the timers, and takes back what a failed record did. `codec`: the
    codec in which checkpoints are stored. `on_error`: as in `framework run`; with `stop`, an exception of the processor
    is raised by the method that caused it. `batches`: whether `process_batch` applies the records. `out_of_order`: in
    milliseconds, as for `run_processor`.
    """

    def __init__(
        self,
        processor: type[Processor],
        options: Options | Mapping[str, Any] | None = None,
        *,
        codec: str = "json",
        on_error: Literal["stop", "skip"] = "stop",
        batches: bool = False,
        out_of_order: int | None = None,
    ) -> None:
        self._codec: type[Codec] = load([]).codec(codec)
        self._new: Callable[[int, Stored], Instance] = lambda partition, stored: Instance(
            processor, TopicPartition(_TOPIC, partition), options, stored, out_of_order=out_of_order
        )
        self._skip = on_error == "skip"
        self._fast = batches
        self._units: dict[int, _Unit] = {}
        self._clock = 0
        self.outputs: list[OutputRecord] = []
        """All outputs, in the order in which they were sent. After a crash, some are sent again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for unit in self._units.values():
            unit.instance.close()

    def send(
        self, key: Any, value: Any = None, *, timestamp: int | None = None, headers: Headers = (), partition: int = 0
    ) -> Record:
        """Apply a record, and return it; its topic is `test`.

        `key` and `value`: as they are after deserializing. `timestamp`: the event time, in milliseconds since the
        epoch; by default that of the partition's last record, or 0.
        """
        unit = self._unit(partition)
        if timestamp is None:
            timestamp = unit.records[-1].timestamp if unit.records else 0
        record = Record(_TOPIC, partition, len(unit.records), timestamp, key, value, headers)
        unit.records.append(record)
        unit.since.append(record)
        self._apply(unit, record)
        return record

    def advance(self, until: int, *, partition: int = 0) -> None:
        """Let event time go on without a record, as with `--idle-after`, to `until` (milliseconds since the epoch)."""
        unit = self._unit(partition)
        unit.since.append(until)
        self._apply(unit, until)

    def advance_clock(self, until: int) -> None:
        """Let the machine's clock go on to `until`, in milliseconds since the epoch. Wall-clock timers fire."""
        self._clock = max(self._clock, until)
        for unit in self._units.values():
            self._fire_wall(unit)

    def checkpoint(self, *, partition: int = 0) -> None:
        """Store the state, the timers and the progress."""
        unit = self._unit(partition)
        unit.saved.save(unit.instance)
        unit.stored = unit.saved.load(unit.instance)
        unit.since.clear()

    def crash(self, *, partition: int = 0) -> None:
        """Lose all since the last checkpoint, as a crash of the worker does; then apply those records again."""
        unit = self._unit(partition)
        self._replace(unit, partition)
        for step in unit.since:
            self._apply(unit, step)

    def restart(self, *, partition: int = 0) -> None:
        """Store a checkpoint, and go on with a new instance, as after a restart of the worker."""
        self.checkpoint(partition=partition)
        self._replace(self._unit(partition), partition)

    def rebalance(self, partitions: Sequence[int]) -> None:
        """Give these partitions to another worker, which goes on with new instances; the other partitions stay."""
        for partition in partitions:
            self.restart(partition=partition)

    @property
    def state(self) -> dict[Any, Any]:
        """A copy of the state of partition 0."""
        return self.state_of(0)

    def state_of(self, partition: int) -> dict[Any, Any]:
        """A copy of the state of a partition."""
        return self._unit(partition).instance.state()

    def timers(self, partition: int = 0) -> list[Timer]:
        """The timers of a partition that have not fired, in the order of their times and names."""
        return self._unit(partition).instance.sorted_timers()

    def failed(self, partition: int = 0) -> dict[int, BaseException]:
        """The exception of each record that failed since the instance was made, by offset; with `on_error="skip"`."""
        return self._unit(partition).instance.failed()

    def late(self, partition: int = 0) -> list[int]:
        """The offsets of the records that came too late since the instance was made."""
        return self._unit(partition).instance.late()

    def event_time(self, partition: int = 0) -> int:
        """The watermark of a partition, in milliseconds since the epoch."""
        return self._unit(partition).instance.watermark.time

    def processor(self, partition: int = 0) -> Processor:
        """The instance of the processor that has the partition."""
        return self._unit(partition).instance.processor

    def _unit(self, partition: int) -> _Unit:
        if partition not in self._units:
            instance = self._new(partition, Stored())
            instance.open()
            self._units[partition] = _Unit(instance, Saved(self._codec()))
        return self._units[partition]

    def _replace(self, unit: _Unit, partition: int) -> None:
        unit.instance.close()
        unit.instance = self._new(partition, unit.stored)
        unit.saved = Saved(self._codec(), unit.stored)
        unit.instance.open()
        self._fire_wall(unit)

    def _apply(self, unit: _Unit, step: Record | int) -> None:
        try:
            if isinstance(step, Record):
                unit.instance.apply(to_batch([step]), fast=self._fast, skip=self._skip)
            else:
                unit.instance.step(step)
                unit.instance.fire(skip=self._skip)
        finally:
            self.outputs += unit.instance.take_outputs()

    def _fire_wall(self, unit: _Unit) -> None:
        try:
            unit.instance.fire_wall(self._clock, skip=self._skip)
        finally:
            self.outputs += unit.instance.take_outputs()


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
    idle: Mapping[int, int] | None = None,
) -> Result:
    """Apply `records` to a new instance of `processor`, and return the state and the outputs.

    `records`: pairs (key, value), which get the offsets 0, 1, … of partition 0 of the topic `test`; or `Record`s of one
    partition. Keys and values are given as they are after deserializing. `state`: the state before the first record.
    `batches`: the number of records that each `process_batch` gets; None runs `process` for one record after the other.
    `on_error`: as in `framework run`; with `stop`, an exception of the processor is raised here, except
    `LateRecordError`.

    The timestamps of the records are the event times. `until`: after the last record, the watermark goes on to this
    time, in milliseconds since the epoch, as if a record of that event time came. `idle`: the same after other records,
    by their offsets, as with `--idle-after`. `out_of_order`: as `--out-of-order`, in milliseconds; None: as the
    processor declares.

    An `async def process` is run to its end, so this function cannot be called where an event loop runs.

    Raises `framework.UsageError` for records that are not of one partition in offset order and for batches without
    records, and pydantic's `ValidationError` for bad options.
    """
    if batches is not None and batches < 1:
        raise UsageError(f"a batch has at least one record, not {batches}")
    batch = to_batch(records)
    with Instance(
        processor, batch.topic_partition, options, Stored(state or {}), out_of_order=out_of_order
    ) as instance:
        for stretch, time in stretches(batch, idle, until):
            for piece in pieces(stretch, batches or 1):
                instance.apply(piece, fast=batches is not None, skip=on_error == "skip")
            if time is not None:
                instance.step(time)
                instance.fire(skip=on_error == "skip")
        return instance.take_result()
