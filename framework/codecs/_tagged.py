"""What `json` and `msgpack` share: which values are supported, and how each type that a format lacks is written.

Such a value is written as a *tag*, the type's name or number, with a *plain* value beside it that the format has, or
that is tagged itself. How tag and plain value stand together is the codec's business.
"""

import reprlib
from abc import abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from framework.codecs import Codec
from framework.errors import CodecError

__all__ = ["MAX_NESTING", "TAGS", "Kinds", "Tag", "TaggedCodec", "unique_dict"]

MAX_NESTING: Final = 100
"""How many containers may stand in each other; leaves both libraries room, whose own limits differ."""

_LEAVES: Final = frozenset({NoneType, bool, int, float, str, bytes, date, timedelta, Decimal, UUID})
_CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
_SUPPORTED: Final = _LEAVES | _CONTAINERS | {datetime}


@dataclass(slots=True)
class Kinds:
    """The exact types that occur in a value, at any depth."""

    values: set[type] = field(default_factory=set)
    keys: set[type] = field(default_factory=set)
    """Those of the keys of dicts."""


class TaggedCodec(Codec):
    """A codec that checks values here, and writes and reads them with a library."""

    def encode(self, value: Any) -> bytes:
        kinds = self._check(value)
        try:
            return self._write(value, kinds)
        except (RecursionError, ValueError) as error:
            raise CodecError(f"codec {self.name} cannot write this {_name(type(value))}: {error}") from error

    def decode(self, data: bytes) -> Any:
        try:
            return self._read(data)
        except (ArithmeticError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise CodecError(f"codec {self.name} cannot read these {len(data)} bytes: {reason}") from error

    @abstractmethod
    def _write(self, value: Any, kinds: Kinds) -> bytes:
        """The bytes of a supported value. May raise RecursionError, and ValueError for what the format cannot hold."""

    @abstractmethod
    def _read(self, data: bytes) -> Any:
        """The value. For foreign bytes, raises whatever the library and the constructors of the types raise."""

    def _check(self, value: Any) -> Kinds:
        kinds = Kinds({type(value)})
        try:
            _visit(value, kinds, 0)
        except _RefusedError as refused:
            raise CodecError(f"codec {self.name} cannot hold {refused}") from None
        except RecursionError as error:
            raise CodecError(f"codec {self.name} cannot look into this {_name(type(value))}: {error}") from error
        return kinds


class _RefusedError(Exception):
    """A value that is not supported; each container on the way up adds where in it the value is."""

    def __init__(self, what: str, why: str) -> None:
        self._what = what
        self._why = why
        self._steps: list[str] = []

    def add_step(self, step: str) -> None:
        self._steps.append(step)

    def __str__(self) -> str:
        steps = self._steps[::-1]
        path = "".join(steps[:10]) + ("…" if len(steps) > 10 else "")
        return f"{self._what}{' at ' + path if path else ''}: {self._why}"


def _visit(value: Any, kinds: Kinds, depth: int) -> None:
    kind = type(value)
    if kind in _LEAVES:
        return
    if kind is datetime:
        _visit_zone(value)
    elif kind not in _CONTAINERS:
        raise _RefusedError(f"a value of type {_name(kind)}", _advice(kind))
    elif depth == MAX_NESTING:
        raise _RefusedError(
            f"a value of type {_name(kind)}", f"it is nested deeper than {MAX_NESTING} levels, or holds itself"
        )
    elif kind is dict:
        kinds.keys |= _visit_all(value, value, "<key {}>", kinds, depth + 1)
        _visit_all(value.values(), value, "[{}]", kinds, depth + 1)
    elif kind is list or kind is tuple:
        _visit_all(value, range(len(value)), "[{}]", kinds, depth + 1)
    else:
        _visit_all(value, value, "<element {}>", kinds, depth + 1)


def _visit_all(items: Collection[Any], labels: Iterable[Any], step: str, kinds: Kinds, depth: int) -> set[type]:
    found = set(map(type, items))
    kinds.values |= found
    if not found <= _LEAVES:
        for label, item in zip(labels, items, strict=True):
            try:
                _visit(item, kinds, depth)
            except _RefusedError as refused:
                refused.add_step(step.format(_show(label)))
                raise
    return found


def _visit_zone(value: datetime) -> None:
    zone = value.tzinfo
    if zone is None or type(zone) is timezone or (type(zone) is ZoneInfo and _is_loadable(zone)):
        return
    raise _RefusedError(
        f"a datetime whose tzinfo is of type {_name(type(zone))}",
        "only datetime.timezone and what ZoneInfo(key) gives come back the same",
    )


def _is_loadable(zone: ZoneInfo) -> bool:
    """Whether its key gives this very zone: zones are equal by identity, and one read from a file may be any."""
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


def _show(label: Any) -> str:
    try:
        return reprlib.repr(label)
    except ValueError:  # an int of too many digits
        return f"<{_name(type(label))}>"


@dataclass(frozen=True, slots=True)
class Tag:
    """How a type is written by a format that lacks it."""

    name: str
    code: int | None
    """The number of the msgpack extension type; None where msgpack has the type. Never changed or used again."""
    kind: type
    plain: Any
    """The type, or union of types, of the plain value."""
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    def restore(self, plain: Any) -> Any:
        """The value; raises what its constructor raises."""
        if not isinstance(plain, self.plain):
            raise TypeError(f"a {self.name} is not written as a {type(plain).__name__}")
        return self.from_plain(plain)


def unique_dict(pairs: Collection[Any]) -> dict[Any, Any]:
    """A dict of key and value pairs; raises ValueError for equal keys."""
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a key stands twice in one dict")
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
    """Whether ISO 8601 can tell all of it: no zone, or an offset in minutes and no name."""
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
    """What makes `zone`: its offset, and its name unless the offset gives it."""
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
"""Every tag. `int` is for those beyond a format's range, `float` and `str` for what JSON cannot write."""
