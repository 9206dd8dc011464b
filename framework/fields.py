"""Paths to a field of a value, as options name them: `amount`, `order.amount`, or a JSON Pointer, `/order/a.b`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from framework.borders import shown
from framework.errors import RecordError, UsageError
from framework.formats.json import JsonType

__all__ = ["FieldPath"]


class _Holder(msgspec.Struct):
    """An object of which only one field was read; its subclasses name the field."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Held, (self.field,)  # type: ignore[attr-defined]


class _Held(_Holder):
    """As a holder is after pickling, because the class of a path is in no module."""

    field: Any


_FIELD: Final = "field"
"""The attribute of a holder; the name in JSON may be no Python name."""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """The names of the fields on the way to one field of a value."""

    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "FieldPath":
        """The path that `text` writes: names with dots between them, or a JSON Pointer (RFC 6901), which begins with /.

        In a JSON Pointer, names may have dots; `~1` stands for a slash, and `~0` for a tilde. Raises `UsageError` for
        an empty name.
        """
        names = (
            [name.replace("~1", "/").replace("~0", "~") for name in text[1:].split("/")]
            if text.startswith("/")
            else text.split(".")
        )
        if not all(names):
            raise UsageError(f"{text!r} is not a path of fields; write amount, order.amount, or /order/a.b for dots")
        return cls(tuple(names))

    def __str__(self) -> str:
        """The path as `parse` reads it."""
        if any("." in name or name.startswith("/") for name in self.names):
            return "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in self.names)
        return ".".join(self.names)

    def json_type(self, kind: Any = Any, *, decimals: bool = False) -> JsonType:
        """The type of JSON objects with this field, for `value_format_of`. Nothing else of a value becomes an object.

        `kind` and `decimals`: the field's type, see `JsonType`. `of` gets the field of a value that was read so.
        """
        for name in reversed(self.names):
            kind = msgspec.defstruct(
                f"object with a field {name}", [(_FIELD, kind)], bases=(_Holder,), rename={_FIELD: name}
            )
        return JsonType(kind, decimals)

    @property
    def holder_attributes(self) -> str:
        """The attributes, for `operator.attrgetter`, that get the field of a value that `json_type` has read."""
        return ".".join([_FIELD] * len(self.names))

    def of(self, value: Any) -> Any:
        """The field of a value: of a mapping, by names; of another object, such as a struct, by attributes.

        Raises `RecordError` if the value has no such field.
        """
        for depth, name in enumerate(self.names):
            if isinstance(value, Mapping):
                if name not in value:
                    raise RecordError(f"the value has no field {FieldPath(self.names[: depth + 1])}")
                value = value[name]
            elif isinstance(value, _Holder):
                value = value.field  # type: ignore[attr-defined]
            elif not isinstance(value, _PLAIN) and hasattr(value, name):
                value = getattr(value, name)
            else:
                place = f"field {FieldPath(self.names[:depth])}" if depth else "the value"
                found = "null" if value is None else shown(value, _SHOWN)
                raise RecordError(f"{place} is {found}, not an object with a field {name}")
        return value


_PLAIN: Final = (str, bytes, int, float, complex, list, tuple, type(None))
"""Types that have attributes, but no fields."""
_SHOWN: Final = 40
