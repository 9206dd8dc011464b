"""The ending: is everything that the topics held stored?"""

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
    """Watches for the end, once it is told where that is: each partition is stored up to its position.

    Partitions that other workers have count as well, in a store that other workers can see.
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
        """Where the end is; a partition that is not named has no records."""
        self._ends = positions

    async def is_reached(self) -> bool:
        """Whether everything is stored; what is applied here but not stored yet is saved for that."""
        ends = self._ends
        if ends is None or not self._assignment.is_known or not await self._is_own_end(ends):
            return False
        own = {task.partition for task in self._assignment.tasks}
        others = {partition: end for partition, end in ends.items() if end and partition not in own}
        if not others or not self._store.survives:  # what others keep in their memory cannot be seen from here
            return True
        return await self._are_stored(others)

    async def _is_own_end(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all that is assigned here is applied, and then also stored."""
        tasks = self._assignment.tasks
        if not all(_has_come(ends, task, task.position) for task in tasks):
            return False
        if not all(_has_come(ends, task, task.stored.position) for task in tasks):
            await self._saver.save(self._assignment.with_status(TaskStatus.RUNNING))
        return all(_has_come(ends, task, task.stored.position) for task in tasks)

    async def _are_stored(self, others: Mapping[TopicPartition, int]) -> bool:
        """Whether other workers have stored theirs; a partition of one that crashed will be assigned here instead."""
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
                "all that is assigned here is stored; waiting for other workers to store theirs: %s",
                ", ".join(missing),
            )
        self._awaited = missing
        return not missing


def _has_come(ends: Mapping[TopicPartition, int], task: PartitionTask, position: int | None) -> bool:
    return task.status is TaskStatus.RUNNING and position is not None and position >= ends.get(task.partition, 0)
