"""The `json` codec: one line of readable, strictly valid JSON.

A dict with str keys is written as an object, and a list as an array. A value of a type that JSON lacks is written as an
object with a single key that starts with `$`: `{"$tuple": [1, 2]}`. A dict that looks like such an object, or has other
keys than str, is written as `{"$dict": [[k, v]]}`.
"""

import json
from collections.abc import Callable, Iterable
from math import isfinite
from types import NoneType
from typing import Any, Final, NoReturn

from framework.codecs._tagged import TAGS, Contents, TaggedCodec, unique_dict

__all__ = ["JsonCodec"]

_TAG_NAMED: Final = {f"${tag.name}": tag for tag in TAGS}
_TAG_OF: Final = {tag.kind: tag for tag in TAGS}

_Native = frozenset[type]
"""Types that are written as they are."""

_USUALLY: Final[_Native] = frozenset({NoneType, bool, int, float, str})
"""Types of which most values are native. Ints of very many digits, NaN, ±inf and str with lone surrogates are not, and
raise ValueError."""

_ALWAYS: Final[_Native] = frozenset({NoneType, bool})

_STR: Final[_Native] = frozenset({str})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_IS_NATIVE: Final[dict[type, Callable[[Any], bool]]] = {
    # fewer than 640 digits, the lowest limit for reading ints that Python can be set to
    int: lambda number: number.bit_length() <= 2048,
    float: isfinite,
    str: _is_unicode,
}


class JsonCodec(TaggedCodec):
    """Writes JSON that a person can read, and that decodes to equal Python values of the same types."""

    name = "json"

    def _write(self, value: Any, contents: Contents) -> bytes:
        try:
            if contents.values <= _USUALLY | {list, dict} and contents.keys <= _STR:
                text = _dump(value)
                if '{"$' not in text:
                    return text.encode()
            return _dump(_plain(value, _USUALLY)).encode()
        except ValueError:
            return _dump(_plain(value, _ALWAYS)).encode()

    def _read(self, data: bytes) -> Any:
        return _load(data.decode())


def _plain(value: Any, native: _Native) -> Any:
    kind = type(value)
    if kind in native:
        return value
    if kind is list:
        return value if _all_in(native, value) else [_plain(item, native) for item in value]
    if kind is dict:
        return _plain_dict(value, native)
    if kind in _IS_NATIVE and _IS_NATIVE[kind](value):
        return value
    tag = _TAG_OF[kind]
    return {f"${tag.name}": _plain(tag.to_plain(value), native)}


def _plain_dict(value: dict[Any, Any], native: _Native) -> dict[str, Any]:
    natives = _all_in(native, value.values())
    if _is_object(value, native):
        return value if natives else {key: _plain(item, native) for key, item in value.items()}
    pairs = _TAG_OF[dict].to_plain(value)
    if not natives or not _all_in(native, value):
        pairs = [[_plain(key, native), _plain(item, native)] for key, item in pairs]
    return {"$dict": pairs}


def _is_object(value: dict[Any, Any], native: _Native) -> bool:
    if not _all_in(_STR, value) or (len(value) == 1 and next(iter(value)).startswith("$")):
        return False
    return str in native or all(map(_is_unicode, value))


def _all_in(kinds: _Native, items: Iterable[Any]) -> bool:
    return kinds.issuperset(map(type, items))


def _restore(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) == 1 and pairs[0][0].startswith("$"):
        [(name, plain)] = pairs
        if name not in _TAG_NAMED:
            raise ValueError(f"unknown tag {name}")
        return _TAG_NAMED[name].restore(plain)
    return unique_dict(pairs)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_dump: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False).encode
_load: Final = json.JSONDecoder(object_pairs_hook=_restore, parse_constant=_refuse_constant).decode
