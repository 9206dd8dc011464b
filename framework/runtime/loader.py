"""The loader: brings the tasks of an assignment from assigned to seeking, outside the rebalance callback."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from framework.checkpoint import fold_rows
from framework.codecs import Codec
from framework.errors import OffsetOutOfRangeError, RecordsLostError, StateCorruptError
from framework.records import TopicPartition
from framework.runtime.io import RunIO
from framework.runtime.source import Source
from framework.runtime.task import LogRange, OnOutOfRange, PartitionTask, TaskStatus
from framework.stores import Claim, Store

__all__ = ["Loader", "Start"]

log = logging.getLogger("framework")

Start = Literal["earliest", "latest"] | int
"""Where a partition without state begins; an int is a timestamp in milliseconds since the epoch."""

_FOLD_SECONDS: Final = 0.05
"""Seconds of loading in one go; between two, other work gets the store's thread."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Claims units, loads their rows, and settles where reading goes on."""

    source: Source
    store: Store
    run_io: RunIO
    start: Start
    on_out_of_range: OnOutOfRange
    embedded: bool
    """On the embedded broker, offsets that are gone were dropped by it: an error whatever the policy."""

    async def load(
        self, assigned: Mapping[TopicPartition, Sequence[PartitionTask]], ready: Callable[[TopicPartition], None]
    ) -> None:
        """Load all tasks; `ready` is called for each partition when its tasks are."""
        claims = {task: await self._claim(task) for tasks in assigned.values() for task in tasks}
        ranges = await self.source.log_ranges(list(assigned))

        def must_load(partition: TopicPartition) -> bool:
            return not all(task.holds(claims[task]) for task in assigned[partition])

        for partition in sorted(assigned, key=must_load):
            for task in assigned[partition]:
                await self._load(task, claims[task])
                await self._settle(task, ranges[partition])
                task.move(TaskStatus.SEEKING)
            ready(partition)

    async def _claim(self, task: PartitionTask) -> Claim:
        if task.status is TaskStatus.ASSIGNED:
            task.move(TaskStatus.LOADING)
        claim: Claim = await self.run_io(self.store.claim, task.unit, task.accept)
        return claim

    async def _load(self, task: PartitionTask, claim: Claim) -> None:
        if task.holds(claim):
            task.loaded(claim, None)
            return
        data: dict[Any, Any] = {}
        rows = self.store.rows(task.unit)
        try:
            while await self.run_io(_fold_some, task.definition.codec, rows, data):
                pass
        except StateCorruptError as error:
            raise StateCorruptError(f"{task.unit}: {error}") from error
        finally:
            await self.run_io(_close, rows)
        task.loaded(claim, data)

    async def _settle(self, task: PartitionTask, log_range: LogRange) -> None:
        """Find where reading goes on, and store it before the first record, so that no restart finds another place."""
        if task.is_new:
            task.start_at(await self._start_position(task.source, log_range))
        else:
            await self._settle_in_range(task, log_range)
        checkpoint = task.capture()
        if checkpoint is not None:
            (outcome,) = await self.run_io(self.store.save, [checkpoint])
            if outcome is not None:
                raise outcome
            task.saved(checkpoint)

    async def _start_position(self, partition: TopicPartition, log_range: LogRange) -> int:
        if self.start == "earliest":
            return log_range.start
        if self.start == "latest":
            return log_range.end
        return (await self.source.positions_at([partition], self.start))[partition]

    async def _settle_in_range(self, task: PartitionTask, log_range: LogRange) -> None:
        try:
            task.check_range(log_range)
        except OffsetOutOfRangeError as error:
            if self.embedded:
                raise RecordsLostError(
                    f"{task.source}: the embedded broker dropped records before they were read; it keeps about the "
                    "last 5 MB of a partition, so nothing may send faster than this worker reads"
                ) from error
            if self.on_out_of_range == "rebuild":
                await self._rebuild(task, log_range, error)
            elif self.on_out_of_range == "continue" and not task.is_beyond(log_range):
                gap = task.skip_gap(log_range)
                log.warning("%s: %d offsets are gone from the log; the state goes on without them", task.unit, gap)
            else:
                raise

    async def _rebuild(self, task: PartitionTask, log_range: LogRange, error: OffsetOutOfRangeError) -> None:
        aside = await self.run_io(self.store.set_aside, task.unit, task.epoch)
        log.warning("%s. Set aside as group %s; starting at the log's beginning", error, aside.group)
        claim = await self.run_io(self.store.claim, task.unit, task.accept)
        task.loaded(claim, {})
        task.start_at(log_range.start)


def _fold_some(codec: Codec, rows: Iterator[bytes], data: dict[Any, Any]) -> bool:
    """Fold rows for a while; tells whether there may be more."""
    until = time.monotonic() + _FOLD_SECONDS
    for row in rows:
        fold_rows(codec, [row], data)
        if time.monotonic() > until:
            return True
    return False


def _close(rows: Iterator[bytes]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
