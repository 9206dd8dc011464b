"""Restores the states in a directory, as the runtime does after a start."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from benchmarks.probes.protocol import read_task, report
from benchmarks.probes.stalls import StallProbe
from benchmarks.probes.tasks import GROUP, keycount_assignment
from framework.plugins import load
from framework.records import TopicPartition
from framework.runtime.assignment import Assignment
from framework.runtime.collector import quiet_collector
from framework.runtime.io import IOThread
from framework.runtime.loader import Loader
from framework.runtime.ports import Committed, LogRange, Source
from framework.stores.sqlite import SqliteStore

_IDLE: Final = 1.0
"""Time without work, to measure the machine's own effect on the event loop, in seconds."""


class _Log:
    """The part of a source that a loader uses: logs without records and without committed offsets."""

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        return dict.fromkeys(partitions, LogRange(0, 0))

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        return {}


async def _restore(task: dict[str, Any]) -> dict[str, Any]:
    store = SqliteStore(Path(task["directory"]))
    stored = store.stored(GROUP)
    assignment = keycount_assignment(task["codec"])
    with IOThread() as run_io, quiet_collector():
        source, observers = cast(Source, _Log()), load([]).observers
        loader = Loader(source, store, run_io, "earliest", "stop", "stop", embedded=False, observers=observers)
        async with StallProbe() as probe:
            await asyncio.sleep(_IDLE)
            idle, memory = probe.take(), _memory()
            began, computed = time.perf_counter(), time.process_time()
            await loader.load({each.partition: [each] for each in assignment.tasks}, lambda partition: None)
            seconds, cpu = time.perf_counter() - began, time.process_time() - computed
            stall, memory = probe.take(), _memory() - memory
            await _go_elsewhere(assignment)
            drop = probe.take()
    return {
        "keys": sum(unit.keys for unit in stored),
        "bytes": sum(unit.bytes for unit in stored),
        "seconds": seconds,
        "cpu": cpu,
        "memory": memory,
        "stall": stall.seconds,
        "stall_cpu": stall.cpu_seconds,
        "drop": drop.seconds,
        "idle_stall": idle.seconds,
    }


async def _go_elsewhere(assignment: Assignment) -> None:
    """A rebalance that revokes all partitions. Returns when the memory of the states is freed."""
    before = asyncio.all_tasks()
    assignment.let_go()
    assignment.take_up({})
    await asyncio.gather(*(asyncio.all_tasks() - before))


def _memory() -> int:
    """The memory of this process, in bytes, on Linux; 0 elsewhere."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    report(asyncio.run(_restore(read_task())))
