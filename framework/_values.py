"""Values by key, and what they were: the part of a state that runs for each record. Its twin in C is in `speedups/`."""

import copy
import datetime
import decimal
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from operator import length_hint
from typing import Any, Final

__all__ = ["IMMUTABLE", "MISSING", "Values", "add_counts", "copied"]

MISSING: Final[Any] = object()

IMMUTABLE: Final = frozenset(
    {
        type(None), bool, int, float, str, bytes, frozenset,
        datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
"""Types whose values cannot change in place. A tuple may hold a list, so it is not among them."""

_CONTAINERS: Final = frozenset({list, dict, set, tuple})

add_counts: Final[Any] = Counter.update  # in C for any dict


def copied(value: Any) -> Any:
    """A deep copy; quickly, where a container holds nothing that can change in place."""
    kind = type(value)
    if kind in _CONTAINERS and IMMUTABLE.issuperset(map(type, value.values() if kind is dict else value)):
        return kind(value)
    return copy.deepcopy(value)


class Values:
    """A dict of values, what of it changed, what is tallied beside it, and what it was at `begin_undo`.

    A subclass adds the rest of a mapping, and `_settle_key(key)`, which adds what was tallied to the value of that key;
    it is called before a key is looked at while `_unsettled`.
    """

    __slots__ = (
        "_changed", "_copied", "_data", "_immutable", "_listed", "_missing", "_since_undo", "_tallied", "_undo",
        "_unsettled",
    )  # fmt: skip

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
        """The values from before, which are changed, too."""
        self._unsettled = False
        self._tallied: dict[Any, int] = {}
        self._listed: list[list[Any]] = []
        """What of that was tallied since `begin_undo`, as it came."""
        self._since_undo: dict[Any, int] = {}
        """The same, once it had to be looked through."""

    def __getitem__(self, key: Any) -> Any:
        if self._unsettled:
            self._settle_key(key)
        value = self._data[key]
        if type(value) not in self._immutable:
            self._mark(key, value)
        return value

    def get(self, key: Any, /, default: Any = None) -> Any:
        """The value of a key, which counts as changed if it can change in place; else `default`."""
        if self._unsettled:
            self._settle_key(key)
        value = self._data.get(key, self._missing)
        if value is self._missing:
            return default
        if type(value) not in self._immutable:
            self._mark(key, value)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._unsettled:
            self._settle_key(key)
        if self._undo is None:
            self._changed.add(key)
        else:
            self._mark(key, self._data.get(key, self._missing))
        self._data[key] = value

    def __delitem__(self, key: Any) -> None:
        if self._unsettled:
            self._settle_key(key)
        self._mark(key, self._data[key])
        del self._data[key]

    def _mark(self, key: Any, value: Any) -> None:
        """Before the value of a key changes."""
        undo = self._undo
        if undo is None:
            self._changed.add(key)
        elif key not in undo:
            kept = value is self._missing or type(value) in self._immutable
            undo[key] = value if kept else self._copied(value)

    def _settle_key(self, key: Any) -> None:
        raise NotImplementedError

    def tally(self, keys: Iterable[Any], /) -> None:
        """Add 1 to the value of each key, as often as it comes; a key without a value begins at 0.

        The fast way to count, for states whose values are all whole numbers. For one that is not, `TallyError` comes
        when it is next read or stored, and ends the run, whatever `--on-error` says: it is not the fault of a record.
        """
        keys = list(keys)  # making them may read this state; and what is listed stays as it is
        self._unsettled = True
        if self._undo is not None:
            self._listed.append(keys)
        left = iter(keys)
        try:
            add_counts(self._tallied, left)
        except BaseException:
            del keys[len(keys) - length_hint(left) - 1 :]  # the one at hand, and those that it kept from being counted
            raise

    def begin_undo(self) -> None:
        """From here, remember the values from before."""
        self._undo = {}

    @property
    def touched(self) -> int:
        """How many keys that can be undone; of what was tallied, how many times."""
        return len(self._undo or ()) + sum(map(len, self._listed)) + sum(self._since_undo.values())

    def end_undo(self) -> None:
        """Keep what was changed since `begin_undo`."""
        self._changed.update(self._undo or ())
        self._undo = None
        self._listed.clear()
        self._since_undo.clear()

    def undo(self) -> None:
        """Bring back what was there at `begin_undo`, values changed in place included."""
        remembered, self._undo = self._undo or {}, None
        for key, count in chain(zip(chain(*self._listed), repeat(1)), self._since_undo.items()):
            self._tallied[key] -= count
            if not self._tallied[key]:
                del self._tallied[key]
        for key, value in remembered.items():
            if value is self._missing:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        self.end_undo()
