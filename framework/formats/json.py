"""JSON, by msgspec: untyped, with exact decimals, or of a type.

JSON is read strictly: only UTF-8, no NaN, no infinity, no float out of range, and nothing after the value. If an object
has a name twice, the last one counts. Of a type, only the fields that it has are read: other fields may hold anything,
as long as they are JSON.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

import msgspec

from framework.borders import describe, shown
from framework.errors import UsageError
from framework.formats import Format, FormatOptions, Part
from framework.formats.framing import framing_hint

__all__ = ["Json", "JsonDecimal", "JsonType", "TypedJson", "to_json"]


class _AnyJson(Format):
    """JSON that `_decoder` reads."""

    _decoder: msgspec.json.Decoder[Any]

    def read(self, data: bytes) -> Any:
        try:
            return self._decoder.decode(data)
        except RecursionError:
            raise ValueError("nested too deep") from None
        except ValueError as error:
            raise ValueError(f"{error}{framing_hint(data)}") from None

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        decode = self._decoder.decode
        return [None if data is None else decode(data) for data in column]

    def write(self, value: Any) -> bytes:
        return to_json(value)


class Json(_AnyJson):
    """JSON; a number with a fraction or an exponent is a float."""

    name: ClassVar = "json"
    _decoder = msgspec.json.Decoder()


class JsonDecimal(_AnyJson):
    """JSON; a number with a fraction or an exponent is a `Decimal`."""

    name: ClassVar = "json-decimal"

    def __init__(self, options: FormatOptions, part: Part, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        self._decoder = msgspec.json.Decoder(float_hook=_decimal)


class TypedJson(_AnyJson):
    """JSON of a type: a `msgspec.Struct`, a dataclass, a `TypedDict`, or a type such as `dict[str, int]`.

    A value that does not fit the type is a bad record; its message has the path of the place, such as `$.amount`.
    """

    name: ClassVar = "json"

    def __init__(self, declared: "JsonType", part: Part, topic: str | None = None) -> None:
        super().__init__(FormatOptions(), part, topic)
        self._declared = declared
        self._decoder = msgspec.json.Decoder(declared.kind, float_hook=_decimal if declared.decimals else None)
        self.is_mutable = declared.kind not in _IMMUTABLE

    def __str__(self) -> str:
        return str(self._declared)


@dataclass(frozen=True, slots=True)
class JsonType:
    """A type of JSON values, as `value_format` may name it.

    Raises `UsageError` for what is not a type, and for a type that JSON cannot have.
    """

    kind: Any
    decimals: bool = False
    """Whether numbers with a fraction or an exponent are `Decimal`s where the type says `Any`."""

    def __post_init__(self) -> None:
        try:
            unknown = _custom_type(msgspec.inspect.type_info(self.kind))
        except Exception as error:  # msgspec evaluates the annotations of the type, which can raise anything
            raise UsageError(f"{shown(self.kind)} is not a type that JSON can have: {describe(error)}") from error
        if unknown is not None:
            raise UsageError(
                f"{_type_name(self.kind)} is not a type that JSON can have: it uses {_type_name(unknown)}; use "
                "msgspec.Struct, a dataclass, a TypedDict, or types such as dict[str, int]"
            )

    def __str__(self) -> str:
        return f"json of {_type_name(self.kind)}"


_IMMUTABLE: tuple[Any, ...] = (str, int, float, bool, Decimal)


def _type_name(kind: Any) -> str:
    return kind.__name__ if type(kind) is type or isinstance(kind, msgspec.StructMeta) else str(kind)


def _custom_type(info: Any, seen: set[int] | None = None) -> Any:
    """The first class in a type that msgspec does not know; None if there is none."""
    seen = set() if seen is None else seen
    if id(info) in seen:  # a type may contain itself
        return None
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        return info.cls
    parts = (
        info if isinstance(info, tuple) else [getattr(info, name) for name in getattr(info, "__struct_fields__", ())]
    )
    inner = (part for part in parts if isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field | tuple))
    return next((found for part in inner if (found := _custom_type(part, seen)) is not None), None)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text} is beyond the range of a decimal") from None


# Writing


def to_json(value: Any) -> bytes:
    """A value as JSON: what JSON can hold, structs, dataclasses, times, UUIDs, enums, and decimals as text.

    Raises `TypeError`, `ValueError` or `RecursionError` for other values, and for numbers that are not finite.
    """
    return _encode(value).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, bytes | bytearray | memoryview | set | frozenset):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return msgspec.to_builtins(value)


_encode: Callable[[Any], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain).encode
