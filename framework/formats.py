"""Formats: they decode the bytes of a record's key or value.

=============  =======================================================================================
utf8           text
bytes          the bytes, unchanged
json           JSON; a number with a fraction or an exponent is a float
json-decimal   JSON; a number with a fraction or an exponent is a `decimal.Decimal`, for exact sums
int, float     a decimal number as text
int32, int64   Kafka's IntegerSerializer and LongSerializer: big-endian, 4 and 8 bytes
double         Kafka's DoubleSerializer: big-endian IEEE 754, 8 bytes
uuid           a UUID as text, as Kafka's UUIDSerializer writes it
=============  =======================================================================================

JSON is read strictly: only UTF-8, no duplicate names in an object, no NaN, no infinity, and no float out of range.
"""

import json
import math
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from framework._closest import closest_or_all
from framework.errors import UsageError

__all__ = ["FORMATS", "Format", "format_named", "json_reader"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of keys or values. `read` decodes the bytes of one key or value, or raises `ValueError`."""

    name: str
    read: Callable[[bytes], Any]
    mutable: bool = False
    """Whether decoded values can be changed in place."""

    @property
    def reads_anything(self) -> bool:
        """Whether any bytes are valid, and stay unchanged."""
        return self.read is _same

    @property
    def reads_text(self) -> bool:
        """Whether the format is text in UTF-8."""
        return self.read is bytes.decode

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Decode a whole column of keys or values at once. Nulls stay None.

        Raises `ValueError` if one of them cannot be decoded. Call `read` for each one to find it.
        """
        if self.reads_anything:
            return column
        read = self.read
        return [None if data is None else read(data) for data in column]


def format_named(name: str) -> Format:
    """Returns the format with this name. Raises `UsageError` if there is none."""
    try:
        return FORMATS[name]
    except KeyError:
        raise UsageError(f"unknown format {name!r}{closest_or_all(name, FORMATS)}") from None


def json_reader(*, parse_float: Callable[[str], Any], parse_int: Callable[[str], Any] = int) -> Callable[[bytes], Any]:
    """Returns a function that decodes strict JSON, with numbers by `parse_float` and `parse_int`.

    The function raises `ValueError` for bytes that are not strict JSON.
    """
    decoder = json.JSONDecoder(
        parse_float=parse_float,
        parse_int=parse_int,
        parse_constant=_refuse_constant,
        object_pairs_hook=_object_without_duplicates,
    )

    def read(data: bytes) -> Any:
        try:
            return decoder.decode(data.decode())
        except RecursionError:
            raise ValueError("nested too deep") from None

    return read


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice!r} more than once")
    return members


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond the range of a float")
    return value


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text} is beyond the range of a decimal") from None


def _number(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        if b"_" in data:  # only Python's grammar of numbers allows underscores
            raise ValueError(f"not a number: {data!r}")
        return parse(data)

    return read


def _packed(layout: str) -> Callable[[bytes], Any]:
    packed = struct.Struct(layout)

    def read(data: bytes) -> Any:
        if len(data) != packed.size:
            raise ValueError(f"{len(data)} bytes where {packed.size} are needed")
        return packed.unpack(data)[0]

    return read


def _same(data: bytes) -> bytes:
    return data


def _uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(data.decode())


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        form.name: form
        for form in (
            Format("utf8", bytes.decode),
            Format("bytes", _same),
            Format("json", json_reader(parse_float=_finite_float), mutable=True),
            Format("json-decimal", json_reader(parse_float=_decimal), mutable=True),
            Format("int", _number(int)),
            Format("int32", _packed(">i")),
            Format("int64", _packed(">q")),
            Format("float", _number(float)),
            Format("double", _packed(">d")),
            Format("uuid", _uuid),
        )
    }
)
"""All formats, by name."""
