"""Estimated quantiles of a field, by key, in bounded state."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

from framework import (
    Batch,
    Duration,
    FieldPath,
    NumberField,
    Options,
    Output,
    Processor,
    Record,
    State,
    TopicPartition,
    UsageError,
    hookimpl,
)
from framework_quantiles.sketch import Scale, Sketch, add, estimates, merged, new_sketch

__all__ = ["Quantiles", "QuantilesOptions", "Sketch", "framework_processors", "merged"]


class QuantilesOptions(Options):
    """Which quantiles are estimated, and how precisely."""

    field: str = Field(description="The field whose quantiles are estimated: latency, order.amount, /order/net.amount")
    quantiles: str = Field(
        default="0.5,0.95,0.99",
        description="The quantiles, from 0 to 1, with commas between them. 0 is the least number, 1 the greatest",
    )
    accuracy: float = Field(
        default=0.01, ge=0.001, le=0.5, description="How much an estimate may differ from the quantile, relative to it"
    )
    buckets: int = Field(
        default=2048,
        ge=2,
        le=100_000,
        description="How many buckets are kept for each key. Where the numbers of a key need more, the lowest ones are "
        "put together",
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

    @field_validator("quantiles")
    @classmethod
    def _read_quantiles(cls, text: str) -> str:
        read = [_quantile(part.strip()) for part in text.split(",")]
        if len(set(read)) < len(read):
            raise ValueError(f"{text!r} names a quantile twice")
        return ",".join(read)


def _quantile(text: str) -> str:
    """The quantile as it is always written. Raises `ValueError` if it is none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(f"{text!r} is no quantile; write numbers from 0 to 1, with commas between them: 0.5,0.99")
    return repr(abs(number)).removesuffix(".0")


class Quantiles(Processor[Any, Any, Sketch, QuantilesOptions]):
    """Estimates quantiles of a field of JSON or CSV values, for each key, by the algorithm DDSketch.

    Source: Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
    PVLDB 12(12), 2019. An estimate differs from the quantile by `accuracy`, relative to it, at the most. This does not
    hold for the lowest quantiles of a key whose numbers need more than `buckets` buckets: then the lowest buckets are
    put together. The bounds `low` and `high` hold the quantile in any case.

    KLL and REQ sketches are smaller, but they draw random bits, and the Python binding of Apache DataSketches takes no
    seed for them. So the same records would give another state each time. DDSketch draws none.

    The state of a key has its least and greatest number, and the count of the numbers by bucket; see `Sketch`. A number
    may also be written as text, as in CSV. It is read as a double, and those nearer to 0 than 2.3e-308 count as 0. A
    record is refused if the field is missing or is not a finite number.
    """

    api_version = 1
    value_format = "json"
    Options = QuantilesOptions

    def __init__(self, options: QuantilesOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._field = NumberField(options.field, "float")
        self._scale = Scale(options.accuracy)

    @classmethod
    def value_format_of(cls, options: QuantilesOptions) -> Any:
        """JSON of which only the field becomes an object."""
        return NumberField(options.field, "float").value_format

    @classmethod
    def ttl_of(cls, options: QuantilesOptions) -> Duration | None:
        return options.ttl

    @classmethod
    def state_definition(cls, options: QuantilesOptions) -> str:
        return (
            f"the quantiles {options.quantiles} of field {options.field} with accuracy {options.accuracy} in "
            f"{options.buckets} buckets"
        )

    @classmethod
    def entries(cls, state: Mapping[Any, Sketch]) -> Iterable[Mapping[str, Any]]:
        for key, sketch in state.items():
            count = sum(sketch["buckets"].values())
            for each in estimates(sketch):
                yield {"key": key, **each._asdict(), "count": count}

    def process(self, record: Record[Any, Any], state: State[Any, Sketch], out: Output) -> None:
        number = float(self._field.of(record.value))
        add(self._sketch_of(record.key, state), number, self._scale, self.options.buckets)

    def process_batch(self, batch: Batch[Any, Any], state: State[Any, Sketch], out: Output) -> None:
        numbers, errors = self._field.of_column(batch.values)
        sketches: dict[Any, Sketch] = {}
        for key, number in zip(batch.keys, numbers, strict=True):
            if number is None:  # it is refused
                continue
            if key not in sketches:
                sketches[key] = self._sketch_of(key, state)
            add(sketches[key], float(number), self._scale, self.options.buckets)
        for position, error in errors.items():
            out.refuse(position, error)

    def _sketch_of(self, key: Any, state: State[Any, Sketch]) -> Sketch:
        sketch = state.get(key)
        if sketch is None:
            sketch = state[key] = new_sketch(self.options.accuracy, self.options.quantiles)
        return sketch


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Quantiles]
