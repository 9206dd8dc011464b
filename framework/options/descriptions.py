"""Options told to a user: their names, types, defaults, ranges and examples, as a text and as a JSON Schema."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema, to_json, to_jsonable_python

from framework.durations import Duration
from framework.options.annotations import annotations_of, fields_of, is_secret, kinds, table_of

__all__ = ["OptionInfo", "describe_options", "options_schema"]

_RANGE: Final = {
    "gt": "> {}",
    "ge": ">= {}",
    "lt": "< {}",
    "le": "<= {}",
    "multiple_of": "multiple of {}",
    "min_length": "length >= {}",
    "max_length": "length <= {}",
    "pattern": "matches {}",
    "max_digits": "digits <= {}",
    "decimal_places": "decimal places <= {}",
}
"""By the attribute of what annotates a type."""

_SIZES: Final = {f"{prefix}{unit}": base**power for unit, base in (("iB", 1024), ("B", 1000))
                 for power, prefix in enumerate("KMGTP", 1)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option, as `plugins info` tells it. An option in a table comes after the table, as `TABLE.NAME`."""

    name: str
    type: str
    required: bool
    """Whether it must be given; where it is in a table that need not be given, whether it must be given with it."""
    default: Any
    """As JSON has it. None where the option is required, and where the default is a secret."""
    default_text: str
    """What the user is told about the default: `required`, the default as the user would write it, or nothing."""
    range: str
    """Such as `>= 1, < 10`; empty where all values of the type are allowed."""
    examples: tuple[str, ...]
    help: str

    def __str__(self) -> str:
        default = self.default_text if self.required or not self.default_text else f"default {self.default_text}"
        return f"{self.name} ({', '.join(filter(None, (self.type, self.range, default)))})"


def describe_options(model: type[BaseModel]) -> list[OptionInfo]:
    """The options that a model declares, in its order, with those of nested tables."""
    return list(_described(model, "", "required", (model,)))


def options_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of the options, without defaults that are secrets."""
    return model.model_json_schema(schema_generator=_Schema)


def _described(
    model: type[BaseModel], above: str, required: str, outer: tuple[type[BaseModel], ...]
) -> Iterator[OptionInfo]:
    """`outer`: the models around, with this one; a model inside itself is not told again."""
    for name, field in fields_of(model).items():
        yield _info(f"{above}{name}", field, required)
        nested = table_of(field.annotation)
        if nested and nested not in outer:
            inside = required if field.is_required() else f"required with {above}{name}"
            yield from _described(nested, f"{above}{name}.", inside, (*outer, nested))


def _info(name: str, field: FieldInfo, required: str) -> OptionInfo:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    secret = is_secret(field.annotation)
    examples = [_text(example, field.annotation) for example in field.examples or ()]
    return OptionInfo(
        name,
        _type_text(field.annotation),
        field.is_required(),
        None if secret else _as_json(default),
        required if field.is_required() else _default_text(default, field),
        ", ".join(_ranges(field)),
        tuple(examples or (["@file:PATH", "@env:NAME"] if secret else [])),
        field.description or "",
    )


def _default_text(default: Any, field: FieldInfo) -> str:
    if default is None or (isinstance(default, BaseModel) and not default.model_fields_set):
        return ""  # of a table in which nothing is set, each option tells its own default
    if is_secret(field.annotation):
        return "hidden"
    text = _text(default, field.annotation)
    return text if not isinstance(default, str) or _PLAIN.fullmatch(text) else repr(text)


def _text(value: Any, annotation: Any) -> str:
    """The value as a user would write it."""
    if isinstance(value, int) and ByteSize in kinds(annotation):
        return _size_text(value)
    if isinstance(value, Enum):
        return _text(value.value, annotation)
    if isinstance(value, str | Duration):
        return str(value)
    return to_json(value, fallback=str).decode()


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Duration) else to_jsonable_python(value, fallback=str)


def _size_text(size: int) -> str:
    """The size with the unit that makes it a small whole number, such as 64MB or 16MiB."""
    whole = [(size // unit, name) for name, unit in _SIZES.items() if size and size % unit == 0]
    number, unit = min(whole, default=(size, "B"))
    return f"{number}{unit}"


def _ranges(field: FieldInfo) -> Iterator[str]:
    for each in annotations_of(field):
        for attribute, words in _RANGE.items():
            if (bound := getattr(each, attribute, None)) is not None:
                yield words.format(_text(bound, field.annotation))


_PLAIN: Final = re.compile(r"[\w./:@+-]+")
"""Texts that need no quotes between other words."""

_NAMES: Final = {Duration: "duration", ByteSize: "size", Path: "path"}


def _type_text(annotation: Any) -> str:
    return "|".join(map(_kind_text, kinds(annotation)))


def _kind_text(kind: Any) -> str:
    if is_secret(kind):
        return "secret"
    if table_of(kind):
        return "table"
    if isinstance(kind, list):  # the arguments of a Callable
        return f"[{', '.join(map(_type_text, kind))}]"
    if kind in _NAMES:
        return _NAMES[kind]
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    if origin := get_origin(kind):
        inner = ("..." if each is Ellipsis else _type_text(each) for each in get_args(kind))
        return f"{inspect.formatannotation(origin)}[{', '.join(inner)}]"
    return inspect.formatannotation(kind)


class _Schema(GenerateJsonSchema):
    """JSON Schema that shows no secret, and allows any value where a type has no schema."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        secret = any(each.get("writeOnly") for each in (inner, *inner.get("anyOf", ())))
        return inner if secret else super().default_schema(schema)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """A default that JSON does not have is left out; the user of the plugin can do nothing about it."""
