"""A unit that lives through checkpoints and crashes, with records that have event times."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from framework import Batch, Claim, Processor
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.timers import UnitTimers
from framework.stores import EXPIRY_TABLE, STATE_TABLE, TIMERS_TABLE, StoredTable, StoredUnit
from tests.runtime.played import DESCRIPTION, PARTITION, UNIT, make_task

__all__ = ["Life", "Row", "batch_of"]

Row = tuple[str, int, int]
"""Key, event time, and a number."""


class Crash(Exception):  # noqa: N818 - the process is gone
    pass


class Life:
    """A unit that is stored at some pauses and crashes at others."""

    def __init__(self, processor: type[Processor], rows: list[Row], sizes: list[int], plan: list[str]) -> None:
        self.processor, self.rows, self.sizes, self.plan = processor, rows, sizes, list(plan)
        self.stored: StoredUnit | None = None
        self.tables: dict[str, list[bytes]] = {STATE_TABLE: [], TIMERS_TABLE: [], EXPIRY_TABLE: []}
        self.sent: dict[Any, bytes | None] = {}
        self.task: PartitionTask = self.load()

    def load(self) -> PartitionTask:
        limits = Limits(slice_seconds=-1.0, look_records=1, first_piece_records=2, piece_records=3)
        task = make_task(self.processor, limits=limits)
        state, timers, written = (fold_rows(JsonCodec(), rows) for rows in self.tables.values())
        made = UnitTimers(timers)
        in_pieces(made.index, timers.items())
        expiry = task.new_expiry(self.stored, written)
        if expiry is not None:
            in_pieces(expiry.index, written.items())
        task.move(TaskStatus.LOADING)
        task.load(Claim(1, self.stored), state, made, expiry)
        if task.position is None:
            task.start_at(0)
        task.move(TaskStatus.SEEKING)
        task.move(TaskStatus.RUNNING)
        return task

    async def breathe(self) -> None:
        self.send()
        match self.plan.pop() if self.plan else "go on":
            case "store":
                await self.store()
            case "crash":
                raise Crash

    def send(self) -> None:
        with self.task.handing_over() as outputs:
            for output in outputs:
                place = output.headers[-2:]
                assert self.sent.setdefault(place, output.value) == output.value, "a repeat differs"

    async def store(self) -> None:
        checkpoint = await self.task.capture()
        if checkpoint is None:
            return
        for name, changes in checkpoint.tables.items():
            self.tables[name] += changes.rows
        self.task.saved(checkpoint)
        tables = {name: StoredTable(changes.keys, 0, 0) for name, changes in checkpoint.tables.items()}
        self.stored = StoredUnit(
            UNIT, 1, checkpoint.version, DESCRIPTION, checkpoint.progress, checkpoint.event_time, tables
        )

    async def live(self) -> None:
        number = 0
        while (position := self.task.position or 0) < len(self.rows):
            size, number = self.sizes[number % len(self.sizes)], number + 1
            try:
                await self.task.live.apply(batch_of(self.rows[: position + size]), self.breathe)
                await self.task.live.fire(self.breathe)
                await self.breathe()
            except Crash:
                self.task = self.load()
        self.plan = []
        await self.task.live.fire(self.breathe)
        self.send()


def in_pieces(step: Callable[[Iterator[Any], int], int], entries: Iterable[Any]) -> None:
    left = iter(list(entries))
    while step(left, 1):
        pass


def batch_of(rows: list[Row], values: list[bytes] | None = None) -> Batch:
    return Batch(
        PARTITION,
        0,
        len(rows),
        range(len(rows)),
        [time for _, time, _ in rows],
        [key.encode() for key, _, _ in rows],
        values or [str(delay).encode() for _, _, delay in rows],
        [()] * len(rows),
    )
