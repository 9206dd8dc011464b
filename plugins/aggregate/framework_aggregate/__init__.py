"""Aggregates of several fields by key, in one pass: count, sum, min, max, mean, variance, first and last."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

from pydantic import Field, field_validator

from framework import (
    Batch,
    Duration,
    FieldPath,
    NumberField,
    NumberKind,
    Options,
    Output,
    Processor,
    Record,
    RecordError,
    State,
    TopicPartition,
    UsageError,
    exact_sums,
    hookimpl,
)

__all__ = ["Aggregate", "AggregateOptions", "framework_processors"]


class _Function(NamedTuple):
    """How an aggregate is computed. Its accumulator is a number, a value, or a list that is changed in place."""

    start: Callable[[Any], Any]
    """The accumulator after the first value."""
    add: Callable[[Any, Any], Any]
    """The accumulator after a further value."""
    result: Callable[[Any], Any]
    is_numeric: bool


def _same(value: Any) -> Any:
    return value


def _add_to_mean(accumulator: list[Any], value: Any) -> list[Any]:
    accumulator[0] += 1
    accumulator[1] += value
    return accumulator


def _add_to_variance(accumulator: list[Any], value: Any) -> list[Any]:
    """Welford's algorithm (1962), as in Knuth, The Art of Computer Programming, volume 2, section 4.2.2.

    It keeps the count, the mean, and the sum of the squared differences from it. Its relative error is some units in
    the last place of a double for each value, whatever the mean.
    """
    count, mean, squares = accumulator
    delta = float(value) - mean
    mean += delta / (count + 1)
    accumulator[:] = count + 1, mean, squares + delta * (float(value) - mean)
    return accumulator


_FUNCTIONS: Final = {
    "count": _Function(lambda _: 1, lambda count, _: count + 1, _same, is_numeric=False),
    "sum": _Function(_same, lambda total, value: total + value, _same, is_numeric=True),
    "min": _Function(_same, min, _same, is_numeric=True),
    "max": _Function(_same, max, _same, is_numeric=True),
    "mean": _Function(lambda value: [1, value], _add_to_mean, lambda each: float(each[1] / each[0]), is_numeric=True),
    "variance": _Function(
        lambda value: [1, float(value), 0.0],
        _add_to_variance,
        lambda each: each[2] / (each[0] - 1) if each[0] > 1 else None,
        is_numeric=True,
    ),
    "first": _Function(deepcopy, lambda first, _: first, _same, is_numeric=False),
    "last": _Function(deepcopy, lambda _, value: deepcopy(value), _same, is_numeric=False),
}


class _Aggregate(NamedTuple):
    """One of the aggregates that the user chose."""

    name: str
    function: _Function
    read: Callable[[Any], Any]
    """The number or value in the value of a record. Raises `RecordError` if there is none."""


def _aggregates(fields: str, number: NumberKind) -> list[_Aggregate]:
    """Raises `UsageError` for what cannot be computed."""
    found = [_aggregate(text.strip(), number) for text in fields.split(",")]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise UsageError(f"{fields!r} names an aggregate twice")
    return found


def _function_of(name: str) -> _Function:
    return _FUNCTIONS[name.rpartition(":")[2]]


def _aggregate(text: str, number: NumberKind) -> _Aggregate:
    if text == "count":
        return _Aggregate(text, _FUNCTIONS[text], _same)
    field, _, name = text.rpartition(":")
    if not field or name not in _FUNCTIONS or name == "count":
        functions = ", ".join(each for each in _FUNCTIONS if each != "count")
        raise UsageError(f"{text!r} is no aggregate; write count, or FIELD:FUNCTION with one of {functions}")
    function = _FUNCTIONS[name]
    read = NumberField(field, number).of if function.is_numeric else FieldPath.parse(field).of
    return _Aggregate(text, function, read)


class AggregateOptions(Options):
    """What is computed for each key."""

    fields: str = Field(
        description="The aggregates, with commas between them: count, or FIELD:FUNCTION. The functions are sum, min, "
        "max, mean, variance, first and last: delay:mean,delay:max,distance:sum"
    )
    number: NumberKind = Field(
        default="decimal",
        description="How numbers are read. decimal: as written; int: whole numbers; float: as doubles",
    )
    ttl: Duration | None = Field(
        default=None, description="Forget a key that had no record for this long, in event time: 7d"
    )

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, text: str) -> str:
        try:
            _aggregates(text, "decimal")
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


class Aggregate(Processor[Any, Any, dict[str, Any], AggregateOptions]):
    """Computes aggregates of fields of JSON or CSV values for each key.

    The state of a key has the accumulators by the names of the aggregates, such as `delay:mean`.

    Sums, means, least and greatest values are exact: numbers are added as written. A mean is rounded to a double when
    it is shown. The variance is that of a sample, in doubles. A record is refused, as a whole, if a field is missing or
    is not a number where one is needed.
    """

    api_version = 1
    value_format = "json-decimal"
    Options = AggregateOptions

    def __init__(self, options: AggregateOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._aggregates = _aggregates(options.fields, options.number)

    @classmethod
    def ttl_of(cls, options: AggregateOptions) -> Duration | None:
        return options.ttl

    @classmethod
    def state_definition(cls, options: AggregateOptions) -> str:
        names = ", ".join(each.name for each in _aggregates(options.fields, options.number))
        return f"the aggregates {names} ({options.number})"

    @classmethod
    def entries(cls, state: Mapping[Any, dict[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for key, accumulators in state.items():
            results = {name: _function_of(name).result(each) for name, each in accumulators.items()}
            yield {"key": key, "value": results}

    def process(self, record: Record[Any, Any], state: State[Any, dict[str, Any]], out: Output) -> None:
        with exact_sums():
            self._add(record.key, record.value, state)

    def process_batch(self, batch: Batch[Any, Any], state: State[Any, dict[str, Any]], out: Output) -> None:
        with exact_sums():
            for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
                try:
                    self._add(key, value, state)
                except RecordError as error:
                    out.refuse(position, error)

    def _add(self, key: Any, value: Any, state: State[Any, dict[str, Any]]) -> None:
        values = [each.read(value) for each in self._aggregates]
        accumulators = state.get(key)
        if accumulators is None:
            pairs = zip(self._aggregates, values, strict=True)
            state[key] = {each.name: each.function.start(number) for each, number in pairs}
            return
        for each, number in zip(self._aggregates, values, strict=True):
            accumulators[each.name] = each.function.add(accumulators[each.name], number)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Aggregate]
