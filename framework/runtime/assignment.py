"""The assignment: which tasks are here, and the memory of those that were here before."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from framework.records import TopicPartition
from framework.runtime.definition import Definition
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Description, Unit

__all__ = ["Assignment"]

log = logging.getLogger("framework")


class Assignment:
    """The tasks of the assigned partitions, one for each processor.

    Every rebalance revokes all partitions. So the tasks of the assignment before stay warm until the next one tells
    which of them come back.
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
        self._counts_of_freed = (0, 0)
        self._freeing: set[asyncio.Task[None]] = set()

    @property
    def is_known(self) -> bool:
        """Whether the group has told what this worker has to do, be it nothing."""
        return self._assigned is not None

    @property
    def tasks(self) -> list[PartitionTask]:
        """The tasks of the partitions that are assigned."""
        return [task for tasks in (self._assigned or {}).values() for task in tasks]

    def of(self, partition: TopicPartition) -> list[PartitionTask]:
        """The tasks of one partition; none if it is not assigned."""
        return (self._assigned or {}).get(partition, [])

    def with_status(self, status: TaskStatus) -> list[PartitionTask]:
        """The tasks that have this status now."""
        return [task for task in self.tasks if task.status is status]

    def positions(self) -> dict[TopicPartition, int]:
        """Up to where every plugin has applied each assigned partition."""
        found: dict[TopicPartition, int] = {}
        for task in self.tasks:
            if task.position is not None:
                found[task.partition] = min(task.position, found.get(task.partition, task.position))
        return found

    @property
    def counts(self) -> tuple[int, int]:
        """How many records this process has applied, and how many it has skipped, also where others go on now."""
        counts = [self._counts_of_freed, *(task.counts for task in [*self.tasks, *self._warm.values()])]
        return sum(applied for applied, _ in counts), sum(skipped for _, skipped in counts)

    def take_up(self, partitions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Sequence[PartitionTask]]:
        """These are the partitions now, each with how many its topic has; gives the tasks to load."""
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
            definition.codec.name, definition.processor.state_version, partitions, self._cluster_id
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
        """The partitions belong to others; the memory stays warm in case that one comes back."""
        self._warm = {task.unit: task for task in self.tasks}
        self._assigned = None

    def _free(self, tasks: Sequence[PartitionTask]) -> None:
        """Drop states that went elsewhere, and free them bit by bit: millions of keys at once would stall the loop."""
        tables = [task.applier.memory.table for task in tasks if task.applier is not None]
        for task in tasks:
            task.drop()
        applied, skipped = self._counts_of_freed
        self._counts_of_freed = (
            applied + sum(task.counts[0] for task in tasks),
            skipped + sum(task.counts[1] for task in tasks),
        )

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
        """Close the processors of all tasks; states can still be viewed."""
        for freeing in self._freeing.copy():
            freeing.cancel()
        for task in [*self.tasks, *self._warm.values()]:
            if task.applier is not None:
                self._lifecycle.retire(task.unit, task.applier.memory.processor)
        try:
            async with asyncio.timeout(self._limits.leave_seconds):
                await self._lifecycle.finish()
        except TimeoutError:
            log.error("a plugin has not closed in %g s; ending without it", self._limits.leave_seconds)
