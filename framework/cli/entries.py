"""Entries of a state, key by key, for people and programs."""

import heapq
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from framework.borders import describe, is_plugin_failure, located
from framework.codecs.json import JsonCodec
from framework.errors import CodecError, PluginError, UsageError
from framework.keys import show
from framework.processor import Processor
from framework.stores import Unit

__all__ = ["Entry", "entries_of", "entry_line", "entry_rows", "keys_named", "ordered", "shown"]

_JSON: Final = JsonCodec()
_NUMBERS: Final = frozenset({bool, int, float, Decimal})
_MAY_BE_NAN: Final = frozenset({float, Decimal})
_COMPARABLE: Final = frozenset({str, bytes, date, datetime, timedelta})
"""Types whose values can be ordered where all are of the same one."""
_WORDS: Final = {"null", "true", "false"}


class Entry(NamedTuple):
    """A key of a state, and where it is from."""

    unit: Unit
    key: Any
    value: Any
    fields: Mapping[str, Any] | None = None
    """All fields to print, key and value among them, if the plugin names others too; else None."""


def entries_of(unit: Unit, state: Mapping[Any, Any], processor: type[Processor] | None) -> list[Entry]:
    """The entries of a state as its processor names them; without a processor, as they are stored.

    Raises `PluginError` if the processor cannot name them.
    """
    if processor is None or processor.entries.__func__ is Processor.entries.__func__:  # type: ignore[attr-defined]
        return [Entry(unit, key, value) for key, value in state.items()]
    try:
        found = [dict(fields) for fields in processor.entries(state)]
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise PluginError(
            f"plugin {unit.plugin} cannot read the state of {unit}: {located(describe(error), error)}; use the version "
            "of the plugin that wrote it"
        ) from error
    for fields in found:
        if not fields.keys() >= {"key", "value"}:
            raise PluginError(
                f"plugin {unit.plugin}: entries gives an entry with the fields {', '.join(map(str, fields))}, but each "
                "entry needs key and value"
            )
    return [Entry(unit, fields["key"], fields["value"], fields) for fields in found]


def entry_line(entry: Entry, *of_unit: str) -> bytes:
    """A JSON object with these attributes of the unit, then key and value, or the fields that the plugin names.

    What JSON lacks is as in codec json.
    """
    if entry.fields is not None:
        return b"%b, %b" % (_line_head(entry.unit, of_unit), _JSON.encode(dict(entry.fields))[1:])
    return b'%b, "key": %b, "value": %b}' % (
        _line_head(entry.unit, of_unit),
        _JSON.encode(entry.key),
        _JSON.encode(entry.value),
    )


@lru_cache
def _line_head(unit: Unit, of_unit: tuple[str, ...]) -> bytes:
    return _JSON.encode({name: getattr(unit, name) for name in of_unit})[:-1]


def keys_named(keys: Iterable[Any], text: str) -> list[Any]:
    """The keys that a user may mean by `text`: written as in a table, or as JSON, where an array is a tuple, too."""
    meant = {text, *_json_key(text)}
    return [key for key in keys if key in meant or (type(key) is not str and shown(key) == text)]


def _json_key(text: str) -> list[Any]:
    try:
        key = _JSON.decode(text.encode())
        key = tuple(key) if isinstance(key, list) else key
        hash(key)
    except (CodecError, UnicodeEncodeError, TypeError):
        return []
    return [] if isinstance(key, bool) else [key]  # which would equal the key 0 or 1


# Order


def ordered(
    entries: Sequence[Entry], limit: int | None = None, *, by: str | None = None, top: bool = False
) -> list[Entry]:
    """The first `limit` entries: by value, the greatest first, where all values are numbers; else by key.

    `by` names a field to take in place of each value: dots reach into objects, numbers into lists. Entries with fields
    that their plugin names are ordered by key, and then stay in the plugin's order; `by` may name one of these fields.
    Entries without the
    field, or with None in it, come last. With it, and with `top`, the order is by value: of numbers, or of texts or
    times that are all of one type. Raises `UsageError` for other values, and for a field that no value has.
    """
    if by is not None:
        return _ordered_by(entries, limit, by)
    values = [entry.value for entry in entries]
    if not top and (any(entry.fields for entry in entries) or not set(map(type, values)) <= _NUMBERS):
        return _by_key(entries)[:limit]
    return _by_value(entries, values, limit, None)


def _ordered_by(entries: Sequence[Entry], limit: int | None, by: str) -> list[Entry]:
    values = [_field_of(entry, by) for entry in entries]
    if entries and all(value is None for value in values):
        first = entries[0]
        raise UsageError(f"--by {by}: the value of {shown(first.key)} has no such field{_fields_of(first.value)}")
    having = [place for place, value in enumerate(values) if value is not None]
    found = _by_value([entries[place] for place in having], [values[place] for place in having], limit, by)
    return [*found, *_by_key([entry for entry, value in zip(entries, values, strict=True) if value is None])][:limit]


def _by_key(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=_key_order({type(entry.key) for entry in entries}))


def _by_value(entries: Sequence[Entry], values: Sequence[Any], limit: int | None, by: str | None) -> list[Entry]:
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return _greatest(entries, values, limit, may_be_nan=not kinds.isdisjoint(_MAY_BE_NAN))
    if len(kinds) > 1 or not kinds <= _COMPARABLE:
        raise UsageError(_not_comparable(entries, values, by))
    try:
        return _greatest(entries, values, limit, may_be_nan=False)
    except TypeError as error:  # times with and without a time zone
        raise UsageError(f"the values cannot be ordered: {error}; leave --top and --by out") from error


