"""The loader: loads the tasks of an assignment in the background, outside the rebalance callback."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework.changes import fold_rows
from framework.codecs import Codec
from framework.errors import OffsetOutOfRangeError, RecordsLostError, StateCorruptError, TopicRecreatedError
from framework.observers import Observers
from framework.policy import OnMissingState, OnOutOfRange, Start
from framework.progress import Progress
from framework.records import Record, TopicPartition
from framework.runtime.background import contained
from framework.runtime.io import RunIO
from framework.runtime.limits import Limits
from framework.runtime.ports import LogRange, Source
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.timers import UnitTimers
from framework.runtime.witness import Testimony, check_testimony, commits_of, without_foreign
from framework.stores import EXPIRY_TABLE, STATE_TABLE, TIMERS_TABLE, Claim, Store, StoredUnit, Unit

__all__ = ["Loader", "OnRestored"]

log = logging.getLogger("framework")

OnRestored = Callable[[int, int], None]
"""Called while states are loaded, with the loaded bytes and the total bytes of an assignment."""


@dataclass(slots=True)
class Loader:
    """Claims units, loads their rows, and finds the positions from which to read."""

    source: Source
    store: Store
    run_io: RunIO
    start: Start
    on_out_of_range: OnOutOfRange
    on_missing_state: OnMissingState
    embedded: bool
    """Whether the broker is the embedded one. It drops old records, which is an error under each policy."""
    observers: Observers
    on_restored: OnRestored = lambda done, total: None
    limits: Limits = field(default_factory=Limits)
    steps: int = field(default=0, init=False)
    """Number of steps done so far. It grows while anything is loaded."""

    async def load(
        self, assigned: Mapping[TopicPartition, Sequence[PartitionTask]], ready: Callable[[TopicPartition], None]
    ) -> None:
        """Load all tasks, from status assigned to seeking. Calls `ready` for each partition whose tasks are loaded."""
        claims, missing = await self._claim([task for tasks in assigned.values() for task in tasks])
        ranges = await self.source.log_ranges(list(assigned))
        last_records = await self._last_records(claims, ranges)

        def must_load(partition: TopicPartition) -> bool:
            return not all(task.holds(claims[task]) for task in assigned[partition])

        progress = _Progress(sum(_bytes_to_load(task, claim) for task, claim in claims.items()), self.on_restored)
        for partition in sorted(assigned, key=must_load):
            for task in assigned[partition]:
                await self._load(task, claims[task], progress)
                await self._find_position(task, ranges[partition], last_records.get(task), missing.get(task.unit))
                await task.open()
                task.move(TaskStatus.SEEKING)
                self.steps += 1
            if any(task.unit in missing for task in assigned[partition]):
                await self._commit(assigned[partition])  # else the next start would find the same state missing
            ready(partition)

    # ---- claims

    async def _claim(self, tasks: Sequence[PartitionTask]) -> tuple[dict[PartitionTask, Claim], dict[Unit, str]]:
        """Claim all units. Returns the claims, and descriptions of missing state where the policy is to go on."""
        for task in tasks:
            if task.status is TaskStatus.ASSIGNED:
                task.move(TaskStatus.LOADING)
        group = tasks[0].unit.group
        testimonies = await self._testimonies(group, sorted({task.partition for task in tasks}))
        store_id = await self.run_io(self.store.id_of, group)
        by_unit = {task.unit: task for task in tasks}
        missing: dict[Unit, str] = {}

        def accept(unit: Unit, stored: StoredUnit | None) -> None:
            by_unit[unit].accept(stored)
            problem = check_testimony(
                unit, stored, testimonies.get(unit.topic_partition), store_id, self.on_missing_state
            )
            if problem:
                missing[unit] = problem

        claims = await self._claimed(list(by_unit), accept)
        self.steps += 1
        return dict(zip(tasks, claims, strict=True)), missing

    async def _testimonies(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Testimony]:
        """The testimonies of the group's committed offsets; none if the store does not survive the process."""
        if not self.store.survives:
            return {}
        committed = await self.source.committed(partitions)
        testimonies = {partition: Testimony.of(each) for partition, each in committed.items()}
        if all(testimony.store is not None for testimony in testimonies.values()):
            return testimonies
        return without_foreign(testimonies, await self.run_io(self.store.stored, group))

    async def _claimed(self, units: Sequence[Unit], accept: Callable[[Unit, StoredUnit | None], None]) -> list[Claim]:
        """Claim units. A cancelled load waits for the claim, because it must not come after that of the next owner."""
        claiming: asyncio.Task[list[Claim]] = asyncio.create_task(
            contained(self.run_io, self.store.claim, units, accept)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            claiming.result()  # raises the error of a claim that failed
            raise

    async def _last_records(
        self, claims: Mapping[PartitionTask, Claim], ranges: Mapping[TopicPartition, LogRange]
    ) -> dict[PartitionTask, Record]:
        """The records that the log now has at the last offsets of the stored states, as far as they still exist."""
        places = {}
        for task, claim in claims.items():
            progress = claim.previous.own_progress if claim.previous else Progress()
            is_there = ranges[task.partition].start <= progress.last_offset < ranges[task.partition].end
            if is_there and progress.anchor.checksum is not None:
                places[task] = (task.partition, progress.last_offset)
        records = await self.source.records_at(set(places.values())) if places else {}
        return {task: records[place] for task, place in places.items() if place in records}

    # ---- rows

    async def _load(self, task: PartitionTask, claim: Claim, progress: "_Progress") -> None:
        if task.holds(claim):
            task.keep(claim)
            return
        tables: _Tables = {STATE_TABLE: {}, TIMERS_TABLE: {}, EXPIRY_TABLE: {}}
        if claim.previous is not None:
            try:
                await self._fold(task, claim, claim.previous, tables, progress)
            except StateCorruptError as error:
                raise StateCorruptError(f"{task.unit}: {error}") from error
        timers = UnitTimers(tables[TIMERS_TABLE], can_fire=task.can_fire)
        await self._in_pieces(timers.index, tables[TIMERS_TABLE].items())
        expiry = task.new_expiry(claim.previous, tables[EXPIRY_TABLE])
        if expiry is not None:
            await self._in_pieces(expiry.index, tables[EXPIRY_TABLE].items())
            if len(tables[STATE_TABLE]) != len(tables[EXPIRY_TABLE]):
                await self._in_pieces(expiry.adopt, tables[STATE_TABLE])
        task.load(claim, tables[STATE_TABLE], timers, expiry)

    async def _in_pieces(self, step: Callable[[Iterator[Any], int], int], entries: Iterable[Any]) -> None:
        left = iter(entries)
        while step(left, self.limits.indexed_at_once):  # noqa: ASYNC110 - it is work, not waiting
            await asyncio.sleep(0)

    async def _fold(
        self, task: PartitionTask, claim: Claim, stored: StoredUnit, tables: "_Tables", progress: "_Progress"
    ) -> None:
        rows, clock = self.store.load(task.unit, claim.epoch), asyncio.get_running_loop().time
        seconds = self.limits.fold_seconds
        try:
            while folded := await self.run_io(_fold_some, task.definition.codec, rows, tables, clock, seconds):
                self.steps += 1
                progress.add(folded)
        finally:
            await self.run_io(_close, rows)
        loaded = {name: len(table) for name, table in tables.items()}
        expected = dict.fromkeys(tables, 0) | {name: table.keys for name, table in stored.tables.items()}
        if loaded != expected:
            raise StateCorruptError(
                f"{sum(loaded.values())} keys were loaded, but {sum(expected.values())} were stored, in "
                f"{self.store.place(task.unit)}; "
                "nothing was changed. Restore a backup (an older one needs --on-missing-state continue), or start a "
                "new --group to build the state again from the log"
            )

    async def _commit(self, tasks: Sequence[PartitionTask]) -> None:
        store_id = await self.run_io(self.store.id_of, tasks[0].unit.group)
        await self.source.commit(commits_of(tasks, store_id, survives=self.store.survives))

    # ---- positions

    async def _find_position(
        self, task: PartitionTask, log_range: LogRange, last_record: Record | None, missing: str | None
    ) -> None:
        """Find the position to read from. It is stored before the first record, so that a restart finds the same."""
        if missing is not None:
            await self._go_on_without(task, log_range, missing)
        if task.position is None and task.version:
            task.start_at(log_range.start)  # a rebuild was interrupted after the old state was set aside
        elif task.position is None:
            task.start_at(await self._start_position(task.partition, log_range))
        else:
            await self._check_log(task, log_range, last_record)
        task.belongs_to(log_range)
        checkpoint = await task.capture()
        if checkpoint is not None:
            (outcome,) = await self.run_io(self.store.save, [checkpoint])
            if outcome.error is not None:
                raise outcome.error
            task.saved(checkpoint)

    async def _start_position(self, partition: TopicPartition, log_range: LogRange) -> int:
        if self.start == "earliest":
            if self.embedded and log_range.start:
                raise _dropped(partition)
            return log_range.start
        if self.start == "latest":
            return log_range.end
        return (await self.source.positions_at([partition], self.start))[partition]

    async def _check_log(self, task: PartitionTask, log_range: LogRange, last_record: Record | None) -> None:
        try:
            task.check_log(log_range, last_record)
        except OffsetOutOfRangeError as error:
            if self.embedded:
                raise _dropped(task.partition) from error
            if self.on_out_of_range == "rebuild":
                await self._rebuild(task, log_range, str(error))
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
            task.live.progress.missing_offsets,
        )
        self.observers.gap(plugin=task.unit.plugin, partition=task.partition, first=first, stop=log_range.start)

    async def _go_on_without(self, task: PartitionTask, log_range: LogRange, missing: str) -> None:
        """Follow the policy for missing state, which is not to stop."""
        if self.on_missing_state == "continue":
            log.warning("%s: %s; continuing with the older state (--on-missing-state continue)", task.unit, missing)
        elif task.position is not None:
            await self._rebuild(task, log_range, f"{task.unit}: {missing}")
        else:
            log.warning(
                "%s: %s; building the state from the log's beginning (--on-missing-state rebuild)", task.unit, missing
            )
            task.start_at(log_range.start)

    async def _rebuild(self, task: PartitionTask, log_range: LogRange, why: str) -> None:
        aside = await self.run_io(self.store.set_aside, task.unit, task.epoch)
        log.warning("%s", why)
        log.warning(
            "%s: that state is set aside as group %s; starting at the log's beginning, offset %d",
            task.unit,
            aside.group,
            log_range.start,
        )
        [claim] = await self._claimed([task.unit], lambda unit, stored: task.accept(stored))
        task.load(claim, {})
        task.start_at(log_range.start)


