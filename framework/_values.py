"""Values by key, and what they were: the part of a state that runs for each record. Its twin in C is in `speedups/`."""

import copy
import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any, Final

__all__ = ["IMMUTABLE", "MISSING", "Values", "copied"]

MISSING: Final[Any] = object()

IMMUTABLE: Final = frozenset(
    {
        type(None), bool, int, float, str, bytes, frozenset,
        datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
"""Types whose values cannot change in place. A tuple may hold a list, so it is not among them."""

_CONTAINERS: Final = frozenset({list, dict, set, tuple})


def copied(value: Any) -> Any:
    """A deep copy; quickly, where a container holds nothing that can change in place."""
    kind = type(value)
    if kind in _CONTAINERS and IMMUTABLE.issuperset(map(type, value.values() if kind is dict else value)):
        return kind(value)
    return copy.deepcopy(value)


class Values:
    """A dict of values, and of those from before in `_undo`, if it is not None.

    A subclass adds the rest of a mapping, and `_settle_key(key)`, which is called before a key is looked at while
    `_unsettled`.
    """

    __slots__ = ("_changed", "_copied", "_data", "_immutable", "_missing", "_undo", "_unsettled")

    def __init__(
        self, data: dict[Any, Any], immutable: frozenset[type], copied: Callable[[Any], Any], missing: Any, /
    ) -> None:
        """`missing` stands in `_undo` for keys without a value."""
        self._data = data
        self._immutable = immutable
        self._copied = copied
        self._missing = missing
        self._changed: set[Any] = set()
        self._undo: dict[Any, Any] | None = None
        self._unsettled = False

    def __getitem__(self, key: Any) -> Any:
        if self._unsettled:
            self._settle_key(key)
        value = self._data[key]
        if type(value) not in self._immutable:
            self._touch(key, value)
        return value

    def get(self, key: Any, /, default: Any = None) -> Any:
        """The value of a key, which counts as changed if it can change in place; else `default`."""
        if self._unsettled:
            self._settle_key(key)
        value = self._data.get(key, self._missing)
        if value is self._missing:
            return default
        if type(value) not in self._immutable:
            self._touch(key, value)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._unsettled:
            self._settle_key(key)
        if self._undo is not None:
            self._remember(key, self._data.get(key, self._missing))
        self._data[key] = value
        self._changed.add(key)

    def __delitem__(self, key: Any) -> None:
        if self._unsettled:
            self._settle_key(key)
        if self._undo is not None:
            self._remember(key, self._data.get(key, self._missing))
        del self._data[key]
        self._changed.add(key)

    def _touch(self, key: Any, value: Any) -> None:
        if self._undo is not None:
            self._remember(key, value)
        self._changed.add(key)

    def _remember(self, key: Any, value: Any) -> None:
        undo = self._undo
        if undo is not None and key not in undo:
            kept = value is self._missing or type(value) in self._immutable
            undo[key] = value if kept else self._copied(value)

    def _settle_key(self, key: Any) -> None:
        raise NotImplementedError
