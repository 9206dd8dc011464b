"""The witness: uses the group's committed offsets to notice that the store lacks state.

The metadata of each committed offset holds the id of the store and the versions of the stored units. Reading always
continues from the store, never from these offsets. But if they name a newer version than the store has, it is the wrong
store, or it lost state. A worker that started anew would then silently produce other results.
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
"""Statuses in which a task knows its stored position and version."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """A committed offset, with the parsed metadata of framework."""

    position: int
    store: str | None = None
    """Id of the store; None if another program or a newer framework committed the offset."""
    versions: Mapping[str, int] | None = None
    """Stored versions, by plugin."""

    @classmethod
    def of(cls, committed: Committed) -> Self:
        """Parse the offset's metadata. Metadata in another format counts as that of another program."""
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
        """Returns the offset with its metadata."""
        document = {"framework": _FORMAT, "store": self.store, "versions": self.versions}
        return Committed(self.position, json.dumps(document, separators=(",", ":")))


def without_foreign(
    testimonies: Mapping[TopicPartition, Testimony], stored: Iterable[StoredUnit]
) -> dict[TopicPartition, Testimony]:
    """Drop offsets that another program committed, for partitions of which the store has state of any plugin.

    The store is then the right one: an ordinary consumer used the group, or an administrator reset its offsets.
    """
    with_state = {each.unit.topic_partition for each in stored if each.description is not None}
    return {
        partition: testimony
        for partition, testimony in testimonies.items()
        if testimony.store is not None or partition not in with_state
    }


def commits_of(tasks: Iterable[PartitionTask], store: str, *, survives: bool) -> dict[TopicPartition, Committed]:
    """The offsets to commit for these tasks: the position up to which all plugins of a partition are stored.

    The metadata has `store`, the store's id, and the stored versions. Versions are left out if the store does not
    survive the process, because the next process cannot find them.
    """
    by_partition: dict[TopicPartition, list[PartitionTask]] = {}
    for task in tasks:
        by_partition.setdefault(task.partition, []).append(task)
    commits = {}
    for partition, its_tasks in by_partition.items():
        positions = [task.stored.position for task in its_tasks if task.status in _KNOWN]
        known = [position for position in positions if position is not None]
        if len(known) == len(its_tasks):  # else the commit would lose the version of a plugin
            versions = {task.unit.plugin: task.version for task in its_tasks} if survives else {}
            commits[partition] = Testimony(min(known), store, versions).to_committed()
    return commits


def check_testimony(
    unit: Unit, stored: StoredUnit | None, testimony: Testimony | None, store: str, policy: OnMissingState
) -> str | None:
    """Compare the stored state of a unit with the testimony of its committed offset.

    Returns None if no state is missing, and a description of the missing state if the policy allows to go on. Raises
    `StateMissingError` if it does not. `store` is the store's id.
    """
    problem = testimony and _problem(unit, stored, testimony, store)
    if not problem:
        return None
    has_state = stored is not None and stored.description is not None
    if policy == "rebuild" or (policy == "continue" and has_state):
        return problem
    choices = "build the state from the log's beginning with --on-missing-state rebuild, or use another --group"
    if has_state:
        choices = f"continue with the older state with --on-missing-state continue, {choices}"
    raise StateMissingError(
        f"{unit}: {problem}. No state was changed. Name the right store with --store or --state-dir; or {choices}"
    )


def _problem(unit: Unit, stored: StoredUnit | None, testimony: Testimony, store: str) -> str | None:
    has = "no state of it"
    if stored is not None and stored.description is not None:
        has = f"version {stored.version}, up to offset {stored.own_progress.last_offset}"
    if testimony.store is None:
        return (
            f"the group has committed offset {testimony.position}, but this store (id {store}) has {has}: another "
            "program or a newer framework read this partition in this group, or the state is in another store"
        )
    version = (testimony.versions or {}).get(unit.plugin, 0)
    if not version:
        return None
    known = f"version {version} of this state, up to position {testimony.position}"
    if testimony.store != store:
        return (
            f"according to Kafka, {known}, is in the store with id {testimony.store}; this store (id {store}) has {has}"
        )
    if stored is None or stored.version < version:
        return (
            f"according to Kafka, {known}, was stored; this store (id {store}) has {has}, so it lost state or is an "
            "older copy"
        )
    return None
