"""Rules that every store keeps: who may save what, and where a unit goes that is set aside."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from framework.errors import FencedError, InternalError
from framework.stores import Checkpoint, StoredUnit, Unit

__all__ = ["aside_names", "check_checkpoint", "check_epoch", "check_owner", "new_unit", "root_group", "unit_gone"]

_ASIDE = re.compile(r"(.+?)(?:\.aside-\d+)*", re.DOTALL)


def new_unit(unit: Unit, epoch: int) -> StoredUnit:
    """A unit that is claimed, and has nothing saved yet."""
    return StoredUnit(unit, None, epoch, last_offset=-1, position=None, keys=0, bytes=0, base_bytes=0, saved_at=None)


def unit_gone(unit: Unit, epoch: int) -> FencedError:
    """What to raise where nothing is stored although `epoch` says that it owns the unit."""
    return FencedError(
        f"{unit}: nothing is stored of it although epoch {epoch} owns it; its state was removed while this worker "
        "ran. Start the worker again to go on with what is there"
    )


def check_epoch(stored: StoredUnit, epoch: int) -> None:
    """Raises `FencedError` unless `epoch` still owns the unit."""
    if stored.epoch != epoch:
        raise FencedError(
            f"{stored.unit}: epoch {stored.epoch} has claimed it, so epoch {epoch} may not write any more. Another "
            "worker goes on with it; if none should, look for one with the same group and state directory"
        )


def check_owner(stored: StoredUnit | None, unit: Unit, epoch: int) -> None:
    """Raises `FencedError` unless the unit is there, and `epoch` still owns it."""
    if stored is None:
        raise unit_gone(unit, epoch)
    check_epoch(stored, epoch)


def check_checkpoint(stored: StoredUnit, checkpoint: Checkpoint) -> None:
    """Raises `FencedError` where another owner came in between, `InternalError` where `checkpoint` goes backwards."""
    check_epoch(stored, checkpoint.epoch)
    if stored.last_offset != checkpoint.previous_offset:
        raise FencedError(
            f"{stored.unit}: the stored last offset is {stored.last_offset}, not {checkpoint.previous_offset} as epoch "
            f"{stored.epoch} knows it; something else wrote it. Start the worker again to go on with what is stored"
        )
    if checkpoint.last_offset < stored.last_offset or checkpoint.position < (stored.position or 0):
        raise InternalError(
            f"{stored.unit}: a checkpoint with last offset {checkpoint.last_offset} and position {checkpoint.position} "
            f"goes back behind the stored {stored.last_offset} and {stored.position}; it was not saved. "
            "Please report this"
        )


def root_group(group: str) -> str:
    """The group that a unit belonged to before it was set aside, once or several times."""
    match = _ASIDE.fullmatch(group)
    return match[1] if match else group


def aside_names(unit: Unit) -> Iterator[Unit]:
    """Where `unit` may go when it is set aside, best first; the first that is free is taken."""
    return (replace(unit, group=f"{unit.group}.aside-{number}") for number in count(1))
