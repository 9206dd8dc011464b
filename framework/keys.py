"""Keys: which values can be found again under their key, and how a message shows a key."""

import reprlib
from typing import Any

__all__ = ["equals_itself", "show"]


def equals_itself(key: Any) -> bool:
    """Whether a hashable value can be looked up again: not NaN, nor a tuple or frozenset that holds NaN at any depth.

    Python takes the same object for equal without a look, so such a tuple is found in memory, but not once it is read
    back. Raises what the key's `__eq__` raises.
    """
    if isinstance(key, (tuple, frozenset)):
        return all(map(equals_itself, key))
    return bool(key == key)


def show(key: Any) -> str:
    """A short text for messages. Never raises, whatever the key's `__repr__` does."""
    try:
        return reprlib.repr(key)
    except Exception:  # such as ValueError for an int of too many digits
        return f"<{type(key).__qualname__}>"
