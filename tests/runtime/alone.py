"""A task alone: what a worker and a store do about it, without either."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from framework import Batch, Claim, Description, ProcessingError, Processor, Record, TopicPartition, Unit
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.dead_letters import DeadLetter
from framework.output import OutputRecord
from framework.policy import ErrorPolicy
from framework.runtime.applier import Rewind
from framework.runtime.failures import Retry
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import STATE_TABLE
from tests.runtime.played import Clock, definition_of, stored_unit

__all__ = [
    "BAD",
    "DEAD_LETTER",
    "FINE",
    "PROCESSORS",
    "SOURCE",
    "UNIT",
    "Alone",
    "AtOnce",
    "Both",
    "LateCheck",
    "OneByOne",
    "Steps",
    "act",
    "from_source",
    "to_wire",
]

SOURCE = TopicPartition("orders", 3)
UNIT = Unit("group", "plugin", *SOURCE)
DEAD_LETTER = ErrorPolicy("dead-letter", "orders-bad")


@dataclass
class Alone:
    """A task, the rows that it has saved, and what it has told."""

    processor: type[Processor]
    policy: ErrorPolicy
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)
    rows: list[bytes] = field(default_factory=list)
    failed: dict[int, ProcessingError] = field(default_factory=dict)
    reports: list[list[int]] = field(default_factory=list)
    outputs: list[OutputRecord] = field(default_factory=list)
    most_outputs: int = 0
    """The most that were held when the task gave the loop a turn."""
    rewinds: int = 0
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        definition = definition_of(
            self.processor,
            name="plugin",
            on_error=self.policy,
            on_records_failed=self._failed,
        )
        self.task = PartitionTask(
            UNIT,
            definition,
            Description("json", 1, 4, "cluster"),
            clock=self.clock,
            limits=self.limits,
            lifecycle=Lifecycle(),
        )
        self._stored: Claim = Claim(1, None)
        self._since_checkpoint: list[Batch] = []
        self._load()

    def _failed(self, plugin: str, partition: TopicPartition, errors: Mapping[int, ProcessingError]) -> None:
        assert (plugin, partition) == ("plugin", SOURCE)
        self.reports.append(list(errors))
        self.failed |= errors

    def _load(self) -> None:
        self.task.move(TaskStatus.LOADING)
        self.task.load(self._stored, fold_rows(JsonCodec(), self.rows))
        if self.task.position is None:
            self.task.start_at(0)
        self.task.move(TaskStatus.SEEKING)
        self.task.move(TaskStatus.RUNNING)

    def rewind(self) -> None:
        """Go back to the last checkpoint."""
        self.rewinds += 1
        self.task.drop()
        self.task.move(TaskStatus.ASSIGNED)
        self._load()

    async def apply(self, batch: Batch) -> None:
        """Apply a batch wholly, or up to where the policy stops; raises what it raises."""
        log = [batch]
        while log:
            try:
                await self.task.live.apply(log[0], self.breathe)
            except Rewind:
                self.rewind()
                log, self._since_checkpoint = [*self._since_checkpoint, batch], []
                continue
            except Retry as retry:
                self.waits.append(retry.at - self.clock.now)
                self.clock.now = retry.at
            else:
                self._since_checkpoint.append(log.pop(0))
            self.take_outputs()

    async def breathe(self) -> None:
        self.clock.now += 1
        self.take_outputs()

    def take_outputs(self) -> None:
        self.most_outputs = max(self.most_outputs, len(self.task.live.memory.outbox))
        with self.task.handing_over() as outputs:
            self.outputs += outputs

    async def checkpoint(self) -> None:
        checkpoint = await self.task.capture()
        if checkpoint is None:
            return
        self.rows += checkpoint.tables[STATE_TABLE].rows
        self.task.saved(checkpoint)
        self._since_checkpoint = []
        progress = checkpoint.own_progress
        self._stored = Claim(
            1, stored_unit(progress.last_offset, progress.position, unit=UNIT, version=checkpoint.version)
        )

    @property
    def sent(self) -> dict[tuple[str, ...], Any]:
        """The outputs after dropping repeats by their headers."""
        return {
            tuple((value or b"").decode() for _, value in output.headers[-2:]): output.value
            for output in self.outputs
            if output.topic == "out"
        }

    @property
    def letters(self) -> dict[int, DeadLetter]:
        read = [DeadLetter.of(_as_read(output)) for output in self.outputs if output.topic == "orders-bad"]
        return {letter.offset: letter for letter in read if letter is not None}


def _as_read(output: OutputRecord) -> Record:
    return Record(output.topic, 0, 0, 0, output.key, output.value, output.headers)


def from_source(records: Sequence[tuple[bytes | None, bytes | None]], at: int = 0) -> Batch:
    """A batch of these keys and values; timestamps and headers tell the offset."""
    offsets = list(range(at, at + len(records)))
    return Batch(
        SOURCE,
        at,
        at + len(records),
        offsets,
        [1_000 + offset for offset in offsets],
        [key for key, _ in records],
        [value for _, value in records],
        [(("of", b"%d" % offset),) for offset in offsets],
    )


# ---- processors that do what a record's value says

Steps = list[Any]
"""What a record does to the state and the output, as its JSON value says; `["fail"]` raises."""


def act(steps: Steps, key: str, state: Any, send: Callable[[Any], object]) -> None:
    """What every processor here does with a record."""
    while steps:
        step, *rest = steps.pop(0)  # in place: a record that is tried again must come fresh
        match step, rest:
            case "count", []:
                state[key] = state.get(key, 0) + 1 if isinstance(state.get(key, 0), int) else 1
            case "append", [item]:
                if not isinstance(state.get(key), list):
                    state[key] = []
                state[key].append({"item": item})
            case "deepen", [item]:
                for value in state.values():
                    if isinstance(value, list) and value:
                        value[-1]["deep"] = [*value[-1].get("deep", []), item]
            case "delete", [other]:
                state.pop(other, None)
            case "pop", []:
                if state:
                    state.pop(min(state))
            case "update", [items]:
                state.update(items)
            case "clear", []:
                state.clear()
            case "sort", []:
                for other, value in state.items():
                    if other != "d" and isinstance(value, list):
                        value.reverse()
            case "send", [item]:
                send(item)
            case "fail", []:
                raise ValueError("as told")
            case other:
                raise AssertionError(other)


class OneByOne(Processor):
    api_version = 1
    value_format = "json"

    def process(self, record, state, out):
        act(record.value, record.key, state, lambda item: out.send("out", item, key=record.key))


class OneByOneAsync(OneByOne):
    async def process(self, record, state, out):
        await asyncio.sleep(0)
        super().process(record, state, out)


class AtOnce(Processor):
    api_version = 1
    value_format = "json"

    def process_batch(self, batch, state, out):
        for position, record in enumerate(batch):
            act(record.value, record.key, state, partial(out.send, "out", position=position))


class Both(AtOnce):
    def process(self, record, state, out):
        act(record.value, record.key, state, lambda item: out.send("out", item))


class LateCheck(Both):
    """Changes everything first, then looks whether it should have."""

    def process_batch(self, batch, state, out):
        bad = [["fail"] in value for value in batch.values]
        for position, record in enumerate(batch):
            steps = [step for step in record.value if step != ["fail"]]
            act(steps, record.key, state, partial(out.send, "out", position=position))
        if any(bad):
            raise ValueError("one of them")


class Refusing(AtOnce):
    """Checks each record before it changes anything; what fails all the same, fails."""

    def process_batch(self, batch, state, out):
        for position, record in enumerate(batch):
            if ["fail"] in record.value and record.offset % 3:
                out.refuse(position, ValueError("as told"))
            else:
                act(record.value, record.key, state, partial(out.send, "out", position=position))


class RefusingBoth(Refusing, Both):
    """With `process`, too."""


PROCESSORS = [OneByOne, OneByOneAsync, AtOnce, Both, LateCheck, Refusing, RefusingBoth]


def to_wire(key: str, steps: Steps) -> tuple[bytes, bytes]:
    return key.encode(), JsonCodec().encode([list(step) for step in steps])


BAD = to_wire("b", [["count"], ["fail"]])
FINE = to_wire("a", [["count"]])
