"""The loader: brings the tasks of an assignment from assigned to seeking, outside the rebalance callback."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from framework.checkpoint import fold_rows
from framework.codecs import Codec
from framework.errors import OffsetOutOfRangeError, RecordsLostError, StateCorruptError, TopicRecreatedError
from framework.records import Record, TopicPartition
from framework.runtime.io import RunIO
from framework.runtime.source import Source
from framework.runtime.task import LogRange, OnOutOfRange, PartitionTask, TaskStatus
from framework.stores import Claim, Store, StoredUnit, Unit

__all__ = ["Loader", "OnRestored", "Start"]

log = logging.getLogger("framework")

Start = Literal["earliest", "latest"] | int
"""Where a partition without state begins; an int is a timestamp in milliseconds since the epoch."""

OnRestored = Callable[[int, int], None]
"""Told now and then while states are loaded: how many bytes of an assignment's are, and how many there are in all."""

_FOLD_SECONDS: Final = 0.05
"""Seconds of loading in one go; between two, other work gets the store's thread."""


@dataclass(slots=True)
class Loader:
    """Claims units, loads their rows, and settles where reading goes on."""

    source: Source
    store: Store
    run_io: RunIO
    start: Start
    on_out_of_range: OnOutOfRange
    embedded: bool
    """On the embedded broker, offsets that are gone were dropped by it: an error whatever the policy."""
    hook: Any
    """pluggy's observers."""
    on_restored: OnRestored = lambda done, total: None
    steps: int = field(default=0, init=False)
    """Grows while anything is loaded."""

    async def load(
        self, assigned: Mapping[TopicPartition, Sequence[PartitionTask]], ready: Callable[[TopicPartition], None]
    ) -> None:
        """Load all tasks; `ready` is called for each partition when its tasks are."""
        claims = await self._claim([task for tasks in assigned.values() for task in tasks])
        ranges = await self.source.log_ranges(list(assigned))
        last_records = await self._last_records(claims, ranges)

        def must_load(partition: TopicPartition) -> bool:
            return not all(task.holds(claims[task]) for task in assigned[partition])

        progress = _Progress(sum(_bytes_to_load(task, claim) for task, claim in claims.items()), self.on_restored)
        for partition in sorted(assigned, key=must_load):
            for task in assigned[partition]:
                await self._load(task, claims[task], progress)
                await self._settle(task, ranges[partition], last_records.get(task))
                task.move(TaskStatus.SEEKING)
                self.steps += 1
            ready(partition)

    async def _claim(self, tasks: Sequence[PartitionTask]) -> dict[PartitionTask, Claim]:
        for task in tasks:
            if task.status is TaskStatus.ASSIGNED:
                task.move(TaskStatus.LOADING)
        claims = await self._claimed({task.unit: task for task in tasks})
        self.steps += 1
        return dict(zip(tasks, claims, strict=True))

    async def _claimed(self, tasks: Mapping[Unit, PartitionTask]) -> list[Claim]:
        """Claim, to the end also where the load is cancelled: a claim must not come after that of the next owner."""

        def accept(stored: StoredUnit) -> None:
            tasks[stored.unit].accept(stored)

        claiming: asyncio.Future[list[Claim]] = asyncio.ensure_future(
            self.run_io(self.store.claim_all, list(tasks), accept)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            claiming.result()  # where it failed, that is the news
            raise

    async def _last_records(
        self, claims: Mapping[PartitionTask, Claim], ranges: Mapping[TopicPartition, LogRange]
    ) -> dict[PartitionTask, Record]:
        """The records that the stored states should end with, as the log has them now; without those that are gone."""
        places = {
            task: (task.source, claim.previous.last_offset)
            for task, claim in claims.items()
            if claim.previous is not None
            and claim.previous.anchor.checksum is not None
            and ranges[task.source].start <= claim.previous.last_offset < ranges[task.source].end
        }
        records = await self.source.records_at(set(places.values())) if places else {}
        return {task: records[place] for task, place in places.items() if place in records}

    async def _load(self, task: PartitionTask, claim: Claim, progress: "_Progress") -> None:
        if task.holds(claim):
            task.loaded(claim, None)
            return
        if claim.previous is None:
            task.loaded(claim, {})
            return
        data: dict[Any, Any] = {}
        rows, clock = self.store.rows(task.unit, claim.epoch), asyncio.get_running_loop().time
        try:
            while folded := await self.run_io(_fold_some, task.definition.codec, rows, data, clock):
                self.steps += 1
                progress.add(folded)
        except StateCorruptError as error:
            raise StateCorruptError(f"{task.unit}: {error}") from error
        finally:
            await self.run_io(_close, rows)
        task.loaded(claim, data)

    async def _settle(self, task: PartitionTask, log_range: LogRange, last_record: Record | None) -> None:
        """Find where reading goes on, and store it before the first record, so that no restart finds another place."""
        if task.is_new:
            task.start_at(await self._start_position(task.source, log_range))
        else:
            await self._settle_in_log(task, log_range, last_record)
        task.belongs_to(log_range)
        checkpoint = await task.capture()
        if checkpoint is not None:
            (outcome,) = await self.run_io(self.store.save, [checkpoint])
            if outcome is not None:
                raise outcome
            task.saved(checkpoint)

    async def _start_position(self, partition: TopicPartition, log_range: LogRange) -> int:
        if self.start == "earliest":
            if self.embedded and log_range.start:
                raise _dropped(partition)
            return log_range.start
        if self.start == "latest":
            return log_range.end
        return (await self.source.positions_at([partition], self.start))[partition]

    async def _settle_in_log(self, task: PartitionTask, log_range: LogRange, last_record: Record | None) -> None:
        try:
            task.check_log(log_range, last_record)
        except OffsetOutOfRangeError as error:
            if self.embedded:
                raise _dropped(task.source) from error
            if self.on_out_of_range == "rebuild":
                await self._rebuild(task, log_range, error)
            elif self.on_out_of_range == "continue" and not isinstance(error, TopicRecreatedError):
                self._leave_gap(task, log_range)
            else:
                raise

    def _leave_gap(self, task: PartitionTask, log_range: LogRange) -> None:
        first = task.skip_gap(log_range)
        log.warning(
            "%s: offsets %d to %d are gone from the log; the state goes on without them (%d are missing in all)",
            task.unit,
            first,
            log_range.start - 1,
            task.missing_offsets,
        )
        self.hook.framework_gap(plugin=task.unit.plugin, partition=task.source, first=first, stop=log_range.start)

    async def _rebuild(self, task: PartitionTask, log_range: LogRange, error: OffsetOutOfRangeError) -> None:
        aside = await self.run_io(self.store.set_aside, task.unit, task.epoch)
        log.warning("%s", error)
        log.warning(
            "%s: that state is set aside as group %s; starting at the log's beginning, offset %d",
            task.unit,
            aside.group,
            log_range.start,
        )
        [claim] = await self._claimed({task.unit: task})
        task.loaded(claim, {})
        task.start_at(log_range.start)


def _dropped(partition: TopicPartition) -> RecordsLostError:
    return RecordsLostError(
        f"{partition}: the embedded broker dropped records before they were read; it keeps about the last 5 MB of a "
        "partition, so nothing may send faster than this worker reads"
    )


@dataclass(slots=True)
class _Progress:
    """How much of an assignment's states is loaded."""

    total: int
    on_restored: OnRestored
    done: int = 0

    def add(self, size: int) -> None:
        self.done += size
        self.on_restored(self.done, self.total)


def _bytes_to_load(task: PartitionTask, claim: Claim) -> int:
    return 0 if claim.previous is None or task.holds(claim) else claim.previous.bytes


def _fold_some(codec: Codec, rows: Iterator[bytes], data: dict[Any, Any], clock: Callable[[], float]) -> int:
    """Fold rows for a while; gives how many bytes that were, 0 where there are no more."""
    until, folded = clock() + _FOLD_SECONDS, 0
    for row in rows:
        fold_rows(codec, [row], data)
        folded += len(row)
        if clock() > until:
            break
    return folded


def _close(rows: Iterator[bytes]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
