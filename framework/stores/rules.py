"""Rules that all stores share: which checkpoints may be saved, what they change, and names of units set aside."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

from framework.errors import FencedError, InternalError, StateConflictError, StateError
from framework.stores import ALREADY_SAVED, SAVED, Changes, Checkpoint, Outcome, Progress, StoredTable, StoredUnit, Unit

__all__ = [
    "another_owner",
    "aside_names",
    "check_base",
    "check_owner",
    "check_writable",
    "outcome_of",
    "root_group",
    "saved_unit",
]

_ASIDE = re.compile(r"(.+?)(?:\.aside-\d+)*", re.DOTALL)


def check_writable(unit_or_group: Unit | str, *, read_only: bool) -> None:
    """Raises `InternalError` if a store that was opened for reading only is asked to write."""
    if read_only:
        raise InternalError(f"{unit_or_group}: the store is open for reading only. Please report this")


def check_owner(stored: StoredUnit | None, unit: Unit, epoch: int) -> None:
    """Raises `FencedError` or `StateConflictError` unless the unit is stored and `epoch` still owns it."""
    if stored is None or stored.epoch != epoch:
        raise another_owner(stored, unit, epoch)


def another_owner(stored: StoredUnit | None, unit: Unit, epoch: int) -> FencedError | StateConflictError:
    """The error to raise if `epoch` does not own the unit. `stored` is the stored unit, None if there is none."""
    if stored is None:
        return StateConflictError(
            f"{unit}: its stored state was removed while this worker ran with epoch {epoch}. Restore it, or start the "
            "worker again with --on-missing-state rebuild to build the state from the log again"
        )
    if stored.epoch < epoch:
        return StateConflictError(
            f"{unit}: its stored state was replaced by an older copy while this worker ran: the copy has epoch "
            f"{stored.epoch}, the worker has epoch {epoch}. Start the worker again; it compares the copy with Kafka"
        )
    return FencedError(
        f"{unit}: another worker has claimed it with epoch {stored.epoch}, so this one, with epoch {epoch}, can no "
        "longer write. If no other worker should run, look for one with the same group and the same store"
    )


def outcome_of(stored: StoredUnit | None, checkpoint: Checkpoint) -> Outcome:
    """The outcome of saving `checkpoint` over the unit `stored`. After `SAVED`, the caller must store it.

    Raises `InternalError` if the checkpoint has no progress, or if its progress is behind the stored one.
    """
    if stored is None or stored.epoch != checkpoint.epoch:
        return _refused(another_owner(stored, checkpoint.unit, checkpoint.epoch))
    if checkpoint.version == stored.version > 0:
        return ALREADY_SAVED
    if checkpoint.version != stored.version + 1:
        return _refused(_another_version(stored, checkpoint))
    _check_progress(stored, checkpoint)
    return SAVED


def _refused(error: StateError) -> Outcome:
    return Outcome("fenced" if isinstance(error, FencedError) else "conflict", error)


def _another_version(stored: StoredUnit, checkpoint: Checkpoint) -> StateConflictError:
    return StateConflictError(
        f"{stored.unit}: version {stored.version} is stored, so version {checkpoint.version} cannot be saved; another "
        f"program wrote the state with the same epoch {stored.epoch}. Start the worker again to continue from the "
        "stored state"
    )


def _check_progress(stored: StoredUnit, checkpoint: Checkpoint) -> None:
    if stored.unit.topic_partition not in checkpoint.progress:
        raise InternalError(f"{stored.unit}: a checkpoint without progress was not saved. Please report this")
    for key, progress in checkpoint.progress.items():
        before = stored.progress.get(key, Progress())
        if progress.last_offset < before.last_offset or _position(progress) < _position(before):
            raise InternalError(
                f"{stored.unit}: a checkpoint with last offset {progress.last_offset} and position {progress.position} "
                f"of {key} is behind the stored {before.last_offset} and {before.position}; it was not saved. "
                "Please report this"
            )


def _position(progress: Progress) -> int:
    return -1 if progress.position is None else progress.position


def check_base(unit: Unit, changes: Changes, *, begun: bool) -> None:
    """Raises `InternalError` for pieces or the end of a base that has not begun."""
    if (changes.base or changes.base_ends) and not (changes.base_begins or begun):
        raise InternalError(f"{unit}: pieces of a base that has not begun. Please report this")


def saved_unit(stored: StoredUnit, checkpoint: Checkpoint, tables: Mapping[str, StoredTable]) -> StoredUnit:
    """The unit after `checkpoint`, with these tables."""
    return replace(
        stored,
        version=checkpoint.version,
        description=checkpoint.description,
        progress=dict(checkpoint.progress),
        event_time=dict(checkpoint.event_time),
        tables=tables,
        outputs=checkpoint.outputs,
        saved_at=time.time(),
    )


def root_group(group: str) -> str:
    """The original group of a unit that was set aside, perhaps several times; else the group itself."""
    match = _ASIDE.fullmatch(group)
    return match[1] if match else group


def aside_names(unit: Unit) -> Iterator[Unit]:
    """Yields the units under which `unit` may be set aside. The first one that is not stored yet is to be used."""
    return (replace(unit, group=f"{unit.group}.aside-{number}") for number in count(1))
