"""Writes states that count so many keys in the sqlite store, through the runtime's own captures."""

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
from framework.state import State
from framework.stores import Checkpoint, Description, Unit
from framework.stores.sqlite import SqliteStore

__all__ = ["numbered_keys"]

_ROWS: Final = 200
"""A row of changes holds this part of the keys, if there are rows of changes at all."""
_MOST_ROW_BYTES: Final = 0.9
"""Of the base's; where rows outweigh the base, a new one would begin."""


def numbered_keys(keys: int, partition: int, partitions: int) -> Iterator[tuple[str, int]]:
    """What a partition's state holds: its share of the keys, each with a count of its own."""
    return ((f"key-{number:06d}", number) for number in range(partition, keys, partitions))


@dataclass(slots=True)
class _Writer:
    """Writes one unit."""

    store: SqliteStore
    unit: Unit
    description: Description
    capture: Capture
    state: State[str, int]
    epoch: int

    async def base(self) -> int:
        """Write it all as a base; gives its bytes."""
        self.capture.rewrites = True
        return await self._save()

    async def rows(self, most_bytes: float) -> None:
        """Write changes, row by row."""
        keys = list(self.state)
        chance = random.Random(self.unit.partition)  # noqa: S311 - the same again from its seed
        written = 0
        while written < most_bytes:
            changed = chance.sample(keys, max(1, len(keys) // _ROWS))
            self.state.update(dict.fromkeys(changed, written))
            written += await self._save()

    async def _save(self) -> int:
        checkpoint = Checkpoint(
            self.unit, self.epoch, -1, -1, position=0, keys=len(self.state), description=self.description
        )
        filled = await self.capture.fill(checkpoint, self.state, BaseBudget())
        (outcome,) = self.store.save([filled])
        if outcome is not None:
            raise outcome
        return sum(len(row) for row in (*filled.base, *filled.rows))


async def _write(task: dict[str, Any]) -> None:
    codec = load([]).codec(task["codec"])()
    store = SqliteStore(Path(task["directory"]))
    partitions = task["partitions"]
    for partition in range(partitions):
        unit = Unit(task["group"], task["plugin"], task["topic"], partition)
        writer = _Writer(
            store,
            unit,
            Description(codec.name, 1, partitions, None),
            Capture(codec, time.monotonic, keeps_rows=True),
            State(dict(numbered_keys(task["keys"], partition, partitions))),
            store.claim(unit, lambda _: None).epoch,
        )
        base_bytes = await writer.base()
        if task["rows"]:
            await writer.rows(_MOST_ROW_BYTES * base_bytes)
    store.close()


if __name__ == "__main__":
    asyncio.run(_write(read_task()))
    report(None)
