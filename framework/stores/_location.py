"""Where a store that is a directory lies, and the options that such stores have."""

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
    """What stands behind `NAME:` in the location of a store of this name; "" for the bare name.

    Raises `UsageError` for a location of another store.
    """
    scheme, _, rest = location.partition(":")
    if scheme != name:
        raise UsageError(f"{location!r} is no location of a {name} store: it does not begin with {name!r}")
    return rest


def location_path(name: str, location: str) -> Path:
    """The directory in `NAME:DIRECTORY`. Raises `UsageError` where none is named."""
    rest = location_rest(name, location)
    if not rest or "\0" in rest:
        raise UsageError(f"the location {location!r} names no directory; write one, such as {name}:state")
    return Path(rest)
