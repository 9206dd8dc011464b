"""Table: the engine of a state. It knows which keys changed, counts tallies apart, and can undo.

There are two engines of the same behaviour: `PlainTable` in Python, and `NativeTable` in C, in `speedups/`. `Table` is
the fastest one that is installed.

An operation that raises has either not changed the table, or has set `broken`: then the table no longer holds what it
should, gives nothing away, and the runtime drops it.
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
"""Types whose values cannot change in place. A tuple may hold a list, so it is not among them."""

_SELF_EQUAL: Final = _IMMUTABLE - {float, decimal.Decimal, frozenset}
"""Types of keys of which each equals itself."""

_CONTAINERS: Final = frozenset({list, dict, set, tuple})

_add_counts: Final[Any] = Counter.update  # in C for any dict


def _copied(value: Any) -> Any:
    """A deep copy; quickly, where a container holds nothing that can change in place."""
    kind = type(value)
    if kind in _CONTAINERS and _IMMUTABLE.issuperset(map(type, value.values() if kind is dict else value)):
        return kind(value)
    return copy.deepcopy(value)


def _check_key(key: Any) -> None:
    """Raises `TypeError` for a key without a hash, and `ValueError` for one that does not equal itself."""
    if type(key) is tuple and _SELF_EQUAL.issuperset(map(type, key)):
        return
    hash(key)
    if not equals_itself(key):
        raise ValueError(
            f"{show(key)} cannot be a key of state: NaN does not equal itself, so it would be another key after each "
            "restart"
        )


def _check_keys(keys: Collection[Any]) -> None:
    if not _SELF_EQUAL.issuperset(map(type, keys)):
        for key in keys:
            _check_key(key)


class _Probe:
    """Equals the key that it looks for, and keeps the object that it is compared with."""

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
    """The key object that a dict holds for an equal key, such as `1` for `True`; `key` itself where it holds none.

    Equal str differ in nothing, and neither do equal bytes: they are given back without a look.
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
    """For a method that leaves the table half-done when anything raises in it: sets `broken` then."""

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
    """A dict, and beside it: what changed, what is tallied, and what was there at `begin_undo`.

    Tallies are counted apart, and added to a key's value when somebody reads or writes it, or looks at all of them: the
    values of hundreds of thousands of keys are then touched once a checkpoint, not once a record.
    """

    __slots__ = (
        "_changed", "_data", "_deleted", "_listed", "_removed", "_since_undo", "_tallied", "_undo", "broken",
    )  # fmt: skip

    def __init__(self, data: dict[K, V] | None = None) -> None:
        """`data` becomes the table's own, without a copy."""
        self._data: dict[Any, Any] = {} if data is None else data
        self._changed: set[Any] = set()
        self._deleted: set[Any] = set()
        """Those of the changed keys that were deleted at some time, so that their type may be another now."""
        self._tallied: dict[Any, int] = {}
        self._undo: dict[Any, Any] | None = None
        """The values from before, which are changed, too; `_MISSING` for keys without one."""
        self._removed: dict[Any, Any] = {}
        """The key objects that were deleted since `begin_undo`, by themselves."""
        self._listed: list[list[Any]] = []
        """What was tallied since `begin_undo`, as it came."""
        self._since_undo: dict[Any, int] = {}
        """The same, once it had to be looked through."""
        self.broken: BaseException | None = None
        """The error that left the table other than it should be. Later operations do not clear it."""

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
        """The value of a key, which counts as changed if it can change in place; else `default`."""
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
        """As `dict.update`; the fast way to change many keys at once."""
        new: dict[Any, Any] = dict(other, **names)
        _check_keys(new)
        self._add_all_tallies()
        self._mark_all(new)
        self._data.update(new)

    def tally(self: "PlainTable[K, int]", keys: Iterable[K], /) -> None:
        """As `State.tally`. Raises `TypeError` and `ValueError` for what cannot be a key; nothing is counted then."""
        keys = list(keys)  # making them may read this table; and what is listed stays as it is
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
        """Before the value of a key changes."""
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
        """Before a key that is marked goes, with undo."""
        if key not in self._removed:
            self._removed[key] = stored_key(self._data, key)

    def _mark_mutable(self) -> None:
        self._add_all_tallies()
        self._mark_all([key for key, value in self._data.items() if type(value) not in _IMMUTABLE])

    # Tallies

    def _check_new_tallies(self, count: int) -> None:
        """The keys that came last; those that are known were checked before."""
        if not _SELF_EQUAL.issuperset(map(type, islice(reversed(self._tallied), count))):
            _check_keys(list(islice(reversed(self._tallied), count)))

    def _count(self, keys: list[Any]) -> None:
        left = iter(keys)
        try:
            _add_counts(self._tallied, left)
        except BaseException:
            self._count_down(keys[: len(keys) - length_hint(left) - 1])  # the one at hand was not counted
            raise

    @_whole_or_broken
    def _count_down(self, keys: Iterable[Any], counts: Iterable[int] = repeat(1)) -> None:
        tallied = self._tallied
        for key, count in zip(keys, counts):  # noqa: B905
            tallied[key] -= count
            if not tallied[key]:
                del tallied[key]

    def _add_tally(self, key: Any) -> None:
        """Before a key is looked at."""
        if key in self._tallied:
            self._move_tally(key)

    def _add_all_tallies(self) -> None:
        self.add_tallies(len(self._tallied))

    @_whole_or_broken
    def _move_tally(self, key: Any) -> None:
        """Add what was tallied to the value of a key, so that undo takes back what came since it began."""
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
        """Whether `take_changed` would give any key."""
        return bool(self._changed or self._tallied)

    @property
    def touched(self) -> int:
        """How many keys can be undone; of what was tallied, how many times."""
        return len(self._undo or ()) + sum(map(len, self._listed)) + sum(self._since_undo.values())

    def begin_undo(self) -> None:
        """From here, remember what was before; what an earlier call remembers is kept as changed."""
        self.end_undo()
        self._undo = {}

    def end_undo(self) -> None:
        """Keep what was changed since `begin_undo`."""
        self._keep_changes()
        self._forget_undo()

    def undo(self) -> None:
        """Bring back what was there at `begin_undo`, values changed in place included.

        Does nothing where undo was not begun, and nothing to a table that is broken.
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
        """Add what was tallied to the values of that many keys at the most; gives how many keys are left.

        Raises `TallyError` for a value that is no number. Raises `broken` where that is set.
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
        """Take out the keys that changed since the last call, gone or not; and those of them that were deleted.

        A key that was deleted may be there again, as an equal key of another type: `stored_key` tells which one.
        Not to be called between `begin_undo` and its end. Raises as `add_tallies` does.
        """
        self._add_all_tallies()
        taken = self._changed, self._deleted
        self._changed, self._deleted = set(), set()
        return taken

    def view(self) -> Mapping[K, V]:
        """The data itself, to read without marking anything as changed. Raises as `add_tallies` does."""
        self._add_all_tallies()
        return self._data

    def free(self, most: int) -> int:
        """Give back the memory of that many keys at the most, since nobody needs them; gives how many are left."""
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
            """As `PlainTable`, in C."""

            __slots__ = ()
            helpers = (_IMMUTABLE, _copied, _MISSING, _tally_error, stored_key, _check_key)

        Table = NativeTable
