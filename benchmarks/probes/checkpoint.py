"""Checkpoints of a state of many keys, one after the other, as the worker stores them."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.probes.protocol import read_task, report
from benchmarks.probes.stalls import StallProbe
from benchmarks.probes.states import numbered_keys
from benchmarks.probes.tasks import PARTITIONS, keycount_assignment
from framework.records import Batch, TopicPartition
from framework.runtime.collector import quiet_collector
from framework.runtime.io import IOThread
from framework.runtime.task import TaskStatus
from framework.stores import Checkpoint, Claim, StoredUnit, Unit
from framework.stores.sqlite import SqliteStore

_WARM_UP: Final = 3
_IDLE: Final = 1.0
"""Time without work, to measure the machine's own effect on the event loop, in seconds."""
_PAUSE: Final = 0.01
"""Time between two checkpoints, in seconds."""
_MANY_BYTES: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class _Measured:
    """A checkpoint of all partitions."""

    capture: float
    save: float
    cpu: float
    """CPU time of all threads of the process during both, in seconds."""
    bytes: int
    stall: float
    stall_cpu: float
    folds: bool
    """Whether it had pieces of a new base."""


class _Bench:
    """Tasks over all partitions, and a store."""

    def __init__(self, directory: Path, codec: str, keys: int, run_io: IOThread, probe: StallProbe) -> None:
        self._keys = keys
        self._chance = random.Random(1)  # noqa: S311 - repeatable from its seed
        self._run_io = run_io
        self._probe = probe
        self._store = SqliteStore(directory)
        self._tasks = keycount_assignment(codec).tasks

    async def start(self) -> None:
        """Fill the memory of all tasks, and set them to running."""
        for task in self._tasks:
            [claim] = await self._run_io(self._store.claim, [task.unit], _accept)
            task.move(TaskStatus.LOADING)
            task.load(claim, dict(numbered_keys(self._keys, task.unit.partition, PARTITIONS)))
            task.start_at(0)
            task.move(TaskStatus.SEEKING)
            task.move(TaskStatus.RUNNING)

    async def fold(self, changes: int) -> list[_Measured]:
        """Checkpoint until each task has a new base. It begins with the task's first checkpoint that has changes."""
        for stored in self._store.stored():
            task = self._tasks[stored.unit.partition]
            task.keep(Claim(task.epoch, _as_if_of_rows(stored)))
        measured = [await self.checkpoint(changes)]
        while measured[-1].folds:
            measured.append(await self.checkpoint(changes))
        return measured[:-1]

    async def checkpoint(self, changes: int) -> _Measured:
        """Apply records of this number of keys, and store their changes."""
        await self._apply(changes)
        await asyncio.sleep(_PAUSE)
        self._probe.take()
        began, computed = time.perf_counter(), time.process_time()
        captured = [found for task in self._tasks if (found := await task.capture()) is not None]
        between = time.perf_counter()
        outcomes = await self._run_io(self._store.save, captured)
        ended, computed = time.perf_counter(), time.process_time() - computed
        for checkpoint, outcome in zip(captured, outcomes, strict=True):
            if outcome.error is not None:
                raise outcome.error
            self._tasks[checkpoint.unit.partition].saved(checkpoint)
        stall = self._probe.take()
        folds = any(changes.base for checkpoint in captured for changes in checkpoint.tables.values())
        return _Measured(between - began, ended - between, computed, _size(captured), *stall, folds)

    async def _apply(self, changes: int) -> None:
        changed: list[list[bytes]] = [[] for _ in self._tasks]
        for number in self._chance.sample(range(self._keys), min(changes, self._keys)):
            changed[number % PARTITIONS].append(b"key-%06d" % number)
        for task, keys in zip(self._tasks, changed, strict=True):
            if keys:
                await task.live.apply(_batch(task.partition, task.position or 0, keys), _breathe)


def _accept(unit: Unit, stored: StoredUnit | None) -> None:
    """Accept each claim, because the store is empty."""


def _as_if_of_rows(stored: StoredUnit) -> StoredUnit:
    """Make a task begin a new base."""
    tables = {name: replace(table, base_bytes=0, bytes=_MANY_BYTES) for name, table in stored.tables.items()}
    return replace(stored, tables=tables)


def _batch(partition: TopicPartition, start: int, keys: Sequence[bytes]) -> Batch:
    count = len(keys)
    offsets = range(start, start + count)
    return Batch(partition, start, start + count, offsets, [0] * count, keys, [b""] * count, [()] * count)


async def _breathe() -> None:
    await asyncio.sleep(0)


def _size(captured: Sequence[Checkpoint]) -> int:
    tables = [changes for checkpoint in captured for changes in checkpoint.tables.values()]
    return sum(len(row) for changes in tables for row in (*changes.rows, *changes.base))


async def _measure(task: dict[str, Any]) -> dict[str, Any]:
    with IOThread() as run_io, quiet_collector():
        async with StallProbe() as probe:
            await asyncio.sleep(_IDLE)
            idle = probe.take()
            bench = _Bench(Path("state"), task["codec"], task["keys"], run_io, probe)
            await bench.start()
            phases = [await _phase(bench, task, name, changes) for name, changes in _plan(task)]
            return {"idle": idle, "phases": phases}


def _plan(task: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and changes of each phase. The first base is the state's; the second leaves the first to be swept."""
    yield "new base", task["usual_changes"]
    for changes in task["changes"]:
        yield "changes", changes
    yield "new base", task["usual_changes"]
    yield "sweep", task["usual_changes"]


async def _phase(bench: _Bench, task: dict[str, Any], name: str, changes: int) -> dict[str, Any]:
    if name == "new base":
        measured = await bench.fold(changes)
    else:
        if name == "changes":
            for _ in range(_WARM_UP):
                await bench.checkpoint(changes)
        measured = [await bench.checkpoint(changes) for _ in range(task["checkpoints"])]
    return {"phase": name, "changes": changes, "checkpoints": [asdict(one) for one in measured]}


if __name__ == "__main__":
    report(asyncio.run(_measure(read_task())))
