"""Finds Avro schemas whose values can be nested without end, and the reader that is safe for them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import fastavro
from fastavro import _read_py  # fastavro in plain Python, which comes with each build

__all__ = ["AvroReader", "deepest_per_byte", "reader_for"]

AvroReader = Callable[[BinaryIO, Any, Any], Any]
"""Reads one datum from a stream, in a writer's and a reader's schema, as `fastavro.schemaless_reader` does."""

_DEEPEST: Final = 3_000
"""Levels of nested types that fastavro's compiled reader surely reads. With some 9,000 it uses up a stack of 8 MiB, and
so ends the process. Its reader in plain Python reads what may be deeper, and raises `RecursionError` if it is."""

_read: Final[AvroReader] = fastavro.schemaless_reader
_read_in_python: Final[AvroReader] = _read_py.schemaless_reader


def reader_for(named: Mapping[str, Any]) -> Callable[[int], AvroReader]:
    """Gives the function that reads values of so many bytes. `named`: as for `deepest_per_byte`."""
    per_byte = deepest_per_byte(named)
    if per_byte is None:
        return lambda size: _read
    safe_size = _DEEPEST // per_byte
    return lambda size: _read if size <= safe_size else _read_in_python


def deepest_per_byte(named: Mapping[str, Any]) -> int | None:
    """How many levels deeper each byte of a value can nest it; None if the schema bounds its depth.

    `named`: the named types of a schema, as fastavro has parsed them. To come back to itself, a type needs a union, an
    array or a map, which each take a byte. On the way it may go through each named type, and a level of unions, arrays
    or maps in each.
    """
    edges = {name: set(_names_in(body, named, top=True)) for name, body in named.items()}
    if not any(_reaches(name, name, edges) for name in edges):
        return None
    return max(1, sum(_size(body) for body in named.values()))


def _names_in(schema: Any, named: Mapping[str, Any], *, top: bool = False) -> Iterator[str]:
    """The named types that a type uses directly; of the named types in it, only their names."""
    if isinstance(schema, str):
        if schema in named:
            yield schema
    elif isinstance(schema, list):
        for each in schema:
            yield from _names_in(each, named)
    elif isinstance(schema, Mapping):
        if not top and schema.get("name") in named:
            yield str(schema["name"])
            return
        for part in ("items", "values"):
            yield from _names_in(schema.get(part), named)
        for field in schema.get("fields", ()):
            yield from _names_in(field["type"], named)
        if not isinstance(schema.get("type"), str) or schema["type"] in named:
            yield from _names_in(schema.get("type"), named)


def _reaches(start: str, goal: str, edges: Mapping[str, set[str]]) -> bool:
    seen: set[str] = set()
    todo = [*edges.get(start, ())]
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            todo.extend(edges.get(name, ()))
    return False


def _size(schema: Any) -> int:
    """The number of types in a schema."""
    if isinstance(schema, list):
        return 1 + sum(map(_size, schema))
    if isinstance(schema, Mapping):
        fields = sum(_size(field["type"]) for field in schema.get("fields", ()))
        return 1 + fields + sum(_size(schema[part]) for part in ("items", "values") if part in schema)
    return 1
