"""Aliases: the same container object under two keys of a state. A load would make two objects of it."""

from collections.abc import Iterator, Mapping
from sys import getrefcount
from typing import Any, Final

from framework.borders import shown
from framework.errors import CodecError

__all__ = ["Aliases"]

_CONTAINERS: Final = frozenset({list, dict, set})
_HOLDERS: Final = frozenset({list, dict, set, tuple})
"""Types to search for containers: the containers themselves, and tuples."""
_MISSING: Final[Any] = object()


class Aliases:
    """Finds container objects that stand under two keys, at any depth, also if the keys are written in different rows.

    A container can be an alias only if more than one reference to it exists. So only the keys of such containers are
    remembered. Aliases within one row are found by the codec.
    """

    def __init__(self) -> None:
        self._keys: dict[int, Any] = {}
        """The last known key by the id of a container. Python may have given the id to another object since."""

    def check(self, values: Mapping[Any, Any], table: Mapping[Any, Any]) -> None:
        """Raises `CodecError` if a container in `values` also stands under another key of `table`.

        `values` has some of the keys of `table`, with their values.
        """
        for key, container in _suspects(values, _OWN_REFERENCES, _NESTED_REFERENCES):
            other = self._keys.get(id(container), _MISSING)
            if other is not _MISSING and other != key and _holds(table.get(other), container):
                raise CodecError(
                    f"the same {type(container).__name__} object stands under the keys {shown(other)} and "
                    f"{shown(key)}; a load would make two objects of it, so store a copy under one of the keys"
                )
            self._keys[id(container)] = key
        if len(self._keys) > 2 * len(table) + 1_000:
            self._keys = {place: key for place, key in self._keys.items() if key in table}


def _suspects(values: Mapping[Any, Any], own: int, nested: int) -> list[tuple[Any, Any]]:
    """Pairs of a key and a container with more references than `own`, or `nested` if it is inside a value."""
    found = []
    for key, value in values.items():
        kind = type(value)
        if kind not in _HOLDERS:
            continue
        if kind is not tuple and getrefcount(value) > own:
            found.append((key, value))
        for container in _nested(value, nested):
            found.append((key, container))  # noqa: PERF401 - a comprehension would hold references, too
    return found


def _nested(value: Any, references: int) -> list[Any]:
    found: list[Any] = []
    seen: set[int] = {id(value)}
    left = [value]
    while left:
        for item in _items(left.pop()):
            kind = type(item)
            if kind in _HOLDERS:
                if kind is not tuple and getrefcount(item) > references:
                    found.append(item)
                    if id(item) in seen:
                        continue  # it may hold itself
                    seen.add(id(item))
                left.append(item)
    return found


def _items(holder: Any) -> Any:
    """The items of a holder if any of them may be or hold a container; else an empty tuple."""
    if type(holder) is set:
        return ()
    items = holder.values() if type(holder) is dict else holder
    return () if _HOLDERS.isdisjoint(map(type, items)) else items


def _holds(value: Any, container: Any) -> bool:
    return any(each is container for each in _walk(value))


def _walk(value: Any) -> Iterator[Any]:
    """The value and all containers and tuples in it, each once."""
    seen: set[int] = set()
    left = [value]
    while left:
        each = left.pop()
        if type(each) in _HOLDERS and id(each) not in seen:
            seen.add(id(each))
            yield each
            left.extend(_items(each))


def _fewest(*, nested: bool) -> int:
    """The reference count that `_suspects` sees for a container without aliases. It differs between Python versions."""
    table = {0: [[0]]}
    values = dict(table)
    tries = range(1, 100)
    return next(count for count in tries if not _suspects(values, *((100, count) if nested else (count, 100))))


_OWN_REFERENCES: Final = _fewest(nested=False)
_NESTED_REFERENCES: Final = _fewest(nested=True)
