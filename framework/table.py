"""Table: the implementation of a state. It tracks changed keys, counts tallies separately, and can undo changes.

There are two implementations with the same behaviour: `PlainTable` in Python, and `NativeTable` in C, in `speedups/`.
`Table` is `NativeTable` if that is installed, else `PlainTable`.

An operation that raises either has not changed the table, or has set `broken`. The content of a broken table is wrong.
Such a table refuses to be read for a checkpoint, and the runtime drops it.
"""

import copy
import datetime
import decimal
import uuid
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Container,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from functools import wraps
from itertools import chain, islice, repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar, overload

from framework.errors import TallyError
from framework.keys import equals_itself, show
from framework.state import State

__all__ = ["PlainTable", "Table", "stored_key"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Final[Any] = object()

_IMMUTABLE: Final = frozenset(
    {
        type(None), bool, int, float, str, bytes, frozenset,
        datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
"""Types whose values cannot change in place. Tuples are left out, because they may hold lists."""

_SELF_EQUAL: Final = _IMMUTABLE - {float, decimal.Decimal, frozenset}
"""Types of which every value equals itself."""

_CONTAINERS: Final = frozenset({list, dict, set, tuple})

_add_counts: Final[Any] = Counter.update  # in C for any dict


def _copied(value: Any) -> Any:
    """A deep copy. Copies of one level, or of two, are enough and faster if nothing below can change."""
    if _is_flat(value):
        return type(value)(value)
    if type(value) is list and all(type(item) in _IMMUTABLE or _is_flat(item) for item in value):
        return [item if type(item) in _IMMUTABLE else type(item)(item) for item in value]
    return copy.deepcopy(value)


def _is_flat(value: Any) -> bool:
    """Whether it is a container of values that cannot change."""
    kind = type(value)
    return kind in _CONTAINERS and _IMMUTABLE.issuperset(map(type, value.values() if kind is dict else value))


def _check_key(key: Any) -> None:
    """Raises `TypeError` for a key without a hash, and `ValueError` for one that does not equal itself."""
    if type(key) is tuple and _SELF_EQUAL.issuperset(map(type, key)):
        return
    hash(key)
    if not equals_itself(key):
        raise ValueError(
            f"{show(key)} cannot be a key of state: NaN does not equal itself, so it would be a different key after "
            "each restart"
        )


def _check_keys(keys: Collection[Any]) -> None:
    if not _SELF_EQUAL.issuperset(map(type, keys)):
        for key in keys:
            _check_key(key)


class _Probe:
    """A lookup key that equals `key`, and remembers the equal object that it was compared with."""

    __slots__ = ("_key", "found")

    def __init__(self, key: Any) -> None:
        self._key = key
        self.found = key

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        if self._key != other:
            return False
        self.found = other
        return True


def stored_key(mapping: Container[Any], key: K) -> K:
    """The key object of a mapping that equals `key`, such as `1` for `True`; `key` itself if there is none.

    A str or bytes is returned at once, because equal ones do not differ.
    """
    if type(key) is str or type(key) is bytes:
        return key
    probe = _Probe(key)
    found: K = probe.found if probe in mapping else key
    return found


def _tally_error(key: Any, value: Any) -> TallyError:
    return TallyError(f"key {show(key)} was tallied, but its value is of type {type(value).__name__}")


def _whole_or_broken(
    step: "Callable[Concatenate[PlainTable[Any, Any], P], R]",
) -> "Callable[Concatenate[PlainTable[Any, Any], P], R]":
    """Decorates a method that may leave the table half changed when it raises: sets `broken` then."""

    @wraps(step)
    def guarded(table: "PlainTable[Any, Any]", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(table, *args, **kwargs)
        except BaseException as error:
            if table.broken is None:
                table.broken = error
            raise

    return guarded


class PlainTable(State[K, V]):
    """A dict with records of changed keys, of tallies, and of the values at `begin_undo`.

    Tallies are counted separately. They are added to the value of a key when that key, or the whole table, is read or
    written. So the values of hundreds of thousands of keys are touched once a checkpoint, not once a record.
    """

    __slots__ = (
        "_changed", "_data", "_deleted", "_listed", "_removed", "_since_undo", "_tallied", "_undo", "broken",
    )  # fmt: skip

    def __init__(self, data: dict[K, V] | None = None) -> None:
        """The table takes over `data`, without a copy."""
        self._data: dict[Any, Any] = {} if data is None else data
        self._changed: set[Any] = set()
        self._deleted: set[Any] = set()
        """Changed keys that were deleted, and perhaps set again as an equal key of another type."""
        self._tallied: dict[Any, int] = {}
        """Counts that are not added to the values yet, by key."""
        self._undo: dict[Any, Any] | None = None
        """Values at `begin_undo` of the keys that changed since, `_MISSING` for none. None while undo is off."""
        self._removed: dict[Any, Any] = {}
        """Key objects that were deleted since `begin_undo`, by themselves."""
        self._listed: list[list[Any]] = []
        """Keys that were tallied since `begin_undo`, in lists as they were passed."""
        self._since_undo: dict[Any, int] = {}
        """Counts of the keys that were in `_listed` before it had to be searched."""
        self.broken: BaseException | None = None
        """The error that left the table half changed; None for a sound table. It is never cleared."""

    def __getitem__(self, key: K) -> V:
        if self._tallied:
            self._add_tally(key)
        value: V = self._data[key]
        if type(value) not in _IMMUTABLE:
            self._mark(key, value)
        return value

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """The value of a key, or `default`. A value that can change in place counts as changed."""
        if self._tallied:
            self._add_tally(key)
        value = self._data.get(key, _MISSING)
        if value is _MISSING:
            return default
        if type(value) not in _IMMUTABLE:
            self._mark(key, value)
        return value

    def __setitem__(self, key: K, value: V) -> None:
        if type(key) not in _SELF_EQUAL and key not in self._data:
            _check_key(key)
        if self._tallied:
            self._add_tally(key)
        if self._undo is None:
            self._changed.add(key)
        else:
            self._mark(key, self._data.get(key, _MISSING))
        self._data[key] = value

    def __delitem__(self, key: K) -> None:
        if self._tallied:
            self._add_tally(key)
        self._mark(key, self._data[key])
        if self._undo is None:
            self._deleted.add(key)
        else:
            self._remember_key(key)
        del self._data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data or key in self._tallied

    def __len__(self) -> int:
        self._add_all_tallies()
        return len(self._data)

    def __iter__(self) -> Iterator[K]:
        self._add_all_tallies()
        return iter(self._data)

    def __repr__(self) -> str:
        self._add_all_tallies()
        return f"State({self._data!r})"

    def keys(self) -> KeysView[K]:
        self._add_all_tallies()
        return self._data.keys()

    def items(self) -> ItemsView[K, V]:
        self._mark_mutable()
        return self._data.items()

    def values(self) -> ValuesView[V]:
        self._mark_mutable()
        return self._data.values()

    def clear(self) -> None:
        self._add_all_tallies()
        self._mark_all(self._data)
        if self._undo is None:
            self._deleted.update(self._data)
        else:
            for key in self._data:
                self._remember_key(key)
        self._data.clear()

    def update(self, other: Any = (), /, **names: Any) -> None:
        """As `dict.update`. This is the fast way to change many keys at once."""
        new: dict[Any, Any] = dict(other, **names)
        _check_keys(new)
        self._add_all_tallies()
        self._mark_all(new)
        self._data.update(new)

    def tally(self: "PlainTable[K, int]", keys: Iterable[K], /) -> None:
        """As `State.tally`. Raises `TypeError` or `ValueError` for an invalid key; nothing is counted then."""
        keys = list(keys)  # an iterator might read this table, and the caller might change a list later
        known = len(self._tallied)
        self._count(keys)
        try:
            self._check_new_tallies(len(self._tallied) - known)
            if self._undo is not None:
                self._listed.append(keys)
        except BaseException:
            self._count_down(keys)
            raise

    def _mark(self, key: Any, value: Any) -> None:
        """Record a change. Called before the value of a key changes."""
        undo = self._undo
        if undo is None:
            self._changed.add(key)
        elif key not in undo:
            kept = value is _MISSING or type(value) in _IMMUTABLE
            undo[key] = value if kept else _copied(value)

    def _mark_all(self, keys: Iterable[Any]) -> None:
        if self._undo is None:
            self._changed.update(keys)
            return
        for key in keys:
            self._mark(key, self._data.get(key, _MISSING))

    def _remember_key(self, key: Any) -> None:
        """Remember the key object for undo. Called before a marked key is deleted."""
        if key not in self._removed:
            self._removed[key] = stored_key(self._data, key)

    def _mark_mutable(self) -> None:
        self._add_all_tallies()
        self._mark_all([key for key, value in self._data.items() if type(value) not in _IMMUTABLE])

    # Tallies

    def _check_new_tallies(self, count: int) -> None:
        """Check the last `count` keys of the tally. Earlier keys were checked when they were added."""
        if not _SELF_EQUAL.issuperset(map(type, islice(reversed(self._tallied), count))):
            _check_keys(list(islice(reversed(self._tallied), count)))

    def _count(self, keys: list[Any]) -> None:
        left = iter(keys)
        try:
            _add_counts(self._tallied, left)
        except BaseException:
            self._count_down(keys[: len(keys) - length_hint(left) - 1])  # the key that failed was not counted
            raise

    @_whole_or_broken
    def _count_down(self, keys: Iterable[Any], counts: Iterable[int] = repeat(1)) -> None:
        tallied = self._tallied
        for key, count in zip(keys, counts):  # noqa: B905
            tallied[key] -= count
            if not tallied[key]:
                del tallied[key]

    def _add_tally(self, key: Any) -> None:
        """Add the tally of one key to its value. Called before the key is read or written."""
        if key in self._tallied:
            self._move_tally(key)

    def _add_all_tallies(self) -> None:
        self.add_tallies(len(self._tallied))

    @_whole_or_broken
    def _move_tally(self, key: Any) -> None:
        """Add the tally of a key to its value. The part since `begin_undo` is added so that `undo` takes it back."""
        if key not in self._data:
            key = stored_key(self._tallied, key)
        count = self._tallied.pop(key)
        while self._listed:
            _add_counts(self._since_undo, self._listed.pop())
        late = self._since_undo.pop(key, 0)
        if late < count:
            self._changed.add(key)
            self._add(key, count - late)
        if late:
            self._mark(key, self._data.get(key, _MISSING))
            self._add(key, late)

    def _add(self, key: Any, count: int) -> None:
        value = self._data.get(key, 0)
        try:
            self._data[key] = value + count
        except TypeError as error:
            raise _tally_error(key, value) from error

    # The runtime's side

    @property
    def is_changed(self) -> bool:
        """Whether `take_changed` would return any key."""
        return bool(self._changed or self._tallied)

    @property
    def touched(self) -> int:
        """Number of changes since `begin_undo`: changed keys, and single tallies."""
        return len(self._undo or ()) + sum(map(len, self._listed)) + sum(self._since_undo.values())

    def begin_undo(self) -> None:
        """Start recording for `undo`. Changes since an earlier call are kept, as by `end_undo`."""
        self.end_undo()
        self._undo = {}

    def end_undo(self) -> None:
        """Stop recording, and keep the changes since `begin_undo`."""
        self._keep_changes()
        self._forget_undo()

    def undo(self) -> None:
        """Restore the content at `begin_undo`, also of values that were changed in place.

        Does nothing if undo was not begun. A broken table is left as it is.
        """
        if self.broken is None:
            self._bring_back()
        self._forget_undo()

    @_whole_or_broken
    def _keep_changes(self) -> None:
        self._changed.update(self._undo or ())
        self._deleted.update(self._removed)

    @_whole_or_broken
    def _bring_back(self) -> None:
        self._count_down(chain.from_iterable(self._listed))
        self._count_down(self._since_undo, self._since_undo.values())
        for key, value in (self._undo or {}).items():
            if value is _MISSING:
                self._data.pop(key, None)
            elif key in self._removed:
                self._data.pop(key, None)
                self._data[self._removed[key]] = value
            else:
                self._data[key] = value

    def _forget_undo(self) -> None:
        self._undo = None
        self._removed.clear()
        self._listed.clear()
        self._since_undo.clear()

    def add_tallies(self, most: int) -> int:
        """Add the tallies of up to `most` keys to their values. Returns the number of keys left.

        Raises `TallyError` for a value that is not a number. Raises `broken` if that is set.
        """
        if self.broken is not None:
            raise self.broken
        tallied = self._tallied
        if tallied:
            self._add_tallies(min(most, len(tallied)))
        return len(tallied)

    @_whole_or_broken
    def _add_tallies(self, most: int) -> None:
        tallied, changed, data = self._tallied, self._changed, self._data
        if self._undo is not None:
            for key in list(islice(tallied, most)):
                self._move_tally(key)
            return
        for _ in range(most):
            key, count = tallied.popitem()
            changed.add(key)
            value = data.get(key, 0)
            try:
                data[key] = value + count
            except TypeError as error:
                raise _tally_error(key, value) from error

    def take_changed(self) -> tuple[set[K], set[K]]:
        """Returns the keys that changed since the last call, and the subset of them that were deleted at some time.

        A deleted key may have been set again as an equal key of another type; `stored_key` returns that key. Must not
        be called between `begin_undo` and its end. Raises as `add_tallies` does.
        """
        self._add_all_tallies()
        taken = self._changed, self._deleted
        self._changed, self._deleted = set(), set()
        return taken

    def view(self) -> Mapping[K, V]:
        """The data, for reading only. Nothing is marked as changed. Raises as `add_tallies` does."""
        self._add_all_tallies()
        return self._data

    def free(self, most: int) -> int:
        """Remove up to `most` keys of a table that is no longer used, to free memory. Returns the number left."""
        data = self._data
        for _ in range(min(most, len(data))):
            data.popitem()
        return len(data)


if TYPE_CHECKING:
    Table = PlainTable
else:
    try:
        from framework_speedups import Table as _TableInC
    except ImportError:
        Table = PlainTable
    else:

        class NativeTable(_TableInC, State):
            """The same as `PlainTable`, in C."""

            __slots__ = ()
            helpers = (_IMMUTABLE, _copied, _MISSING, _tally_error, stored_key, _check_key)

        Table = NativeTable
