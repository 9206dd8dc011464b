"""State: a processor's mapping of keys to values for one partition, which knows what changed."""

from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from framework import _values
from framework._values import IMMUTABLE, MISSING, copied
from framework.errors import TallyError

if TYPE_CHECKING:
    Values = _values.Values
else:
    try:
        from framework_speedups import Values
    except ImportError:
        Values = _values.Values

__all__ = ["State"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

_add_counts: Final[Any] = Counter.update  # in C for any dict


class State(Values, MutableMapping[K, V], Generic[K, V]):
    """A dict that remembers which keys changed since the last `take_changes`.

    Reading a mutable value marks its key as changed, so `state[k].append(x)` is never lost. A value must not be kept
    and changed without reading it again: by then its key may count as saved.

    What `tally` counts is added up apart, and settled when somebody reads or writes the key's value, or looks at all:
    the values of hundreds of thousands of keys are then touched once a checkpoint, not once a record.

    Between `begin_undo` and `end_undo` it also remembers the values from before, so that `undo` can bring them back.
    """

    __slots__ = ("_pending", "_tallied")

    def __init__(self, data: dict[K, V] | None = None) -> None:
        super().__init__({} if data is None else data, IMMUTABLE, copied, MISSING)
        self._tallied: dict[K, int] = {}
        self._pending: dict[K, int] = {}
        """Tallied since `begin_undo`."""

    if TYPE_CHECKING:

        def __getitem__(self, key: K) -> V: ...
        @overload  # type: ignore[override]
        def get(self, key: K, /) -> V | None: ...
        @overload
        def get(self, key: K, /, default: V | D) -> V | D: ...
        def get(self, key: K, /, default: Any = None) -> Any: ...

    def __contains__(self, key: object) -> bool:
        return key in self._data or (self._unsettled and (key in self._tallied or key in self._pending))

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
        self._remember_all(self._data)
        self._changed.update(self._data)
        self._data.clear()

    def update(self, other: Any = (), /, **names: Any) -> None:
        """As `dict.update`; the fast way to change many keys at once."""
        self._settle()
        new: dict[Any, Any] = dict(other, **names)
        self._remember_all(new)
        self._data.update(new)
        self._changed.update(new)

    def tally(self: "State[K, int]", keys: Iterable[K]) -> None:
        """Add 1 to the value of each key, as often as it comes; a key without a value begins at 0.

        The fast way to count, for states whose values are all whole numbers. For one that is not, `TallyError` comes
        when it is next read or stored, and ends the run, whatever `--on-error` says: it is not the fault of a record.
        """
        if not isinstance(keys, (list, tuple)):
            keys = list(keys)  # making them may read this state
        self._unsettled = True
        _add_counts(self._tallied if self._undo is None else self._pending, keys)

    def _settle(self) -> None:
        if self._unsettled:
            self.settle(len(self._tallied))
            for key in list(self._pending):
                self._settle_pending(key)
            self._unsettled = False

    def _settle_key(self, key: Any) -> None:
        count = self._tallied.get(key)
        if count is not None:
            self._add(key, count)
            del self._tallied[key]
        if key in self._pending:
            self._settle_pending(key)

    def _settle_pending(self, key: K) -> None:
        self._remember_all((key,))
        self._add(key, self._pending[key])
        del self._pending[key]

    def _add(self, key: K, count: int) -> None:
        data: dict[Any, Any] = self._data
        try:
            data[key] = data.get(key, 0) + count
        except TypeError as error:
            raise self._no_number(key) from error
        self._changed.add(key)

    def _no_number(self, key: K) -> TallyError:
        return TallyError(f"key {key!r} was tallied, but its value is of type {type(self._data[key]).__name__}")

    def _touch_mutable(self) -> None:
        self._settle()
        mutable = [key for key, value in self._data.items() if type(value) not in IMMUTABLE]
        self._remember_all(mutable)
        self._changed.update(mutable)

    # What follows is the runtime's side.

    @property
    def is_changed(self) -> bool:
        """Whether any key changed since `take_changes`."""
        return bool(self._changed or self._tallied)

    def settle(self, most: int) -> int:
        """Add what was tallied to the values of that many keys at the most; gives how many keys are left.

        Raises `TallyError` for a value that is no number; nothing that was tallied is lost by it.
        """
        tallied, changed = self._tallied, self._changed
        data: dict[Any, Any] = self._data
        get = data.get
        for _ in range(min(most, len(tallied))):
            key, count = tallied.popitem()
            try:
                data[key] = get(key, 0) + count
            except TypeError as error:
                tallied[key] = count
                raise self._no_number(key) from error
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
        self._undo = {}

    @property
    def touched(self) -> int:
        """How many keys that can be undone; of what was tallied, how many times."""
        return len(self._undo or ()) + sum(self._pending.values())

    def end_undo(self) -> None:
        """Keep what was changed since `begin_undo`."""
        self._undo = None
        pending, self._pending = self._pending, {}
        if not self._tallied:
            self._tallied = pending
            return
        tallied, get = self._tallied, self._tallied.get
        for key, count in pending.items():
            tallied[key] = get(key, 0) + count

    def undo(self) -> None:
        """Bring back what was there at `begin_undo`, values changed in place included."""
        self._pending = {}
        remembered, self._undo = self._undo, None
        if remembered is None:
            return
        for key, value in remembered.items():
            if value is MISSING:
                self._data.pop(key, None)
            else:
                self._data[key] = value

    def _remember_all(self, keys: Iterable[K]) -> None:
        undo, get = self._undo, self._data.get
        if undo is not None:
            for key in keys:
                if key not in undo:
                    value = get(key, MISSING)
                    undo[key] = value if value is MISSING or type(value) in IMMUTABLE else copied(value)
