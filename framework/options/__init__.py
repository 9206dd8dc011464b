"""Options of processors, stores and formats: from what the user gave to the typed model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from framework._closest import closest
from framework.errors import UsageError
from framework.options.annotations import fields_of, table_of
from framework.options.descriptions import describe_options
from framework.options.problems import told
from framework.options.values import prepared, put, read_again
from framework.processor import Options

if TYPE_CHECKING:
    from framework.plugins import ProcessorSpec

__all__ = ["parse_options", "read_options"]

M = TypeVar("M", bound=BaseModel)


def parse_options(processors: Sequence["ProcessorSpec"], given: Mapping[str, Any]) -> dict[str, Options]:
    """The options of each processor, by its name.

    `given` has values by `NAME`, for every processor that has such an option, or by `PROCESSOR.NAME`, for that one,
    where they win; a table `{PROCESSOR: {NAME: VALUE}}` says the same. A NAME with dots is an option in a table: it
    wins over the table. Values are typed, or texts of them: a list is written with commas or as JSON, a table or null
    as JSON, and a secret may be in a file or a variable, `@file:PATH` or `@env:NAME`.

    Raises `UsageError` for what is unknown, missing or invalid, naming the options that are allowed.
    """
    values: dict[str, dict[str, Any]] = {spec.name: {} for spec in processors}
    takers = {name: _takers(name, processors) for name, _ in _flat(given, values)}
    for name, value in sorted(_flat(given, values), key=lambda item: _strength(item[0], processors)):
        for spec, option in takers[name]:
            _put(values[spec.name], option, value, spec.name)
    return {spec.name: _validated(spec.cls.Options, values[spec.name], spec.name) for spec in processors}


def read_options(model: type[M], given: Mapping[str, Any], owner: str) -> M:
    """The options of one owner, such as `the store sqlite`: values by name, typed or as texts, as in `parse_options`.

    Raises `UsageError` for what is unknown, missing or invalid, naming the options that are allowed.
    """
    values: dict[str, Any] = {}
    for name in sorted(given, key=_depth):
        if not _has(model, name):
            raise UsageError(f"{owner} has no option {name}{_hint(name, [model])}\n{_allowed(model, owner)}")
        _put(values, name, given[name], owner)
    return _validated(model, values, owner)


def _flat(given: Mapping[str, Any], processors: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The given options, with a table for one processor written out as `PROCESSOR.NAME`."""
    for name, value in given.items():
        if name in processors and isinstance(value, Mapping):
            yield from ((f"{name}.{option}", inner) for option, inner in value.items())
        else:
            yield name, value


def _target(name: str, processors: Sequence["ProcessorSpec"]) -> "ProcessorSpec | None":
    """The processor in `PROCESSOR.NAME`; None for a plain name. Where several fit, it is the longest."""
    fitting = (spec for spec in processors if name.startswith(f"{spec.name}."))
    return max(fitting, key=lambda spec: len(spec.name), default=None)


def _strength(name: str, processors: Sequence["ProcessorSpec"]) -> tuple[bool, int]:
    return _target(name, processors) is not None, _depth(name)


def _depth(name: str) -> int:
    return name.count(".")


def _takers(name: str, processors: Sequence["ProcessorSpec"]) -> list[tuple["ProcessorSpec", str]]:
    """The processors that `name` is for, each with its option."""
    target = _target(name, processors)
    option = name.removeprefix(f"{target.name}.") if target else name
    asked = [target] if target else processors
    takers = [(spec, option) for spec in asked if _has(spec.cls.Options, option)]
    if not takers:
        hint = _hint(option, [spec.cls.Options for spec in asked])
        allowed = (_allowed(spec.cls.Options, spec.name) for spec in processors)
        raise UsageError("\n".join([f"--option: unknown option {name}{hint}", *allowed]))
    return takers


def _has(model: type[BaseModel], option: str) -> bool:
    return not _missing(model, option)[0]


def _missing(model: type[BaseModel], option: str) -> tuple[str, Collection[str]]:
    """What of the path `option` is not there, and the names that are; nothing is missing of an option that is there."""
    name, _, inner = option.partition(".")
    fields = fields_of(model)
    if name not in fields:
        return option, fields
    nested = table_of(fields[name].annotation)
    return _missing(nested, inner) if inner and nested else (inner, ())


def _hint(option: str, models: Sequence[type[BaseModel]]) -> str:
    """The closest names in the models that have most of the path `option`."""
    missing = [_missing(model, option) for model in models]
    least = min((path for path, _ in missing), key=len, default="")
    return closest(least.partition(".")[0], {name for path, names in missing if path == least for name in names})


def _allowed(model: type[BaseModel], owner: str) -> str:
    return f"options of {owner}: {'; '.join(map(str, describe_options(model))) or 'none'}"


def _put(values: dict[str, Any], option: str, value: Any, owner: str) -> None:
    try:
        put(values, option.split("."), value)
    except ValueError as error:
        raise UsageError(f"the options of {owner} cannot be used: {error}") from error


def _validated(model: type[M], values: Mapping[str, Any], owner: str) -> M:
    try:
        first = prepared(model, values)
    except ValueError as error:
        raise _refusal(model, owner, str(error)) from error
    try:
        return model.model_validate(first)
    except ValidationError as error:
        problems = error
    # Nothing below is raised inside `except`: pydantic's error has the values, and would be in the traceback.
    again = read_again(model, first, [problem["loc"] for problem in problems.errors()])
    try:
        return model.model_validate(again)
    except ValidationError as error:
        problems = error
    raise _refusal(model, owner, "; ".join(map(told, problems.errors())))


def _refusal(model: type[BaseModel], owner: str, reason: str) -> UsageError:
    return UsageError(f"the options of {owner} cannot be used: {reason}\n{_allowed(model, owner)}")
