"""The witness: what the group's committed offsets tell of stored state.

With each offset that is committed, Kafka keeps the id of the store and the versions of the units that it stands for.
The store alone has the truth. But where Kafka knows of newer state than a store has, that store is the wrong one, or
has lost something, and a worker that began anew would silently make other results.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from framework.errors import StateMissingError
from framework.policy import OnMissingState
from framework.records import TopicPartition
from framework.runtime.ports import Committed
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import StoredUnit, Unit

__all__ = ["Testimony", "check_testimony", "commits_of", "without_foreign"]

_FORMAT: Final = 1
_KNOWN: Final = (TaskStatus.SEEKING, TaskStatus.RUNNING, TaskStatus.DRAINING)
"""A task that has one of these knows what is stored; one that is loaded again may find something else."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one committed offset tells."""

    position: int
    store: str | None = None
    """The id of the store; None where the offset was committed by another program, or by a newer framework."""
    versions: Mapping[str, int] | None = None
    """The stored versions, by plugin."""

    @classmethod
    def of(cls, committed: Committed) -> Self:
        """Read it from the offset's metadata. Whatever is not in this format counts as another program's."""
        try:
            document = json.loads(committed.metadata or "null")
        except (ValueError, RecursionError):
            document = None
        match document:
            case {"framework": int(number), "store": str(store), "versions": dict(versions)} if number == _FORMAT:
                known = {plugin: version for plugin, version in versions.items() if type(version) is int}
                return cls(committed.position, store, known)
        return cls(committed.position)

    def to_committed(self) -> Committed:
        """The offset with its metadata."""
        document = {"framework": _FORMAT, "store": self.store, "versions": self.versions}
        return Committed(self.position, json.dumps(document, separators=(",", ":")))


def without_foreign(
    testimonies: Mapping[TopicPartition, Testimony], stored: Iterable[StoredUnit]
) -> dict[TopicPartition, Testimony]:
    """Leave out offsets of another program for partitions of which the store has any plugin's state.

    There, an ordinary consumer used the group, or an administrator reset its offsets, and the store is the right one.
    """
    with_state = {each.unit.topic_partition for each in stored if each.description is not None}
    return {
        partition: testimony
        for partition, testimony in testimonies.items()
        if testimony.store is not None or partition not in with_state
    }


def commits_of(tasks: Iterable[PartitionTask], store: str, *, survives: bool) -> dict[TopicPartition, Committed]:
    """What to commit for these tasks: how far all plugins of a partition are stored, and their versions.

    `store` is the store's id. Versions are left out where the store does not survive: nobody should expect them again.
    """
    by_partition: dict[TopicPartition, list[PartitionTask]] = {}
    for task in tasks:
        by_partition.setdefault(task.partition, []).append(task)
    commits = {}
    for partition, its_tasks in by_partition.items():
        positions = [task.stored.position for task in its_tasks if task.status in _KNOWN]
        known = [position for position in positions if position is not None]
        if len(known) == len(its_tasks):  # else a commit would tell less of some plugin than Kafka knows
            versions = {task.unit.plugin: task.version for task in its_tasks} if survives else {}
            commits[partition] = Testimony(min(known), store, versions).to_committed()
    return commits


def check_testimony(
    unit: Unit, stored: StoredUnit | None, testimony: Testimony | None, store: str, policy: OnMissingState
) -> str | None:
    """Compare what a store has of a unit with what Kafka knows; None where nothing is missing.

    Gives what is missing where the policy allows to go on. Raises `StateMissingError` where it does not.
    """
    problem = testimony and _problem(unit, stored, testimony, store)
    if not problem:
        return None
    has_state = stored is not None and stored.description is not None
    if policy == "rebuild" or (policy == "continue" and has_state):
        return problem
    choices = "build it anew from the log's beginning with --on-missing-state rebuild, or use another --group"
    if has_state:
        choices = f"go on with the older state with --on-missing-state continue, {choices}"
    raise StateMissingError(
        f"{unit}: {problem}. No state was changed. Name the right store with --store or --state-dir; or {choices}"
    )


def _problem(unit: Unit, stored: StoredUnit | None, testimony: Testimony, store: str) -> str | None:
    has = "nothing of it"
    if stored is not None and stored.description is not None:
        has = f"version {stored.version}, up to offset {stored.own_progress.last_offset}"
    if testimony.store is None:
        return (
            f"the group has committed offset {testimony.position}, but this store (id {store}) has {has}: another "
            "program, or a newer framework, has read this partition in this group, or the state is elsewhere"
        )
    version = (testimony.versions or {}).get(unit.plugin, 0)
    if not version:
        return None
    known = f"version {version} of this state, up to position {testimony.position}"
    if testimony.store != store:
        return f"Kafka knows {known}, in the store with id {testimony.store}; this store (id {store}) has {has}"
    if stored is None or stored.version < version:
        return f"Kafka knows {known}; this store (id {store}) has {has}: it lost something, or is an older copy"
    return None