def _dropped(partition: TopicPartition) -> RecordsLostError:
    return RecordsLostError(
        f"{partition}: the embedded broker dropped records before they were read. It keeps about the last 5 MB of a "
        "partition; produce records more slowly than this worker reads them"
    )


@dataclass(slots=True)
class _Progress:
    """Counts the loaded bytes of an assignment's states."""

    total: int
    on_restored: OnRestored
    done: int = 0

    def add(self, size: int) -> None:
        self.done += size
        self.on_restored(self.done, self.total)


def _bytes_to_load(task: PartitionTask, claim: Claim) -> int:
    return 0 if claim.previous is None or task.holds(claim) else claim.previous.bytes


_Tables = dict[str, dict[Any, Any]]
"""Keys and values of each table, by the table's name."""


def _fold_some(
    codec: Codec, rows: Iterator[tuple[str, bytes]], tables: _Tables, clock: Callable[[], float], seconds: float
) -> int:
    """Fold rows of the tables for `seconds`. Returns the number of bytes, 0 if no row was left."""
    until, folded = clock() + seconds, 0
    for name, row in rows:
        if name not in tables:
            raise StateCorruptError(
                f"it has rows of a table {name!r}, which this framework does not know; use the framework that wrote it"
            )
        fold_rows(codec, [row], tables[name])
        folded += len(row)
        if clock() > until:
            break
    return folded


def _close(rows: Iterator[tuple[str, bytes]]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
