"""Sums a numeric field of JSON or CSV records by key, exactly."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from framework import (
    Batch,
    FieldPath,
    Number,
    NumberField,
    NumberKind,
    Options,
    Output,
    Processor,
    Record,
    State,
    TopicPartition,
    UsageError,
    exact_sums,
    hookimpl,
)

__all__ = ["SumByKey", "SumOptions", "framework_processors"]


class SumOptions(Options):
    """The field to sum, and the type of its numbers."""

    field: str = Field(
        description="The field of the value to sum; dots reach into objects: order.amount. If a name has dots, write "
        "a JSON Pointer: /order/net.amount"
    )
    number: NumberKind = Field(
        default="decimal",
        description="decimal: the numbers as written; int: whole numbers, others are refused; "
        "float: each number as the nearest double",
    )

    @field_validator("field")
    @classmethod
    def _check_field(cls, text: str) -> str:
        try:
            FieldPath.parse(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


class SumByKey(Processor[Any, Any, Number, SumOptions]):
    """Sums a field of JSON or CSV values for each key, without rounding.

    A number may also be written as text, as in CSV: `1576`, `-3.50`, `1e3`. A record is refused if the field is missing
    or is not a number.
    """

    api_version = 1
    value_format = "json-decimal"
    Options = SumOptions

    def __init__(self, options: SumOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._field = NumberField(options.field, options.number)

    @classmethod
    def value_format_of(cls, options: SumOptions) -> Any:
        """JSON of which only the field becomes an object."""
        return NumberField(options.field, options.number).value_format

    def process(self, record: Record, state: State[Any, Number], out: Output) -> None:
        number = self._field.of(record.value)
        with exact_sums():
            state[record.key] = state.get(record.key, self._field.zero) + number

    def process_batch(self, batch: Batch, state: State[Any, Number], out: Output) -> None:
        numbers, errors = self._field.of_column(batch.values)
        totals: dict[Any, Number] = {}
        zero = self._field.zero
        with exact_sums():
            for key, number in zip(batch.keys, numbers, strict=True):
                if number is None:  # it is refused
                    continue
                if key in totals:
                    totals[key] += number
                else:
                    totals[key] = state.get(key, zero) + number
        state.update(totals)
        for position, error in errors.items():
            out.refuse(position, error)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [SumByKey]
