"""State: a processor's mapping of keys to values for one partition, which knows what changed."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from framework import _values
from framework._values import IMMUTABLE, MISSING, add_counts, copied
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


class State(Values, MutableMapping[K, V], Generic[K, V]):
    """A dict that remembers which keys changed since the last `take_changes`.

    Reading a mutable value marks its key as changed, so `state[k].append(x)` is never lost. A value must not be kept
    and changed without reading it again: by then its key may count as saved.

    What `tally` counts is added up apart, and settled when somebody reads or writes the key's value, or looks at all:
    the values of hundreds of thousands of keys are then touched once a checkpoint, not once a record.

    Between `begin_undo` and `end_undo` it also remembers the values from before, so that `undo` can bring them back.
    """

    __slots__ = ()

    def __init__(self, data: dict[K, V] | None = None) -> None:
        super().__init__({} if data is None else data, IMMUTABLE, copied, MISSING)

    if TYPE_CHECKING:

        def __getitem__(self, key: K) -> V: ...
        @overload  # type: ignore[override]
        def get(self, key: K, /) -> V | None: ...
        @overload
        def get(self, key: K, /, default: V | D) -> V | D: ...
        def get(self, key: K, /, default: Any = None) -> Any: ...
        def tally(self: "State[K, int]", keys: Iterable[K], /) -> None: ...

    def __contains__(self, key: object) -> bool:
        return key in self._data or (self._unsettled and key in self._tallied)

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
        self._mark_all(self._data)
        self._data.clear()

    def update(self, other: Any = (), /, **names: Any) -> None:
        """As `dict.update`; the fast way to change many keys at once."""
        self._settle()
        new: dict[Any, Any] = dict(other, **names)
        self._mark_all(new)
        self._data.update(new)

    def _settle(self) -> None:
        if self._unsettled:
            if self._undo is None:
                self.settle(len(self._tallied))
            else:
                for key in list(self._tallied):
                    self._settle_key(key)
            self._unsettled = False

    def _settle_key(self, key: Any) -> None:
        count = self._tallied.get(key)
        if count is None:
            return
        while self._listed:
            add_counts(self._since_undo, self._listed.pop())
        late = self._since_undo.get(key, 0)
        if late < count:
            self._add(key, count - late)
            self._changed.add(key)
            self._tallied[key] = late
        if late:
            self._mark_all((key,))
            self._add(key, late)
            del self._since_undo[key]
        del self._tallied[key]

    def _add(self, key: K, count: int) -> None:
        data: dict[Any, Any] = self._data
        try:
            data[key] = data.get(key, 0) + count
        except TypeError as error:
            raise self._no_number(key) from error

    def _no_number(self, key: K) -> TallyError:
        return TallyError(f"key {key!r} was tallied, but its value is of type {type(self._data[key]).__name__}")

    def _touch_mutable(self) -> None:
        self._settle()
        mutable = [key for key, value in self._data.items() if type(value) not in IMMUTABLE]
        self._mark_all(mutable)

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

    def _mark_all(self, keys: Iterable[K]) -> None:
        """Before the values of these keys change."""
        if self._undo is None:
            self._changed.update(keys)
            return
        for key in keys:
            self._mark(key, self._data.get(key, MISSING))
