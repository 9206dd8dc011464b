"""The common part of the codecs `json` and `msgpack`: checks of values, and tags for types that a format lacks.

A value of such a type is written as a *tag* and a *plain* value. The tag is the type's name or number. The plain value
is of a type that the format has, or is tagged itself. Each codec has its own notation for the pair.
"""

from abc import abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import chain, islice
from types import NoneType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from framework.codecs import Codec
from framework.errors import CodecError
from framework.keys import equals_itself, show

__all__ = ["MAX_NESTING", "TAGS", "Contents", "Tag", "TaggedCodec", "unique_dict"]

MAX_NESTING: Final = 100
"""Largest depth of nested containers. It is below the limits of both libraries."""

_LEAVES: Final = frozenset({NoneType, bool, int, float, str, bytes, date, timedelta, Decimal, UUID})
_LEAVES_AND_TUPLES: Final = _LEAVES | {tuple}
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_MUTABLE: Final = frozenset({list, dict, set})
_MAY_BE_NAN: Final = frozenset({float, Decimal})
_MAY_HOLD_NAN: Final = _MAY_BE_NAN | {tuple, frozenset}
_SUPPORTED: Final = _LEAVES | _CONTAINERS | {datetime}


@dataclass(slots=True)
class Contents:
    """The types and containers in a value, at any depth."""

    values: set[type] = field(default_factory=set)
    """Exact types of all values."""
    keys: set[type] = field(default_factory=set)
    """Exact types of the keys of dicts."""
    containers: set[int] = field(default_factory=set)
    """The ids of all lists, dicts and sets."""


class TaggedCodec(Codec):
    """A codec that checks values, and leaves writing and reading to a library."""

    def encode(self, value: Any) -> bytes:
        contents = self._check(value)
        try:
            return self._write(value, contents)
        except (RecursionError, ValueError) as error:
            raise CodecError(f"codec {self.name} cannot write this {_name(type(value))}: {error}") from error

    def decode(self, data: bytes) -> Any:
        try:
            return self._read(data)
        except MemoryError:
            raise
        except Exception as error:  # foreign bytes may make the constructor of a type raise any error
            reason = str(error) or type(error).__name__
            raise CodecError(f"codec {self.name} cannot read these {len(data)} bytes: {reason}") from error

    @abstractmethod
    def _write(self, value: Any, contents: Contents) -> bytes:
        """Returns the bytes of a supported value. May raise RecursionError, or ValueError for an unsupported value."""

    @abstractmethod
    def _read(self, data: bytes) -> Any:
        """Returns the value. May raise any error of the library and of the constructors of the types."""

    def _check(self, value: Any) -> Contents:
        contents = Contents({type(value)})
        try:
            _visit_whole(value, contents)
        except _RefusedError as refused:
            raise CodecError(f"codec {self.name} cannot hold {refused}") from None
        except RecursionError as error:
            raise CodecError(f"codec {self.name} cannot check this {_name(type(value))}: {error}") from error
        return contents


class _RefusedError(Exception):
    """A value that is not supported. Each container around it adds its step to the path."""

    def __init__(self, what: str, why: str) -> None:
        self._what = what
        self._why = why
        self._steps: list[str] = []

    def add_step(self, step: str) -> None:
        self._steps.append(step)

    def __str__(self) -> str:
        path = _path(self._steps[::-1])
        return f"{self._what}{' at ' + path if path else ''}: {self._why}"


class _TwiceError(Exception):
    """A list, dict or set object stands at two places of a value."""

    def __init__(self, container: Any) -> None:
        self.container = container


def _visit_whole(value: Any, contents: Contents) -> None:
    try:
        _visit(value, contents, 0)
    except _TwiceError as twice:
        raise _refused_for_both_places(value, twice.container) from None


