"""Aliases: one container under two keys of a state, which would come back as two."""

from collections.abc import Iterator, Mapping
from sys import getrefcount
from typing import Any, Final

from framework.borders import shown
from framework.errors import CodecError

__all__ = ["Aliases"]

_CONTAINERS: Final = frozenset({list, dict, set})
_HOLDERS: Final = frozenset({list, dict, set, tuple})
"""Containers, and what may hold some. The elements of a set cannot."""
_MISSING: Final[Any] = object()


class Aliases:
    """Finds one container under two keys, at any depth, also where the keys are written at different times.

    Only a container to which somebody else refers, too, can be an alias. So the keys of those are remembered, and no
    others. A codec finds aliases within one row by itself.
    """

    def __init__(self) -> None:
        self._keys: dict[int, Any] = {}
        """By the identity of a container, which may be another one's by now."""

    def check(self, values: Mapping[Any, Any], table: Mapping[Any, Any]) -> None:
        """Raises `CodecError` where a container of these values stands under another key of the table, too.

        `values` is a dict of some of the table's keys.
        """
        for key, container in _suspects(values, _OWN_REFERENCES, _NESTED_REFERENCES):
            other = self._keys.get(id(container), _MISSING)
            if other is not _MISSING and other != key and _holds(table.get(other), container):
                raise CodecError(
                    f"the same {type(container).__name__} stands under the keys {shown(other)} and {shown(key)}; it "
                    "would come back as two, so store a copy under one of them"
                )
            self._keys[id(container)] = key
        if len(self._keys) > 2 * len(table) + 1_000:
            self._keys = {place: key for place, key in self._keys.items() if key in table}


def _suspects(values: Mapping[Any, Any], own: int, nested: int) -> list[tuple[Any, Any]]:
    """Containers with more references than that, each with its key."""
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
    """The items that may be containers; none where no item is."""
    if type(holder) is set:
        return ()
    items = holder.values() if type(holder) is dict else holder
    return () if _HOLDERS.isdisjoint(map(type, items)) else items


def _holds(value: Any, container: Any) -> bool:
    return any(each is container for each in _walk(value))


def _walk(value: Any) -> Iterator[Any]:
    """The value and everything in it that may be a container, each once."""
    seen: set[int] = set()
    left = [value]
    while left:
        each = left.pop()
        if type(each) in _HOLDERS and id(each) not in seen:
            seen.add(id(each))
            yield each
            left.extend(_items(each))


def _fewest(*, nested: bool) -> int:
    """How many references this interpreter counts where nobody else refers to a container; it differs by version."""
    table = {0: [[0]]}
    values = dict(table)
    tries = range(1, 100)
    return next(count for count in tries if not _suspects(values, *((100, count) if nested else (count, 100))))


_OWN_REFERENCES: Final = _fewest(nested=False)
_NESTED_REFERENCES: Final = _fewest(nested=True)
