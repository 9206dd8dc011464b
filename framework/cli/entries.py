"""Entries of a state, key by key, for people and programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from framework.codecs.json import JsonCodec
from framework.errors import UsageError
from framework.stores import Unit

__all__ = ["Entry", "entry_line", "entry_rows", "ordered", "shown"]

_JSON: Final = JsonCodec()
_PLAIN: Final = (float, Decimal, date, timedelta, UUID)
_WORDS: Final = {"null", "true", "false"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a state, and where it is from."""

    unit: Unit
    key: Any
    value: Any


def entry_line(entry: Entry, *of_unit: str) -> bytes:
    """A JSON object with these attributes of the unit, then key and value; what JSON lacks is as in codec json."""
    head = _JSON.encode({name: getattr(entry.unit, name) for name in of_unit})
    return b'%b, "key": %b, "value": %b}' % (head[:-1], _JSON.encode(entry.key), _JSON.encode(entry.value))


def ordered(entries: Sequence[Entry], top: int | None = None) -> list[Entry]:
    """By value, the greatest first, where all are numbers; else by key. Raises `UsageError` for a `top` of others."""
    by_key = sorted(entries, key=_key_order)
    odd = next((entry for entry in by_key if not isinstance(entry.value, int | float | Decimal)), None)
    if odd is None:
        return sorted(by_key, key=_value_order, reverse=True)[:top]
    if top is not None:
        raise UsageError(
            f"--top compares values, which must be numbers; that of {shown(odd.key)} is a {type(odd.value).__name__}"
        )
    return by_key


def _key_order(entry: Entry) -> tuple[bool, Any, str]:
    is_number = isinstance(entry.key, int | float | Decimal) and not _is_nan(entry.key)
    return not is_number, entry.key if is_number else 0, shown(entry.key)


def _value_order(entry: Entry) -> tuple[bool, Any]:
    is_nan = _is_nan(entry.value)
    return not is_nan, 0 if is_nan else entry.value


def _is_nan(number: float | Decimal) -> bool:
    return number.is_nan() if isinstance(number, Decimal) else number != number


def entry_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of keys and values; where a key is in several partitions, with the partition too."""
    keys = {(type(entry.key), entry.key) for entry in entries}
    quoted = any(not isinstance(entry.key, str | None) for entry in entries)
    several = len(keys) < len(entries)
    return [
        ({"partition": f"{entry.unit.topic}-{entry.unit.partition}"} if several else {})
        | {"key": shown(entry.key, quoted=quoted), "value": shown(entry.value)}
        for entry in entries
    ]


def shown(value: Any, *, quoted: bool = False) -> str:
    """A key or value for a person; None is `null`, and strings that look like something else are in quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=not value.isprintable()) if quoted or _is_confusing(value) else value
    if isinstance(value, _PLAIN):
        return str(value)
    return _JSON.encode(value).decode()


def _is_confusing(text: str) -> bool:
    return text in _WORDS or not text.isprintable() or text != text.strip() or text[:1] in ("", '"', "{", "[")
