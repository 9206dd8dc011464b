"""keycount over records whose values are their creation times. It notes for some records how long they waited.

BENCHMARK_NOTES names the file: a line for each of these records, with the times when it was created, applied
and stored, in nanoseconds since the epoch.
"""

import atexit
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from framework_keycount import KeyCount

from framework import Batch, Output, State, TopicPartition, hookimpl

__all__ = ["Waiting", "framework_assigned", "framework_checkpoint_saved", "framework_processors"]

_SAMPLES: Final = 20
"""Largest number of records of a batch to note."""

_path: Final = Path(os.environ["BENCHMARK_NOTES"])
_applied: Final[dict[int, deque[tuple[int, int, int]]]] = {}
"""For each partition: offsets, creation times and times of application."""
_stored: Final[list[tuple[int, int, int]]] = []


class Waiting(KeyCount):
    """Counts the records of each key."""

    def process_batch(self, batch: Batch, state: State[str | None, int], out: Output) -> None:
        super().process_batch(batch, state, out)
        now, step = time.time_ns(), -(-len(batch) // _SAMPLES)
        samples = _applied.setdefault(self.partition.partition, deque())
        for offset, value in zip(batch.offsets[::step], batch.values[::step], strict=True):
            samples.append((offset, int(value), now))


@hookimpl
def framework_processors() -> Sequence[type[Waiting]]:
    return [Waiting]


@hookimpl
def framework_assigned(plugin: str, partition: TopicPartition, last_offset: int, epoch: int) -> None:
    with _path.open("a") as notes:
        notes.write(f"{time.time()} {partition.partition} 0\n")


@hookimpl
def framework_checkpoint_saved(plugin: str, partition: TopicPartition, last_offset: int, changes: int) -> None:
    now, samples = time.time_ns(), _applied.get(partition.partition, deque())
    while samples and samples[0][0] <= last_offset:
        _, made, applied = samples.popleft()
        _stored.append((made, applied, now))


@atexit.register
def _write() -> None:
    _path.with_name("waits").write_text("".join(f"{made} {applied} {now}\n" for made, applied, now in _stored))
