"""Estimates how many distinct values a field has, by key, in bounded state."""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, Final

from datasketches import hll_sketch
from pydantic import Field, field_validator

from framework import (
    Batch,
    Duration,
    FieldPath,
    Options,
    Output,
    Processor,
    Record,
    RecordError,
    State,
    TopicPartition,
    UsageError,
    hookimpl,
)

__all__ = ["Distinct", "DistinctOptions", "framework_processors", "text_of"]

_DEVIATIONS: Final = 2
_WHOLE_DIGITS: Final = 400
_EXACT: Final = Context(prec=10_000)


class DistinctOptions(Options):
    """What is counted, and how precisely."""

    field: str = Field(description="The field whose distinct values are counted: user, order.id, /order/the.id")
    precision: int = Field(
        default=12,
        ge=4,
        le=21,
        description="A sketch has 2**precision cells, each of half a byte or more, and a relative standard error of "
        "0.83 / sqrt(2**precision)",
    )
    ttl: Duration | None = Field(
        default=None, description="Forget a key that had no record for this long, in event time: 7d"
    )

    @field_validator("field")
    @classmethod
    def _check_field(cls, text: str) -> str:
        try:
            FieldPath.parse(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


def text_of(value: Any) -> str:
    """A text that is the same for equal values: of a str, a number or a bool. `1` equals `1.0`, and `"1"` differs.

    Raises `ValueError` for anything else.
    """
    match value:
        case bool():
            return f"b:{value}"
        case str():
            return f"s:{value}"
        case int():
            return f"n:{value}"
        case float() | Decimal() if math.isfinite(value):
            number = Decimal(repr(value)) if isinstance(value, float) else value
            is_whole = number == number.to_integral_value() and number.adjusted() < _WHOLE_DIGITS
            return f"n:{int(number) if is_whole else number.normalize(_EXACT)}"
    raise ValueError("neither text, a number, true nor false")


class Distinct(Processor[Any, Any, bytes, DistinctOptions]):
    """Estimates the number of distinct values of a field of JSON or CSV values, for each key.

    The state of a key is an HLL sketch of Apache DataSketches, as it serializes itself. Sketches of several partitions
    can be merged with `datasketches.hll_union`. According to its documentation, the relative standard error of the
    estimate is 0.83 / sqrt(2**precision): 1.3 % by default. `low` and `high` are the bounds of two standard deviations,
    which hold the number with a probability of 95 %. Small numbers are exact. A record is refused if it has no such
    field.
    """

    api_version = 1
    value_format = "json"
    Options = DistinctOptions

    def __init__(self, options: DistinctOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._path = FieldPath.parse(options.field)

    @classmethod
    def ttl_of(cls, options: DistinctOptions) -> Duration | None:
        return options.ttl

    @classmethod
    def state_definition(cls, options: DistinctOptions) -> str:
        return f"sketches of field {options.field} with precision {options.precision}"

    @classmethod
    def entries(cls, state: Mapping[Any, bytes]) -> Iterable[Mapping[str, Any]]:
        for key, stored in state.items():
            sketch = hll_sketch.deserialize(stored)
            bounds = sketch.get_lower_bound(_DEVIATIONS), sketch.get_upper_bound(_DEVIATIONS)
            low, high = map(round, bounds)
            yield {"key": key, "value": round(sketch.get_estimate()), "low": low, "high": high}

    def process(self, record: Record[Any, Any], state: State[Any, bytes], out: Output) -> None:
        text = self._text_in(record.value)
        sketch = self._sketch_of(record.key, state)
        sketch.update(text)
        state[record.key] = sketch.serialize_compact()

    def process_batch(self, batch: Batch[Any, Any], state: State[Any, bytes], out: Output) -> None:
        sketches: dict[Any, Any] = {}
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            try:
                text = self._text_in(value)
            except RecordError as error:
                out.refuse(position, error)
                continue
            if key not in sketches:
                sketches[key] = self._sketch_of(key, state)
            sketches[key].update(text)
        state.update({key: sketch.serialize_compact() for key, sketch in sketches.items()})

    def _sketch_of(self, key: Any, state: State[Any, bytes]) -> Any:
        stored = state.get(key)
        return hll_sketch(self.options.precision) if stored is None else hll_sketch.deserialize(stored)

    def _text_in(self, value: Any) -> str:
        found = self._path.of(value)
        try:
            text = text_of(found)
            text.encode()
        except ValueError as error:
            raise RecordError(f"field {self._path} is {found!r:.40}: {error}") from error
        return text


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Distinct]
