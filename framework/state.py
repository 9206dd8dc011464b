"""State: a processor's mapping of keys to values for one partition, which knows what changed."""

import copy
import datetime
import decimal
import uuid
from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
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

    Between `begin_undo` and `end_undo` it also remembers the values from before, so that `undo` can bring them back.
    """

    __slots__ = ("_changed", "_data", "_undo")

    def __init__(self, data: dict[K, V] | None = None) -> None:
        self._data: dict[K, V] = {} if data is None else data
        self._changed: set[K] = set()
        self._undo: dict[K, Any] | None = None

    def __getitem__(self, key: K) -> V:
        value = self._data[key]
        if type(value) not in _IMMUTABLE:
            self._touch(key)
        return value

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        value = self._data.get(key, _MISSING)
        if value is _MISSING:
            return default
        if type(value) not in _IMMUTABLE:
            self._touch(key)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        if self._undo is not None:
            self._remember(key)
        self._data[key] = value
        self._changed.add(key)

    def __delitem__(self, key: K) -> None:
        if self._undo is not None:
            self._remember(key)
        del self._data[key]
        self._changed.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[K]:
        return iter(self._data)

    def __repr__(self) -> str:
        return f"State({self._data!r})"

    def keys(self) -> KeysView[K]:
        return self._data.keys()

    def items(self) -> ItemsView[K, V]:
        self._touch_mutable()
        return self._data.items()

    def values(self) -> ValuesView[V]:
        self._touch_mutable()
        return self._data.values()

    def clear(self) -> None:
        if self._undo is not None:
            self._remember(*self._data)
        self._changed.update(self._data)
        self._data.clear()

    def update(self, other: Any = (), /, **names: Any) -> None:
        """As `dict.update`; the fast way to change many keys at once."""
        new: dict[Any, Any] = dict(other, **names)
        if self._undo is not None:
            self._remember(*new)
        self._data.update(new)
        self._changed.update(new)

    def _touch(self, key: K) -> None:
        if self._undo is not None:
            self._remember(key)
        self._changed.add(key)

    def _touch_mutable(self) -> None:
        for key, value in self._data.items():
            if type(value) not in _IMMUTABLE:
                self._touch(key)

    # What follows is the runtime's side.

    @property
    def changed(self) -> int:
        """How many keys changed since `take_changes`."""
        return len(self._changed)

    def take_changes(self) -> tuple[dict[K, V], list[K]]:
        """The keys changed since the last call: their values, and the keys that are gone."""
        data, changed = self._data, self._changed
        self._changed = set()
        if len(changed) == len(data) and changed == data.keys():
            return dict(data), []
        present = {key: data[key] for key in changed if key in data}
        gone = [key for key in changed if key not in data] if len(present) < len(changed) else []
        return present, gone

    def view(self) -> Mapping[K, V]:
        """The data itself, to read without marking anything as changed."""
        return self._data

    def begin_undo(self) -> None:
        """From here, remember the values from before."""
        self._undo = {}

    def end_undo(self) -> None:
        """Keep what was changed since `begin_undo`."""
        self._undo = None

    def undo(self) -> None:
        """Bring back what was there at `begin_undo`, values changed in place included."""
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
