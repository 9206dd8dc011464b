"""State: a processor's mapping of keys to values for one partition, which knows what changed."""

import copy
import datetime
import decimal
import uuid
from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import Any, Final, Generic, TypeVar, overload

__all__ = ["State"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_MISSING: Final[Any] = object()

_IMMUTABLE: Final = frozenset(
    {
        type(None), bool, int, float, str, bytes, frozenset,
        datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
"""Types whose values cannot change in place. A tuple may hold a list, so it is not among them."""

_KEPT_AS_IS: Final = _IMMUTABLE | {type(_MISSING)}
_CONTAINERS: Final = frozenset({list, dict, set, tuple})


class State(MutableMapping[K, V], Generic[K, V]):
    """A dict that remembers which keys changed since the last `take_changes`.

    Reading a mutable value marks its key as changed, so `state[k].append(x)` is never lost. A value must not be kept
    and changed without reading it again: by then its key may count as saved.

    What `tally` counts is added up apart, and settled when anything reads or writes values: the values of hundreds of
    thousands of keys are then touched once a checkpoint, not once a record.

    Between `begin_undo` and `end_undo` it also remembers the values from before, so that `undo` can bring them back.
    """

    __slots__ = ("_changed", "_data", "_tallied", "_undo")

    def __init__(self, data: dict[K, V] | None = None) -> None:
        self._data: dict[K, V] = {} if data is None else data
        self._changed: set[K] = set()
        self._tallied: dict[K, int] = {}
        self._undo: dict[K, Any] | None = None

    def __getitem__(self, key: K) -> V:
        if self._tallied:
            self._settle()
        value = self._data[key]
        if type(value) not in _IMMUTABLE:
            self._touch(key)
        return value

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        if self._tallied:
            self._settle()
        value = self._data.get(key, _MISSING)
        if value is _MISSING:
            return default
        if type(value) not in _IMMUTABLE:
            self._touch(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        if self._tallied:
            self._settle()
        if self._undo is not None and key not in self._undo:
            self._remember(key)
        self._data[key] = value
        self._changed.add(key)

    def __delitem__(self, key: K) -> None:
        self._settle()
        if self._undo is not None:
            self._remember(key)
        del self._data[key]
        self._changed.add(key)

    def __contains__(self, key: object) -> bool:
        self._settle()
        return key in self._data

    def __len__(self) -> int:
        self._settle()
        return len(self._data)

    def __iter__(self) -> Iterator[K]:
        self._settle()
        return iter(self._data)

    def __repr__(self) -> str:
        self._settle()
        return f"State({self._data!r})"

    def keys(self) -> KeysView[K]:
        self._settle()
        return self._data.keys()

    def items(self) -> ItemsView[K, V]:
        self._touch_mutable()
        return self._data.items()

    def values(self) -> ValuesView[V]:
        self._touch_mutable()
        return self._data.values()

    def clear(self) -> None:
        self._settle()
        if self._undo is not None:
            self._remember(*self._data)
        self._changed.update(self._data)
        self._data.clear()

    def update(self, other: Any = (), /, **names: Any) -> None:
        """As `dict.update`; the fast way to change many keys at once."""
        self._settle()
        new: dict[Any, Any] = dict(other, **names)
        if self._undo is not None:
            self._remember(*new)
        self._data.update(new)
        self._changed.update(new)

    def tally(self: "State[K, int]", keys: Iterable[K]) -> None:
        """Add 1 to the value of each key, as often as it comes; a key without a value begins at 0.

        The fast way to count, for states whose values are all whole numbers: one that is not is a `TypeError`, here or
        when values are next read or stored.
        """
        add_counts: Any = Counter.update  # in C for any dict
        add_counts(self._tallied, keys)
        if self._undo is not None:
            self._settle()

    def _settle(self) -> None:
        while self._tallied:
            self.settle(len(self._tallied))

    def _touch(self, key: K) -> None:
        if self._undo is not None and key not in self._undo:
            self._remember(key)
        self._changed.add(key)

    def _touch_mutable(self) -> None:
        self._settle()
        for key, value in self._data.items():
            if type(value) not in _IMMUTABLE:
                self._touch(key)

    # What follows is the runtime's side.

    @property
    def is_changed(self) -> bool:
        """Whether any key changed since `take_changes`."""
        return bool(self._changed or self._tallied)

    def settle(self, most: int) -> int:
        """Add what was tallied to the values of that many keys at the most; gives how many keys are left.

        Raises `TypeError` for a value that is no number; nothing that was tallied is lost by it.
        """
        tallied, undo = self._tallied, self._undo
        data: dict[Any, Any] = self._data
        changed, get = self._changed, data.get
        for _ in range(min(most, len(tallied))):
            key, count = tallied.popitem()
            if undo is not None and key not in undo:
                self._remember(key)
            try:
                data[key] = get(key, 0) + count
            except TypeError:
                tallied[key] = count
                raise
            changed.add(key)
        return len(tallied)

    def take_changed(self) -> set[K]:
        """The keys changed since the last call, gone or not."""
        self._settle()
        changed, self._changed = self._changed, set()
        return changed

    def take_changes(self) -> tuple[dict[K, V], list[K]]:
        """The keys changed since the last call: their values, and the keys that are gone."""
        changed, data = self.take_changed(), self._data
        present = {key: data[key] for key in changed if key in data}
        return present, [key for key in changed if key not in data] if len(present) < len(changed) else []

    def view(self) -> Mapping[K, V]:
        """The data itself, to read without marking anything as changed."""
        self._settle()
        return self._data

    def free(self, most: int) -> int:
        """Give back the memory of that many keys at the most, since nobody needs the state; gives how many are left."""
        data = self._data
        for _ in range(min(most, len(data))):
            data.popitem()
        return len(data)

    def begin_undo(self) -> None:
        """From here, remember the values from before."""
        self._settle()
        self._undo = {}

    def end_undo(self) -> None:
        """Keep what was changed since `begin_undo`."""
        self._undo = None

    def undo(self) -> None:
        """Bring back what was there at `begin_undo`, values changed in place included."""
        self._tallied = {}
        remembered, self._undo = self._undo, None
        if remembered is None:
            return
        for key, value in remembered.items():
            if value is _MISSING:
                self._data.pop(key, None)
            else:
                self._data[key] = value

    def _remember(self, *keys: K) -> None:
        if self._undo is None:
            return
        data, undo = self._data, self._undo
        for key in keys:
            if key not in undo:
                value = data.get(key, _MISSING)
                undo[key] = value if type(value) in _KEPT_AS_IS else _copied(value)


def _copied(value: Any) -> Any:
    """A deep copy; quickly, where a container holds nothing that can change in place."""
    kind = type(value)
    if kind in _CONTAINERS and _IMMUTABLE.issuperset(map(type, value.values() if kind is dict else value)):
        return kind(value)
    return copy.deepcopy(value)