def _field_of(entry: Entry, path: str) -> Any:
    return entry.fields[path] if entry.fields and path in entry.fields else _field(entry.value, path)


def _field(value: Any, path: str) -> Any:
    """The field of a value; None if the value has no such field."""
    found = value
    for name in path.split("."):
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list | tuple) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _fields_of(value: Any) -> str:
    """Tells what fields a value has, in parentheses."""
    if isinstance(value, Mapping) and value:
        return f" (it has: {', '.join(map(shown, value))})"
    if isinstance(value, list | tuple) and value:
        return f" (it has: 0 to {len(value) - 1})" if len(value) > 1 else " (it has: 0)"
    return f" (it is {show(value)}); leave --by out"


def _not_comparable(entries: Sequence[Entry], values: Sequence[Any], by: str | None) -> str:
    odd = next(place for place, value in enumerate(values) if type(value) not in _NUMBERS)
    key, value = entries[odd].key, values[odd]
    what = f"the value of {shown(key)}" if by is None else f"field {by} of {shown(key)}"
    has_fields = isinstance(value, dict | list | tuple) and value
    advice = f"; name one of its fields with --by{_fields_of(value)}" if has_fields else ""
    kind = type(value).__name__
    return f"only numbers, or texts or times of one type, can be ordered, but {what} is a {kind}{advice}"


def _greatest(entries: Sequence[Entry], values: Sequence[Any], limit: int | None, *, may_be_nan: bool) -> list[Entry]:
    """By value, the greatest first and NaN last; entries of equal values by key."""
    marks = [(False, 0) if _is_nan(value) else (True, value) for value in values] if may_be_nan else values
    places: Sequence[int] = range(len(entries))
    if limit is not None and limit < len(entries):
        least = heapq.nlargest(limit, marks)[-1]
        places = [place for place in places if marks[place] >= least]
    order = _key_order({type(entries[place].key) for place in places})
    by_key = sorted(places, key=lambda place: order(entries[place]))
    return [entries[place] for place in sorted(by_key, key=marks.__getitem__, reverse=True)[:limit]]


def _is_nan(number: float | Decimal) -> bool:
    return number.is_nan() if isinstance(number, Decimal) else number != number


def _key_order(kinds: Collection[type]) -> Callable[[Entry], Any]:
    """The sort key for entries whose keys are of these types: numbers come first, then all others by their text."""
    return (lambda entry: entry.key) if kinds == {str} else _mixed_key_order


def _mixed_key_order(entry: Entry) -> tuple[bool, Any, str]:
    key = entry.key
    if type(key) in _NUMBERS and not _is_nan(key):
        return False, key, ""
    return True, 0, key if isinstance(key, str) else shown(key)


# Text


def entry_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of the fields; where a key, with its other fields, is in several partitions, with the partition too."""
    quoted = any(not isinstance(entry.key, str | None) for entry in entries)
    rows = [_row(entry, quoted) for entry in entries]
    if len({_identity(entry) for entry in entries}) == len(entries):
        return rows
    return [
        {"partition": f"{entry.unit.topic}-{entry.unit.partition}", **row}
        for entry, row in zip(entries, rows, strict=True)
    ]


def _row(entry: Entry, quoted: bool) -> dict[str, Any]:
    fields = entry.fields or {"key": entry.key, "value": entry.value}
    return {name: shown(value, quoted=quoted and name == "key") for name, value in fields.items()}


def _identity(entry: Entry) -> Any:
    others = {name: shown(value) for name, value in (entry.fields or {}).items() if name not in ("key", "value")}
    return type(entry.key), entry.key, tuple(others.items())


def shown(value: Any, *, quoted: bool = False) -> str:
    """A key or value for a person; None is `null`, and strings that look like something else are in quotes.

    Tuples are in parentheses and sets in braces, as in Python; the rest is as in JSON.
    """
    if type(value) is str:
        return _quoted(value) if quoted or _is_confusing(value) else value
    if type(value) is int:
        return _number(value)
    if type(value) is list or type(value) is dict:
        text = _JSON.encode(value).decode()
        if '{"$' not in text and text.isprintable():
            return text
    return _inner(value)


def _inner(value: Any) -> str:
    """A value as it stands within another one."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return _quoted(value)
        case list():
            return f"[{_joined(value)}]"
        case tuple():
            return f"({_joined(value)}{',' if len(value) == 1 else ''})"
        case dict():
            return f"{{{', '.join(f'{_inner(key)}: {_inner(item)}' for key, item in value.items())}}}"
        case set() | frozenset():
            return f"{{{', '.join(sorted(map(_inner, value)))}}}" if value else "set()"
        case bytes():
            return repr(value)
    return _number(value) if isinstance(value, int) else str(value)


def _number(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return _JSON.encode(value).decode()


def _joined(items: Sequence[Any]) -> str:
    return ", ".join(map(_inner, items))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _is_confusing(text: str) -> bool:
    return text in _WORDS or not text.isprintable() or text != text.strip() or text[:1] in ("", '"', "{", "[", "(")
