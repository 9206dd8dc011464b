"""The ending: tells when all records up to the end of the topics are applied and stored."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from framework.records import TopicPartition
from framework.runtime.assignment import Assignment
from framework.runtime.io import RunIO
from framework.runtime.limits import Limits
from framework.runtime.saver import Saver
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Store, Unit

__all__ = ["Ending"]

log = logging.getLogger("framework")


class Ending:
    """Tells when each partition is stored up to its end, once `expect` has given the ends.

    Partitions of other workers count, too, if the store survives the process, so that other workers share it.
    """

    def __init__(self, assignment: Assignment, saver: Saver, *, store: Store, run_io: RunIO, limits: Limits) -> None:
        self._ends: Mapping[TopicPartition, int] | None = None
        self._assignment = assignment
        self._saver = saver
        self._store = store
        self._run_io = run_io
        self._limits = limits
        self._awaited: Sequence[str] = ()
        self._next_look = 0.0

    def expect(self, positions: Mapping[TopicPartition, int]) -> None:
        """Set the position at which each partition ends. A partition that is not named has no records."""
        self._ends = positions

    async def is_reached(self) -> bool:
        """Whether all partitions are stored up to their ends. Saves applied records of this worker for that."""
        ends = self._ends
        if ends is None or not self._assignment.is_known or not await self._is_own_end(ends):
            return False
        own = {task.partition for task in self._assignment.tasks}
        others = {partition: end for partition, end in ends.items() if end and partition not in own}
        if not others or not self._store.survives:  # a store in memory does not show the states of other workers
            return True
        return await self._are_stored(others)

    async def _is_own_end(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all partitions of this worker are applied and stored up to their ends."""
        tasks = self._assignment.tasks
        if not all(_has_come(ends, task, task.position) and not task.live.has_due_work for task in tasks):
            return False
        if not all(_has_come(ends, task, task.stored.position) for task in tasks):
            await self._saver.save(self._assignment.with_status(TaskStatus.RUNNING))
        return all(_has_come(ends, task, task.stored.position) for task in tasks)

    async def _are_stored(self, others: Mapping[TopicPartition, int]) -> bool:
        """Whether other workers have stored their partitions. After a crash, Kafka assigns them to a live worker."""
        now = asyncio.get_running_loop().time
        if now() < self._next_look:
            return False
        began = now()
        stored = await self._run_io(self._store.stored, self._assignment.group)
        self._next_look = now() + max(self._limits.look_seconds, 4 * (now() - began))
        positions = {each.unit: each.own_progress.position or 0 for each in stored}
        units = {
            Unit(self._assignment.group, definition.name, *partition): end
            for partition, end in others.items()
            for definition in self._assignment.definitions
        }
        missing = sorted({str(unit.topic_partition) for unit, end in units.items() if positions.get(unit, 0) < end})
        if missing and missing != self._awaited:
            log.info(
                "all partitions of this worker are stored up to their end; waiting for those of other workers: %s",
                ", ".join(missing),
            )
        self._awaited = missing
        return not missing


def _has_come(ends: Mapping[TopicPartition, int], task: PartitionTask, position: int | None) -> bool:
    return task.status is TaskStatus.RUNNING and position is not None and position >= ends.get(task.partition, 0)
