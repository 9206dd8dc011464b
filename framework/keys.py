"""Keys of state: the check that a lookup can find a key, and the text of a key for messages."""

import reprlib
from typing import Any

__all__ = ["equals_itself", "show"]


def equals_itself(key: Any) -> bool:
    """Whether a hashable value equals itself: False for NaN, and for a tuple or frozenset with NaN at any depth.

    Python compares elements of a tuple by identity first. So a tuple with NaN is found in memory, but not after a load.
    Raises any exception of the key's `__eq__`.
    """
    if isinstance(key, (tuple, frozenset)):
        return all(map(equals_itself, key))
    return bool(key == key)


def show(key: Any) -> str:
    """A short text for messages. Never raises, not even if the key's `__repr__` does."""
    try:
        return reprlib.repr(key)
    except Exception:  # such as ValueError for an int of too many digits
        return f"<{type(key).__qualname__}>"
