"""Writes states with a given number of keys to the sqlite store, through the runtime's own captures."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.probes.protocol import read_task, report
from framework.plugins import load
from framework.runtime.capture import BaseBudget, Capture
from framework.runtime.limits import Limits
from framework.stores import STATE_TABLE, Checkpoint, Description, Progress, Unit
from framework.stores.sqlite import SqliteStore
from framework.table import Table

__all__ = ["numbered_keys"]

_ROWS: Final = 200
"""A row of changes has one key in this number, if there are rows of changes."""
_MOST_ROW_BYTES: Final = 0.9
"""The part of the base's size that rows of changes may have. Larger rows would begin a new base."""


def numbered_keys(keys: int, partition: int, partitions: int) -> Iterator[tuple[str, int]]:
    """The state of a partition: its share of the keys, each with a different count."""
    return ((f"key-{number:06d}", number) for number in range(partition, keys, partitions))


@dataclass(slots=True)
class _Writer:
    """Writes one unit."""

    store: SqliteStore
    unit: Unit
    description: Description
    capture: Capture
    table: Table[str, int]
    epoch: int
    version: int = 0

    async def base(self) -> int:
        """Write the whole state as a base. Returns its size in bytes."""
        self.capture.rewrites = True
        return await self._save()

    async def rows(self, most_bytes: float) -> None:
        """Write changes, row by row."""
        keys = list(self.table)
        chance = random.Random(self.unit.partition)  # noqa: S311 - repeatable from its seed
        written = 0
        while written < most_bytes:
            changed = chance.sample(keys, max(1, len(keys) // _ROWS))
            self.table.update(dict.fromkeys(changed, written))
            written += await self._save()

    async def _save(self) -> int:
        changes = await self.capture.take(self.table, BaseBudget(Limits().base_keys))
        self.version += 1
        progress = {self.unit.topic_partition: Progress(position=0)}
        checkpoint = Checkpoint(self.unit, self.epoch, self.version, progress, self.description, {STATE_TABLE: changes})
        (outcome,) = self.store.save([checkpoint])
        if outcome.error is not None:
            raise outcome.error
        return sum(len(row) for row in (*changes.base, *changes.rows))


async def _write(task: dict[str, Any]) -> None:
    codec = load([]).codec(task["codec"])()
    store = SqliteStore(Path(task["directory"]))
    partitions = task["partitions"]
    for partition in range(partitions):
        unit = Unit(task["group"], task["plugin"], task["topic"], partition)
        [claim] = store.claim([unit], lambda unit, stored: None)
        writer = _Writer(
            store,
            unit,
            Description(codec.name, 1, partitions, None),
            Capture(codec, time.monotonic, Limits(), keeps_rows=True),
            Table(dict(numbered_keys(task["keys"], partition, partitions))),
            claim.epoch,
        )
        base_bytes = await writer.base()
        if task["rows"]:
            await writer.rows(_MOST_ROW_BYTES * base_bytes)
    store.close()


if __name__ == "__main__":
    asyncio.run(_write(read_task()))
    report(None)
