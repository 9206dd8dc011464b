"""What tests of the runtime play: Kafka, a store, a clock; and what they make of them: tasks, batches, workers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pluggy

from framework import hookspecs
from framework.changes import fold_rows
from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.event_time import EventTimeChoice
from framework.observers import Observers
from framework.output import OutputRecord
from framework.plugins import load
from framework.policy import ErrorPolicy
from framework.processor import Processor
from framework.records import Batch, Record, TopicPartition
from framework.runtime.definition import Definition
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.loader import Loader
from framework.runtime.ports import Committed, Fetched, LogEnd, LogRange, Place, SourceListener
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.worker import Worker
from framework.runtime.writers import MakeFormat, Writers
from framework.stores import (
    STATE_TABLE,
    Accept,
    Checkpoint,
    Claim,
    Description,
    Outcome,
    Progress,
    StoredTable,
    StoredUnit,
    Unit,
)
from framework.stores.memory import MemoryStore

__all__ = [
    "DESCRIPTION",
    "KINDS",
    "NO_WRITERS",
    "PARTITION",
    "UNIT",
    "Clock",
    "Count",
    "Faults",
    "Played",
    "PlayedSink",
    "PlayedSource",
    "PlayedStore",
    "Unspeakable",
    "breathe",
    "captured",
    "definition_of",
    "make_batch",
    "make_task",
    "observers_of",
    "rows_of",
    "run_io",
    "running",
    "stored_unit",
    "to_batch",
    "until",
]

PARTITION = TopicPartition("topic", 0)
UNIT = Unit("group", "count", *PARTITION)
DESCRIPTION = Description("json", 1, 3, "cluster")


class Unspeakable(Exception):  # noqa: N818 - it is planted
    """Whoever makes a text of it gets another error."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


KINDS: Sequence[type[BaseException]] = [
    ValueError,
    MemoryError,
    AssertionError,
    StopIteration,
    SystemExit,
    GeneratorExit,
    asyncio.CancelledError,
    Unspeakable,
]
"""Kinds of exceptions that a call across a border may raise although nobody named them."""