def _visit(value: Any, contents: Contents, depth: int) -> None:
    kind = type(value)
    if kind in _LEAVES:
        return
    if kind in _MUTABLE:
        containers, own = contents.containers, id(value)
        if own in containers:
            raise _TwiceError(value)
        containers.add(own)
    if depth >= MAX_NESTING or kind not in _CONTAINERS:
        _visit_other(value, kind)
    elif kind is dict:
        contents.keys |= _visit_hashed(value, "<key {}>", contents, depth + 1)
        _visit_all(value.values(), value, "[{}]", contents, depth + 1)
    elif kind is list or kind is tuple:
        _visit_all(value, range(len(value)), "[{}]", contents, depth + 1)
    else:
        _visit_hashed(value, "<element {}>", contents, depth + 1)


def _visit_other(value: Any, kind: type) -> None:
    if kind is datetime:
        _visit_zone(value)
    elif kind in _CONTAINERS:
        raise _RefusedError(f"a value of type {_name(kind)}", f"it is nested deeper than {MAX_NESTING} levels")
    else:
        raise _RefusedError(f"a value of type {_name(kind)}", _advice(kind))


def _visit_hashed(items: Collection[Any], step: str, contents: Contents, depth: int) -> set[type]:
    found = _visit_all(items, items, step, contents, depth)
    if not found.isdisjoint(_MAY_HOLD_NAN) and not contents.values.isdisjoint(_MAY_BE_NAN):
        for item in items:
            if not equals_itself(item):
                refused = _RefusedError("NaN", "it does not equal itself, so that a lookup could never find it")
                refused.add_step(step.format(show(item)))
                raise refused
    return found


def _visit_all(items: Collection[Any], labels: Iterable[Any], step: str, contents: Contents, depth: int) -> set[type]:
    found = set(map(type, items))
    contents.values |= found
    if not (found <= _LEAVES or _are_flat_tuples(items, found, contents, depth)):
        for label, item in zip(labels, items, strict=True):
            try:
                _visit(item, contents, depth)
            except _RefusedError as refused:
                refused.add_step(step.format(show(label)))
                raise
    return found


def _are_flat_tuples(items: Collection[Any], kinds: set[type], contents: Contents, depth: int) -> bool:
    """Whether each item is a leaf or a tuple of leaves. Such tuples are usual keys; this is faster than `_visit`."""
    if depth >= MAX_NESTING or not kinds <= _LEAVES_AND_TUPLES:
        return False
    tuples = items if len(kinds) == 1 else [item for item in items if type(item) is tuple]
    found = set(map(type, chain.from_iterable(tuples)))
    if not found <= _LEAVES:
        return False
    contents.values |= found
    return True


def _refused_for_both_places(value: Any, container: Any) -> _RefusedError:
    kind = _name(type(container))
    first, second = islice(_places(value, container, []), 2)
    at, again = _path(first) or "the top", _path(second)
    if second[: len(first)] == first:
        return _RefusedError(f"a {kind} that holds itself", f"the one at {at} is also at {again}")
    return _RefusedError(
        f"the same {kind} object at {at} and at {again}",
        "a load would make two objects of it; store a copy at one place",
    )


def _places(value: Any, wanted: Any, path: list[str]) -> Iterator[list[str]]:
    """Yields the places of a container in a value, in the order of `_visit`; endlessly if it holds itself."""
    if value is wanted:
        yield path
    if type(value) is dict:
        for key, item in value.items():
            yield from _places(item, wanted, [*path, f"[{show(key)}]"])
    elif type(value) is list or type(value) is tuple:
        for place, item in enumerate(value):
            yield from _places(item, wanted, [*path, f"[{place}]"])


def _path(steps: list[str]) -> str:
    return "".join(steps[:10]) + ("…" if len(steps) > 10 else "")


def _visit_zone(value: datetime) -> None:
    zone = value.tzinfo
    if zone is None or type(zone) is timezone or (type(zone) is ZoneInfo and _is_loadable(zone)):
        return
    raise _RefusedError(
        f"a datetime whose tzinfo is of type {_name(type(zone))}",
        "convert it to a datetime.timezone or to ZoneInfo(key); other time zones cannot be loaded again",
    )


