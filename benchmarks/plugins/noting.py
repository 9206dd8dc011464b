"""keycount, which writes the time and number of the applied records of a partition to the file BENCHMARK_NOTES."""

import os
import time
from collections.abc import Sequence

from framework_keycount import KeyCount

from framework import Batch, Output, State, TopicPartition, hookimpl

__all__ = ["Noting", "framework_assigned", "framework_processors"]

_notes = os.open(os.environ["BENCHMARK_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def _note(partition: int, records: int) -> None:
    """Write a note at once, because this process may be killed."""
    os.write(_notes, f"{time.time()} {partition} {records}\n".encode())


class Noting(KeyCount):
    """Counts the records of each key."""

    def process_batch(self, batch: Batch, state: State[str | None, int], out: Output) -> None:
        super().process_batch(batch, state, out)
        _note(self.partition.partition, len(batch))


@hookimpl
def framework_processors() -> Sequence[type[Noting]]:
    return [Noting]


@hookimpl
def framework_assigned(plugin: str, partition: TopicPartition, last_offset: int, epoch: int) -> None:
    _note(partition.partition, 0)
