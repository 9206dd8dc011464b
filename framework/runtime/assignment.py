"""The assignment: the tasks of the assigned partitions, and the released tasks that are kept in memory."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from framework.records import TopicPartition
from framework.runtime.counts import Counts
from framework.runtime.definition import Definition
from framework.runtime.expiry import Expiry
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Description, Unit
from framework.table import Table

__all__ = ["Assignment"]

log = logging.getLogger("framework")


class Assignment:
    """The tasks of the assigned partitions, one for each processor.

    Each rebalance revokes all partitions. So the tasks of the previous assignment stay warm, that is, in memory, until
    the next assignment shows which of these partitions come back.
    """

    def __init__(
        self,
        group: str,
        cluster_id: str | None,
        definitions: Sequence[Definition],
        lifecycle: Lifecycle,
        *,
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self.group = group
        self.definitions = definitions
        self._cluster_id = cluster_id
        self._lifecycle = lifecycle
        self._clock = clock
        self._limits = limits
        self._assigned: dict[TopicPartition, list[PartitionTask]] | None = None
        self._warm: dict[Unit, PartitionTask] = {}
        self._counts_of_freed = Counts()
        self._freeing: set[asyncio.Task[None]] = set()

    @property
    def is_known(self) -> bool:
        """Whether the group has assigned partitions to this worker, or has assigned it none. False while unknown."""
        return self._assigned is not None

    @property
    def tasks(self) -> list[PartitionTask]:
        """The tasks of all assigned partitions."""
        return [task for tasks in (self._assigned or {}).values() for task in tasks]

    def of(self, partition: TopicPartition) -> list[PartitionTask]:
        """The tasks of one partition; none if it is not assigned."""
        return (self._assigned or {}).get(partition, [])

    def with_status(self, status: TaskStatus) -> list[PartitionTask]:
        """The tasks that have this status now."""
        return [task for task in self.tasks if task.status is status]

    def positions(self) -> dict[TopicPartition, int]:
        """The position up to which all plugins have applied each assigned partition."""
        found: dict[TopicPartition, int] = {}
        for task in self.tasks:
            if task.position is not None:
                found[task.partition] = min(task.position, found.get(task.partition, task.position))
        return found

    @property
    def counts(self) -> Counts:
        """How many records this process has applied and left out, also where others go on now."""
        tasks = [*self.tasks, *self._warm.values()]
        return reduce(Counts.plus, (task.counts for task in tasks), self._counts_of_freed)

    def take_up(self, partitions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Sequence[PartitionTask]]:
        """Begin a new assignment. Returns the tasks to load, by partition.

        `partitions` maps each assigned partition to the number of partitions of its topic.
        """
        assigned = {
            partition: [self._task(definition, partition, count) for definition in self.definitions]
            for partition, count in partitions.items()
        }
        self._assigned = assigned
        warm, self._warm = self._warm, {}
        self._free(list(warm.values()))
        log.info("assigned: %s", ", ".join(map(str, sorted(partitions))) or "nothing")
        return assigned

    def _task(self, definition: Definition, partition: TopicPartition, partitions: int) -> PartitionTask:
        unit = Unit(self.group, definition.name, *partition)
        description = Description(
            definition.codec.name,
            definition.processor.state_version,
            partitions,
            self._cluster_id,
            definition.state_definition,
        )
        task = self._warm.get(unit)
        if task is None or task.status is not TaskStatus.RELEASED:  # it failed after it was released
            return PartitionTask(
                unit, definition, description, clock=self._clock, limits=self._limits, lifecycle=self._lifecycle
            )
        del self._warm[unit]
        task.description = description
        task.move(TaskStatus.ASSIGNED)
        return task

    def let_go(self) -> None:
        """End the assignment. Its tasks stay in memory, in case that their partitions come back."""
        self._warm = {task.unit: task for task in self.tasks}
        self._assigned = None

    def _free(self, tasks: Sequence[PartitionTask]) -> None:
        """Drop the states of partitions that did not come back, and free them in pieces.

        To free millions of keys at once would block the event loop.
        """
        memories = [task.applier.memory for task in tasks if task.applier is not None]
        tables: list[Table[Any, Any] | Expiry] = []
        for memory in memories:
            tables += [memory.table, memory.timers.table, *([memory.expiry] if memory.expiry else [])]
        for task in tasks:
            task.drop()
        self._counts_of_freed = reduce(Counts.plus, (task.counts for task in tasks), self._counts_of_freed)

        async def free() -> None:
            while tables:
                while tables[-1].free(self._limits.freed_at_once):  # noqa: ASYNC110 - it is work, not waiting
                    await asyncio.sleep(0)
                tables.pop()

        if tables:
            freeing = asyncio.get_running_loop().create_task(free())
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)

    async def close(self) -> None:
        """Close the processors of all tasks. The states stay readable."""
        for freeing in self._freeing.copy():
            freeing.cancel()
        for task in [*self.tasks, *self._warm.values()]:
            if task.applier is not None:
                self._lifecycle.retire(task.unit, task.applier.memory.processor)
        try:
            async with asyncio.timeout(self._limits.leave_seconds):
                await self._lifecycle.finish()
        except TimeoutError:
            log.error("a plugin's close() did not end within %g s; not waiting for it", self._limits.leave_seconds)