def _is_loadable(zone: ZoneInfo) -> bool:
    """Whether `ZoneInfo` returns the same object for the zone's key. Zones from files may have any key."""
    try:
        return ZoneInfo(zone.key) is zone
    except (LookupError, OSError, TypeError, ValueError):
        return False


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(kind: type) -> str:
    for base in kind.__mro__:
        if base in _SUPPORTED:
            return f"it would come back as {_name(base)}; convert it to that"
    names = ", ".join(sorted("None" if each is NoneType else each.__name__ for each in _SUPPORTED))
    return f"convert it to one of {names}"


@dataclass(frozen=True, slots=True)
class Tag:
    """The conversion of a type to a plain value, for formats that lack the type."""

    name: str
    code: int | None
    """Number of the msgpack extension type; None if msgpack has the type. A number is never changed or reused."""
    kind: type
    plain: Any
    """Type, or union of types, of the plain value."""
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    def restore(self, plain: Any) -> Any:
        """Convert a plain value back. Raises `TypeError`, and any error of the type's constructor."""
        if not isinstance(plain, self.plain):
            raise TypeError(f"a {self.name} is not written as a {type(plain).__name__}")
        return self.from_plain(plain)


def unique_dict(pairs: Collection[Any]) -> dict[Any, Any]:
    """A dict of pairs of key and value. Raises ValueError for equal keys."""
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a dict has the same key twice")
    return items


def _bytes_to_plain(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _bytes_from_plain(plain: str) -> bytes:
    return b64decode(plain, validate=True)


def _datetime_to_plain(value: datetime) -> str | list[Any]:
    if not value.fold and _is_iso(value.tzinfo):
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), value.fold, _zone_to_plain(value.tzinfo)]


def _datetime_from_plain(plain: str | list[Any]) -> datetime:
    if isinstance(plain, str):
        return datetime.fromisoformat(plain)
    clock, fold, zone = plain
    return datetime.fromisoformat(clock).replace(fold=fold, tzinfo=_zone_from_plain(zone))


def _is_iso(zone: Any) -> bool:
    """Whether ISO 8601 can express the zone: none, or an offset in whole minutes without a name."""
    if zone is None or zone is UTC:
        return True
    return type(zone) is timezone and len(_arguments(zone)) == 1 and not zone.utcoffset(None) % timedelta(minutes=1)


def _zone_to_plain(zone: Any) -> str | list[Any] | None:
    if zone is None:
        return None
    return zone.key if isinstance(zone, ZoneInfo) else _arguments(zone)


def _zone_from_plain(plain: str | list[Any] | None) -> timezone | ZoneInfo | None:
    if plain is None:
        return None
    return ZoneInfo(plain) if isinstance(plain, str) else timezone(*plain)


def _arguments(zone: timezone) -> list[Any]:
    """The arguments of `timezone` for `zone`: its offset, and its name if that does not follow from the offset."""
    offset, name = zone.utcoffset(None), zone.tzname(None)
    return [offset] if name == timezone(offset).tzname(None) else [offset, name]


TAGS: Final = (
    Tag("int", 1, int, str, hex, lambda plain: int(plain, 16)),
    Tag("tuple", 2, tuple, list, list, tuple),
    Tag("set", 3, set, list, list, set),
    Tag("frozenset", 4, frozenset, list, list, frozenset),
    Tag("datetime", 5, datetime, str | list, _datetime_to_plain, _datetime_from_plain),
    Tag("date", 6, date, str, date.isoformat, date.fromisoformat),
    Tag("timedelta", 7, timedelta, list, lambda value: [value.days, value.seconds, value.microseconds],
        lambda plain: timedelta(*plain)),
    Tag("decimal", 8, Decimal, str, str, Decimal),
    Tag("uuid", 9, UUID, str, str, UUID),
    Tag("dict", None, dict, list, lambda value: list(map(list, value.items())), unique_dict),
    Tag("bytes", None, bytes, str, _bytes_to_plain, _bytes_from_plain),
    Tag("float", None, float, str, repr, float),
    Tag("str", None, str, str, lambda value: _bytes_to_plain(value.encode("utf-8", "surrogatepass")),
        lambda plain: _bytes_from_plain(plain).decode("utf-8", "surrogatepass")),
)  # fmt: skip
"""All tags. `int` is for numbers beyond a format's range, `float` and `str` for values that JSON cannot write."""
