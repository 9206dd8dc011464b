"""The figures of a run: how far it is, read now and then from what the worker counts anyway."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from framework.records import TopicPartition
from framework.runtime.assignment import Assignment
from framework.runtime.ports import LogEnd
from framework.runtime.saver import Saver
from framework.runtime.task import PartitionTask, TaskStatus

__all__ = ["Figures", "Summary", "read_figures"]


@dataclass(frozen=True, slots=True)
class Figures:
    """How far a run is at one moment. Times are seconds on the event loop's clock."""

    at: float
    applied: int
    """Records that this process has applied since it began."""
    failed: int
    """Records that it has skipped because they failed for good."""
    late: int
    """Records that it has left out because they were late."""
    failed_timers: int
    """Timers that it has skipped because they failed for good."""
    is_assigned: bool
    """Whether the group has told what this worker has to do."""
    partitions: int
    """Partitions that are assigned."""
    loading: int
    """Partitions of these that do not flow yet, because state is loaded."""
    loaded: tuple[int, int] | None
    """How many bytes of their states are loaded, of how many; None where none are being loaded."""
    lag: int | None
    """Offsets between what is applied and the ends of the assigned partitions' logs; None where one is not known."""
    saved_at: float | None
    """When a checkpoint was last stored; None for never."""
    session_timeout: float
    """For how many seconds the group waits for a member that died."""


def read_figures(
    assignment: Assignment,
    saver: Saver,
    log_ends: Callable[[], Mapping[TopicPartition, LogEnd]],
    *,
    loaded: tuple[int, int] | None,
    session_timeout: float,
) -> Figures:
    """The figures as they are now. It reads what is in memory, and asks nobody.

    `loaded`: how many bytes of the states are loaded, of how many, while they are.
    """
    tasks = assignment.tasks
    counts = assignment.counts
    partitions = {task.partition for task in tasks}
    return Figures(
        at=asyncio.get_running_loop().time(),
        applied=counts.applied,
        failed=counts.failed,
        late=counts.late,
        failed_timers=counts.failed_timers,
        is_assigned=assignment.is_known,
        partitions=len(partitions),
        loading=len({task.partition for task in tasks if _is_loading(task)}),
        loaded=loaded,
        lag=_lag(partitions, assignment.positions(), log_ends()),
        saved_at=saver.last_saved,
        session_timeout=session_timeout,
    )


def _is_loading(task: PartitionTask) -> bool:
    return task.status in (TaskStatus.ASSIGNED, TaskStatus.LOADING)


def _lag(
    partitions: set[TopicPartition], positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, LogEnd]
) -> int | None:
    if not partitions <= positions.keys() & ends.keys():
        return None
    return sum(max(0, ends[partition].offset - positions[partition]) for partition in partitions)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has done, at its end."""

    records: int
    """Records that were applied."""
    failed: int
    """Records that were skipped because they failed for good."""
    seconds: float
    keys: int | None
    """Keys of the states as they are stored; None where the store was not asked."""
    bytes: int | None
    """Size of these states in the store; None where the store was not asked."""
    late: int = 0
    """Records that were left out because they were late."""
    failed_timers: int = 0
    """Timers that were skipped because they failed for good."""

    @property
    def records_per_second(self) -> float:
        """Records applied in a second, over the whole run."""
        return self.records / self.seconds if self.seconds else 0.0
