"""Locations and options of stores that keep files in a directory."""

from pathlib import Path

from pydantic import Field

from framework.errors import UsageError
from framework.stores import StoreOptions

__all__ = ["LOCK_TIMEOUT", "DirectoryOptions", "location_path", "location_rest"]

LOCK_TIMEOUT = 30.0


class DirectoryOptions(StoreOptions):
    """Options of stores that keep files in a directory."""

    lock_timeout: float = Field(
        LOCK_TIMEOUT, gt=0, allow_inf_nan=False, description="Seconds to wait for another process that is writing."
    )


def location_rest(name: str, location: str) -> str:
    """The part of a location after `NAME:`; "" if the location is just the store's name.

    Raises `UsageError` for a location of another store.
    """
    scheme, _, rest = location.partition(":")
    if scheme != name:
        raise UsageError(f"{location!r} is not a location of a {name} store; write {name}:DIRECTORY")
    return rest


def location_path(name: str, location: str) -> Path:
    """The directory in `NAME:DIRECTORY`. Raises `UsageError` if there is none."""
    rest = location_rest(name, location)
    if not rest or "\0" in rest:
        raise UsageError(f"the location {location!r} names no directory; write one, such as {name}:state")
    return Path(rest)