class Clock:
    """Stands still, or goes on by `step` whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Count(Processor):
    """Counts by key; a value `bad` fails half-way, a value `send` sends."""

    api_version = 1

    def process(self, record, state, out):
        if record.value == b"bad":
            state["half"] = "done"
            raise ValueError("no good")
        if record.value == b"send":
            out.send("other", "x", key=record.key)
        state[record.key] = state.get(record.key, 0) + 1


# ---- records


def make_batch(
    keys: Sequence[str | bytes | None],
    *,
    at: int = 0,
    values: Sequence[bytes | None] | None = None,
    start: int | None = None,
    partition: TopicPartition = PARTITION,
) -> Batch:
    """A batch as it comes from Kafka, with offsets from `at` on."""
    count = len(keys)
    return Batch(
        partition,
        at if start is None else start,
        at + count,
        list(range(at, at + count)),
        [0] * count,
        [key.encode() if isinstance(key, str) else key for key in keys],
        values or [b"v"] * count,
        [()] * count,
    )


def to_batch(records: Sequence[Record]) -> Batch:
    """These records, which are of one partition and follow each other, as a batch."""
    first, last = records[0], records[-1]
    columns: Any = zip(*[record[2:] for record in records], strict=True)
    return Batch(TopicPartition(*first[:2]), first.offset, last.offset + 1, *map(list, columns))


# ---- tasks

NO_WRITERS = Writers({}, load([]).format)
"""Outputs are encoded as usual."""


def definition_of(
    processor: type[Processor] = Count,
    *,
    name: str = "count",
    codec: Codec | None = None,
    on_error: ErrorPolicy | None = None,
    keeps_rows: bool = True,
    key_format: str | None = None,
    value_format: str | None = None,
    on_records_failed: Callable[..., None] = lambda *told: None,
    make_format: MakeFormat | None = None,
    event_time: EventTimeChoice | None = None,
    wall: Callable[[], float] = lambda: 0.0,
) -> Definition:
    formats = Formats.of(
        processor, None, FormatChoice(key=key_format, value=value_format), make_format or load([]).format
    )
    return Definition(
        name=name,
        processor=processor,
        options=None,
        codec=codec or JsonCodec(),
        formats=formats,
        time=TimeSettings.of(processor, None, event_time or EventTimeChoice(), formats.value, wall),
        on_error=on_error or ErrorPolicy(),
        keeps_rows=keeps_rows,
        on_records_failed=on_records_failed,
    )


def make_task(
    processor: type[Processor] = Count,
    *,
    clock: Callable[[], float] | None = None,
    limits: Limits | None = None,
    lifecycle: Lifecycle | None = None,
    description: Description = DESCRIPTION,
    partition: TopicPartition = PARTITION,
    **chosen: Any,
) -> PartitionTask:
    """A task that is assigned; `chosen` is for its `definition_of`."""
    definition = definition_of(processor, **chosen)
    return PartitionTask(
        Unit("group", definition.name, *partition),
        definition,
        description,
        clock=clock or Clock(1.0),
        limits=limits or Limits(),
        lifecycle=lifecycle or Lifecycle(),
    )


def stored_unit(
    last_offset: int = -1,
    position: int | None = 0,
    *,
    unit: Unit = UNIT,
    epoch: int = 1,
    version: int = 1,
    description: Description | None = DESCRIPTION,
    base_bytes: int = 0,
    row_bytes: int = 0,
    **others: Any,
) -> StoredUnit:
    """A unit with one checkpoint; `others` is for its progress."""
    progress = Progress(last_offset, position, **others)
    return StoredUnit(
        unit,
        epoch,
        version,
        description,
        {unit.topic_partition: progress},
        tables={STATE_TABLE: StoredTable(0, base_bytes + row_bytes, base_bytes)},
    )


def running(task: PartitionTask, claim: Claim | None = None, data: dict[Any, Any] | None = None) -> PartitionTask:
    """Take an assigned task to where it applies records."""
    task.move(TaskStatus.LOADING)
    task.load(claim or Claim(1, None), {} if data is None else data)
    if task.position is None:
        task.start_at(0)
    task.move(TaskStatus.SEEKING)
    task.move(TaskStatus.RUNNING)
    return task


async def captured(task: PartitionTask) -> Checkpoint:
    checkpoint = await task.capture()
    assert checkpoint is not None
    return checkpoint


def rows_of(checkpoint: Checkpoint) -> list[Any]:
    """The rows of its state, decoded."""
    return [JsonCodec().decode(row) for row in checkpoint.tables[STATE_TABLE].rows]


async def breathe() -> None:
    await asyncio.sleep(0)


# ---- borders


class Faults:
    """Exceptions that are planted at borders."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """Borders that were crossed, in order."""
        self._planted: dict[str, Iterator[BaseException | None]] = {}

    def plant(self, border: str, *errors: BaseException | None) -> None:
        """The next calls raise these; None stands for a call that is well."""
        self._planted[border] = iter(errors)

    def cross(self, border: str) -> None:
        self.calls.append(border)
        error = next(self._planted.get(border, iter(())), None)
        if error is not None:
            raise error


async def run_io(function: Callable[..., Any], *args: Any) -> Any:
    await asyncio.sleep(0)
    return function(*args)


class PlayedStore(MemoryStore):
    """A memory store that may survive, and that raises what is planted, before and after it did something."""

    def __init__(self, faults: Faults | None = None, *, survives: bool = True) -> None:
        super().__init__()
        self.survives = survives  # type: ignore[misc]
        self.faults = faults or Faults()
        self.saved: list[Sequence[Checkpoint]] = []
        """What it was asked to save, by call."""
        self.answers: Callable[[list[Outcome]], list[Outcome]] = lambda outcomes: outcomes
        """What it says to a save instead."""

    def id_of(self, group: str) -> str:
        self.faults.cross("store.id_of")
        return super().id_of(group)

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        self.faults.cross("store.claim")
        claims = super().claim(units, accept)
        self.faults.cross("store.claim, after")
        return claims

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        self.faults.cross("store.load")
        for row in super().load(unit, epoch):
            self.faults.cross("store.load, a row")
            yield row

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        self.saved.append(checkpoints)
        self.faults.cross("store.save")
        outcomes = super().save(checkpoints)
        self.faults.cross("store.save, after")
        return self.answers(outcomes)

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        self.faults.cross("store.set_aside")
        return super().set_aside(unit, epoch)

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        self.faults.cross("store.stored")
        return super().stored(group)


class PlayedSink:
    """A producer that everything arrives from."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.sent: list[OutputRecord] = []
        self.may_take, self.may_flush = asyncio.Event(), asyncio.Event()
        self.may_take.set()
        self.may_flush.set()

    async def send(self, records: Sequence[OutputRecord]) -> None:
        self.faults.cross("sink.send")
        await self.may_take.wait()
        self.sent += records
        self.faults.cross("sink.send, after")

    def flushed(self) -> Awaitable[None]:
        self.faults.cross("sink.flushed, called")
        return _Flushed(self)

    async def stop(self) -> None:
        self.faults.cross("sink.stop")


@dataclass
class _Flushed(Awaitable[None]):
    sink: PlayedSink

    def __await__(self) -> Generator[Any, None, None]:
        yield from self.sink.may_flush.wait().__await__()
        self.sink.faults.cross("sink.flushed")


