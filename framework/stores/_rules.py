"""Rules that every store keeps: who may save what, what a unit is then, and where it goes when it is set aside."""

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
    """Raises `InternalError` where a store that was opened for reading is asked to write."""
    if read_only:
        raise InternalError(f"{unit_or_group}: the store is open for reading only. Please report this")


def check_owner(stored: StoredUnit | None, unit: Unit, epoch: int) -> None:
    """Raises `FencedError` or `StateConflictError` unless the unit is there, and `epoch` still owns it."""
    if stored is None or stored.epoch != epoch:
        raise another_owner(stored, unit, epoch)


def another_owner(stored: StoredUnit | None, unit: Unit, epoch: int) -> FencedError | StateConflictError:
    """What to raise where `epoch` does not own the unit, of which `stored` is there."""
    if stored is None:
        return StateConflictError(
            f"{unit}: nothing is stored of it although epoch {epoch} owns it; its state was removed while this worker "
            "ran. Bring it back, or start again with --on-missing-state rebuild to build it anew from the log"
        )
    if stored.epoch < epoch:
        return StateConflictError(
            f"{unit}: the stored epoch {stored.epoch} is older than epoch {epoch}, which owns it; an older copy took "
            "the place of its state while this worker ran. Start the worker again; it compares the copy with Kafka"
        )
    return FencedError(
        f"{unit}: epoch {stored.epoch} has claimed it, so epoch {epoch} may not write any more. Another "
        "worker goes on with it; if none should, look for one with the same group and the same store"
    )


def outcome_of(stored: StoredUnit | None, checkpoint: Checkpoint) -> Outcome:
    """What becomes of `checkpoint` where `stored` is there now. `SAVED` says that it is to be stored.

    Raises `InternalError` where it goes back behind what is stored.
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
        f"{stored.unit}: version {stored.version} is stored, so version {checkpoint.version} of epoch {stored.epoch} "
        "cannot follow; something else wrote it. Start the worker again to go on with what is stored"
    )


def _check_progress(stored: StoredUnit, checkpoint: Checkpoint) -> None:
    if stored.unit.topic_partition not in checkpoint.progress:
        raise InternalError(f"{stored.unit}: a checkpoint without progress; it was not saved. Please report this")
    for key, progress in checkpoint.progress.items():
        before = stored.progress.get(key, Progress())
        if progress.last_offset < before.last_offset or _position(progress) < _position(before):
            raise InternalError(
                f"{stored.unit}: a checkpoint with last offset {progress.last_offset} and position {progress.position} "
                f"of {key} goes back behind the stored {before.last_offset} and {before.position}; it was not saved. "
                "Please report this"
            )


def _position(progress: Progress) -> int:
    return -1 if progress.position is None else progress.position


def check_base(unit: Unit, changes: Changes, *, begun: bool) -> None:
    """Raises `InternalError` for pieces or the end of a base that has not begun."""
    if (changes.base or changes.base_ends) and not (changes.base_begins or begun):
        raise InternalError(f"{unit}: pieces of a base that has not begun. Please report this")


def saved_unit(stored: StoredUnit, checkpoint: Checkpoint, tables: Mapping[str, StoredTable]) -> StoredUnit:
    """What the unit is after `checkpoint`, with these tables."""
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
    """The group that a unit belonged to before it was set aside, once or several times."""
    match = _ASIDE.fullmatch(group)
    return match[1] if match else group


def aside_names(unit: Unit) -> Iterator[Unit]:
    """Where `unit` may go when it is set aside, best first; the first that is free is taken."""
    return (replace(unit, group=f"{unit.group}.aside-{number}") for number in count(1))
