"""Sums a numeric field of JSON or CSV records by key, exactly."""

import math
import re
from collections.abc import Callable, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final, Literal

from pydantic import Field

from framework import Batch, Options, Output, Processor, Record, RecordError, State, TopicPartition, hookimpl

__all__ = ["SumByKey", "SumOptions", "framework_processors"]

Total = Decimal | int

_PLACES: Final = 6144
"""Decimals from 1E-6144 to 9.99…E+6144 are accepted, as in IEEE 754's decimal128. The limit bounds the memory that a
few bytes such as `1e999999` can claim."""

_EXACT: Final = Context(prec=4 * _PLACES, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])
"""Precise enough for the sum of 10**12000 such numbers without rounding."""

_TEXT: Final = re.compile(r"[ \t]*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t]*")
"""A number written as text. Python's own grammar would also accept `nan`, `1_000` and digits of other scripts."""


class SumOptions(Options):
    """The field to sum, and the type of its numbers."""

    field: str = Field(
        pattern=r"^[^.]+(\.[^.]+)*$", description="The field of the value to sum; dots reach into objects: order.amount"
    )
    number: Literal["decimal", "int", "float"] = Field(
        default="decimal",
        description="decimal: the numbers as written; int: whole numbers, others are refused; "
        "float: each number as the nearest double",
    )


class SumByKey(Processor):
    """Sums a field of JSON or CSV values for each key, without rounding.

    A number may also be written as text, as in CSV: `1576`, `-3.50`, `1e3`. A record is refused if the field is missing
    or is not a number.
    """

    api_version = 1
    value_format = "json-decimal"
    Options = SumOptions

    def __init__(self, options: SumOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._path = options.field.split(".")
        self._read = _READERS[options.number]
        self._zero: Total = 0 if options.number == "int" else Decimal(0)
        self._add: Callable[[Any, Any], Total] = int.__add__ if options.number == "int" else _EXACT.add

    def process(self, record: Record, state: State[Any, Total], out: Output) -> None:
        number = self._number(record.value)
        state[record.key] = self._add(state.get(record.key, self._zero), number)

    def process_batch(self, batch: Batch, state: State[Any, Total], out: Output) -> None:
        totals: dict[Any, Total] = {}
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            try:
                number = self._number(value)
            except RecordError as error:
                out.refuse(position, error)
                continue
            total = totals[key] if key in totals else state.get(key, self._zero)
            totals[key] = self._add(total, number)
        state.update(totals)

    def _number(self, value: Any) -> Total:
        for depth, name in enumerate(self._path):
            if not isinstance(value, dict):
                place = f"field {'.'.join(self._path[:depth])}" if depth else "the value"
                raise RecordError(f"{place} is {_shown(value)}, not an object with a field {name}")
            if name not in value:
                raise RecordError(f"the value has no field {'.'.join(self._path[: depth + 1])}")
            value = value[name]
        try:
            return self._read(value)
        except ValueError as error:
            raise RecordError(f"field {'.'.join(self._path)} is {_shown(value)}, {error}") from error


def _read_int(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is str and type(number := _number_in(value)) is int:
        return number
    raise ValueError("not written as a whole number")


def _read_decimal(value: Any) -> Decimal:
    if type(value) is float:
        raise ValueError("already rounded to a float; read values as json-decimal, or sum with number=float")
    if type(value) is str:
        value = _number_in(value)
    number = Decimal(value) if type(value) is int else value
    if type(number) is not Decimal or not number.is_finite():
        raise ValueError("not a number")
    if not -_PLACES <= int(number.as_tuple().exponent) <= number.adjusted() <= _PLACES:
        raise ValueError("too large or too small a number")
    return number


def _read_float(value: Any) -> Decimal:
    """The exact value of the nearest double. Every double is a decimal with at most 1,074 places."""
    if type(value) is str:
        value = _number_in(value)
    if type(value) not in (int, float, Decimal):
        raise ValueError("not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("not a finite double")
    return Decimal(number)


def _number_in(text: str) -> Total:
    """Parse a number as the format json-decimal does: an int, or a decimal with all written digits."""
    written = _TEXT.fullmatch(text)
    if written is None:
        raise ValueError("not a number")
    try:
        return int(written[1]) if written[1].lstrip("+-").isdecimal() else Decimal(written[1])
    except (ValueError, InvalidOperation):  # more digits than Python parses, or an exponent out of range
        raise ValueError("too large or too small a number") from None


_READERS: Final[dict[str, Callable[[Any], Total]]] = {
    "int": _read_int,
    "decimal": _read_decimal,
    "float": _read_float,
}


def _shown(value: Any) -> str:
    """The text of a value for messages, cut to 40 characters."""
    text = "null" if value is None else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [SumByKey]