class PlayedSource:
    """A consumer, alone in its group, and the logs that it reads."""

    def __init__(self, faults: Faults | None = None, logs: Mapping[TopicPartition, LogRange] | None = None) -> None:
        self.assignment = 0
        self.faults = faults or Faults()
        self.logs = dict(logs or {PARTITION: LogRange(0, 10, "id")})
        """What is in the logs; the value of each record is its offset, but for those in `values`."""
        self.values: dict[Place, bytes] = {}
        self.records: dict[Place, Record] = {}
        """What `records_at` finds instead."""
        self.asked: list[Place] = []
        self.offsets: dict[TopicPartition, Committed] = {}
        """What the group has committed."""
        self.flowing: dict[TopicPartition, int] = {}
        self.listener: SourceListener | None = None
        self.answers = count()
        """Tells the answers of the broker apart."""

    def record(self, partition: TopicPartition, offset: int) -> Record:
        value = self.values.get((partition, offset), b"%d" % offset)
        return Record(*partition, offset, 1000 + offset, b"key", value)

    async def start(self, listener: SourceListener) -> None:
        self.faults.cross("source.start")
        self.listener = listener
        self.assign()

    def assign(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """The group gives these partitions, or all."""
        assert self.listener is not None
        self.assignment += 1
        self.listener.on_assigned(dict.fromkeys(self.logs if partitions is None else partitions, 3))

    async def revoke(self) -> None:
        """The group takes all partitions away, and waits until they are handed over."""
        assert self.listener is not None
        self.assignment += 1
        await self.listener.on_revoked(list(self.logs))
        self.flowing.clear()

    async def fetch(self, patience: float) -> Fetched:
        self.faults.cross("source.fetch")
        await asyncio.sleep(0)
        batches = []
        for partition, position in self.flowing.items():
            end = self.logs[partition].end
            if position < end:
                batches.append(to_batch([self.record(partition, offset) for offset in range(position, end)]))
                self.flowing[partition] = end
        return Fetched(batches, self.assignment)

    def hold(self, partition: TopicPartition) -> None:
        self.faults.cross("source.hold")
        self.flowing.pop(partition, None)

    def release(self, partition: TopicPartition, position: int) -> None:
        self.faults.cross("source.release")
        self.flowing[partition] = position

    def log_ends(self) -> dict[TopicPartition, LogEnd]:
        self.faults.cross("source.log_ends")
        return {partition: LogEnd(log.end, next(self.answers)) for partition, log in self.logs.items()}

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        self.faults.cross("source.log_ranges")
        return {partition: self.logs[partition] for partition in partitions}

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        self.faults.cross("source.records_at")
        self.asked += places
        return {place: self.records[place] for place in places if place in self.records}

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        self.faults.cross("source.positions_at")
        return dict.fromkeys(partitions, timestamp)

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        self.faults.cross("source.committed")
        return {partition: self.offsets[partition] for partition in partitions if partition in self.offsets}

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        self.faults.cross("source.commit")
        self.offsets |= offsets

    async def stop(self) -> None:
        self.faults.cross("source.stop")


def observers_of(*plugins: Any) -> Observers:
    manager = pluggy.PluginManager("framework")
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    return Observers(manager)


# ---- workers


@dataclass
class Played:
    """A worker over all that is played."""

    processors: Sequence[type[Processor]] = (Count,)
    on_error: ErrorPolicy = field(default_factory=ErrorPolicy)
    interval: float = 1000.0
    limits: Limits = field(default_factory=lambda: Limits(fetch_seconds=0.0, look_seconds=0.0))
    patience: float = 0.0
    faults: Faults = field(default_factory=Faults)
    observers: Sequence[Any] = ()
    store: PlayedStore | None = None
    given_up: list[str] = field(default_factory=list)
    make_format: MakeFormat | None = None
    wall: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        self.own_store = self.store or PlayedStore(self.faults)
        self.source = PlayedSource(self.faults)
        self.sink = PlayedSink(self.faults)
        self.worker = self._worker()

    def _worker(self) -> Worker:
        observers = observers_of(*self.observers)
        return Worker(
            group="group",
            cluster_id="cluster",
            definitions=[
                definition_of(
                    processor,
                    name=processor.name or processor.__name__.lower(),
                    on_error=self.on_error,
                    make_format=self.make_format,
                    wall=self.wall,
                )
                for processor in self.processors
            ],
            source=self.source,
            sink=self.sink,
            store=self.own_store,
            loader=Loader(self.source, self.own_store, run_io, "earliest", "stop", "stop", False, observers),
            run_io=run_io,
            observers=observers,
            checkpoint_interval=self.interval,
            fenced_patience=self.patience,
            limits=self.limits,
            give_up=self.given_up.append,
        )

    def start(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.worker.run())

    async def run_to_end(self) -> None:
        """Work until all that the logs hold is stored."""
        self.worker.stop_when({partition: log.end for partition, log in self.source.logs.items()})
        await self.worker.run()

    def stored_state(self, plugin: str = "count", partition: TopicPartition = PARTITION) -> dict[Any, Any]:
        rows = super(PlayedStore, self.own_store).load(Unit("group", plugin, *partition))
        return fold_rows(JsonCodec(), [row for _, row in rows])

    def stored_offset(self, plugin: str = "count", partition: TopicPartition = PARTITION) -> int:
        units = {each.unit: each for each in super(PlayedStore, self.own_store).stored()}
        unit = Unit("group", plugin, *partition)
        return units[unit].own_progress.last_offset if unit in units else -1


async def until(condition: Callable[[], Any]) -> None:
    """Give the event loop turns until this is true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0)
