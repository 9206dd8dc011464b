"""Options of processors and stores: from what the user gave to the typed model, and the model told to the user."""

import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from framework._closest import closest
from framework.durations import Duration
from framework.errors import UsageError
from framework.options.problems import told
from framework.processor import Options

if TYPE_CHECKING:
    from framework.plugins import ProcessorSpec

__all__ = ["OptionInfo", "describe_options", "parse_options", "read_options"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option, as `plugins info` tells it."""

    name: str
    type: str
    required: bool
    default: Any
    """None where the option is required."""
    help: str

    def __str__(self) -> str:
        return f"{self.name} ({', '.join([self.type, *self._default_text()])})"

    def _default_text(self) -> list[str]:
        if self.required:
            return ["required"]
        if self.default is None:
            return []
        return [f"default {str(self.default) if isinstance(self.default, Duration) else repr(self.default)}"]


def describe_options(options: type[BaseModel]) -> list[OptionInfo]:
    """The options that a model declares, in its order."""
    return [
        OptionInfo(
            name,
            _type_text(field.annotation),
            field.is_required(),
            None if field.is_required() else field.get_default(call_default_factory=True),
            field.description or "",
        )
        for name, field in options.model_fields.items()
    ]


def parse_options(processors: Sequence["ProcessorSpec"], given: Mapping[str, Any]) -> dict[str, Options]:
    """The options of each processor, by its name.

    `given` has values by `NAME`, for every processor that has such an option, or by `PROCESSOR.NAME`, for that one,
    where they win; a table `{PROCESSOR: {NAME: VALUE}}` says the same. Values are typed, or texts of them: a list,
    a table or null is written as JSON, e.g. `["a", "b"]`.

    Raises `UsageError` for what is unknown, missing or invalid, naming the options that are allowed.
    """
    values: dict[str, dict[str, Any]] = {spec.name: {} for spec in processors}
    flat = dict(_flat(given, {spec.name for spec in processors}))
    for name, value in sorted(flat.items(), key=lambda item: _target(item[0], processors) is not None):
        for spec, option in _takers(name, processors):
            values[spec.name][option] = value
    return {spec.name: _validated(spec.cls.Options, values[spec.name], spec.name) for spec in processors}


def read_options(model: type[M], given: Mapping[str, Any], owner: str) -> M:
    """The options of one owner, such as `the store sqlite`: values by name, typed or as texts, as in `parse_options`.

    Raises `UsageError` for what is unknown, missing or invalid, naming the options that are allowed.
    """
    for name in given:
        if name not in model.model_fields:
            raise UsageError(
                f"{owner} has no option {name}{closest(name, model.model_fields)}\n{_allowed(model, owner)}"
            )
    return _validated(model, given, owner)


def _flat(given: Mapping[str, Any], processors: set[str]) -> Iterator[tuple[str, Any]]:
    """The given options, with a table for one processor written out as `PROCESSOR.NAME`."""
    for name, value in given.items():
        if name in processors and isinstance(value, Mapping):
            yield from ((f"{name}.{option}", inner) for option, inner in value.items())
        else:
            yield name, value


def _target(name: str, processors: Sequence["ProcessorSpec"]) -> "ProcessorSpec | None":
    """The processor in `PROCESSOR.NAME`; None for a plain name. Options have no dots, processors may."""
    return next((spec for spec in processors if spec.name == name.rpartition(".")[0]), None)


def _takers(name: str, processors: Sequence["ProcessorSpec"]) -> list[tuple["ProcessorSpec", str]]:
    """The processors that `name` is for, each with its option."""
    target = _target(name, processors)
    option = name.rpartition(".")[2] if target else name
    takers = [(spec, option) for spec in ([target] if target else processors) if option in _fields(spec)]
    if not takers:
        raise UsageError(_unknown(name, option, processors))
    return takers


def _fields(spec: "ProcessorSpec") -> Collection[str]:
    return spec.cls.Options.model_fields


def _unknown(name: str, option: str, processors: Sequence["ProcessorSpec"]) -> str:
    known = {known for spec in processors for known in _fields(spec)}
    allowed = (_allowed(spec.cls.Options, spec.name) for spec in processors)
    return "\n".join([f"--option: unknown option {name}{closest(option, known)}", *allowed])


def _allowed(model: type[BaseModel], owner: str) -> str:
    return f"options of {owner}: {'; '.join(map(str, describe_options(model))) or 'none'}"


def _validated(model: type[M], values: Mapping[str, Any], owner: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        as_json = _read_as_json(values, {problem["loc"][0] for problem in error.errors() if problem["loc"]})
        problems = error
    if as_json:
        try:
            return model.model_validate({**values, **as_json})
        except ValidationError as error:
            problems = error
    wrong = "; ".join(map(told, problems.errors()))
    raise UsageError(f"the options of {owner} cannot be used: {wrong}\n{_allowed(model, owner)}")


def _read_as_json(values: Mapping[str, Any], names: set[int | str]) -> dict[str, Any]:
    """The refused texts that are JSON: lists, tables and null."""
    read: dict[str, Any] = {}
    for name, text in values.items():
        if name in names and isinstance(text, str):
            try:
                read[name] = json.loads(text)
            except ValueError:
                continue  # the model's own complaint about the text stands
    return read


def _type_text(annotation: Any) -> str:
    if annotation is Duration:
        return "duration"
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return "|".join(_type_text(each) for each in get_args(annotation) if each is not type(None))
    return inspect.formatannotation(annotation)
