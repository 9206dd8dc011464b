"""Sums a numeric field of JSON or CSV records by key, exactly."""

import math
import re
from collections.abc import Callable, Sequence
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    Clamped,
    Context,
    Decimal,
    DecimalException,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    localcontext,
)
from operator import attrgetter
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from framework import (
    Batch,
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

__all__ = ["SumByKey", "SumOptions", "framework_processors"]

Total = Decimal | int

_PLACES: Final = 6144
"""Decimals from 1E-6144 to 9.99…E+6144 are accepted, as in IEEE 754's decimal128. The limit bounds the memory that a
few bytes such as `1e999999` can claim."""

_WITHIN: Final = Context(
    prec=_PLACES + 1, Emax=_PLACES, Emin=0, traps=[Clamped, Inexact, InvalidOperation, Overflow, Rounded]
)
"""Raises for a number beyond this range, or with more than 6,145 digits. `Emin` is such that its least number is
1E-6144."""

_EXACT: Final = Context(prec=4 * _PLACES, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])
"""Precise enough for the sum of 10**12000 such numbers without rounding."""

_TEXT: Final = re.compile(r"[ \t]*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t]*")
"""A number written as text. Python's own grammar would also accept `nan`, `1_000` and digits of other scripts."""


class SumOptions(Options):
    """The field to sum, and the type of its numbers."""

    field: str = Field(
        description="The field of the value to sum; dots reach into objects: order.amount. If a name has dots, write "
        "a JSON Pointer: /order/net.amount"
    )
    number: Literal["decimal", "int", "float"] = Field(
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


class SumByKey(Processor[Any, Any, Total, SumOptions]):
    """Sums a field of JSON or CSV values for each key, without rounding.

    A number may also be written as text, as in CSV: `1576`, `-3.50`, `1e3`. A record is refused if the field is missing
    or is not a number.
    """

    api_version = 1
    value_format = "json-decimal"
    Options = SumOptions

    def __init__(self, options: SumOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._path = FieldPath.parse(options.field)
        self._fields = attrgetter(self._path.holder_attributes)
        self._read = _READERS[options.number]
        self._read_column = _COLUMN_READERS[options.number]
        self._zero: Total = 0 if options.number == "int" else Decimal(0)

    @classmethod
    def value_format_of(cls, options: SumOptions) -> Any:
        """JSON of which only the field becomes an object."""
        return FieldPath.parse(options.field).json_type(decimals=options.number != "float")

    def process(self, record: Record, state: State[Any, Total], out: Output) -> None:
        number = self._number(record.value)
        with localcontext(_EXACT):
            state[record.key] = state.get(record.key, self._zero) + number

    def process_batch(self, batch: Batch, state: State[Any, Total], out: Output) -> None:
        try:
            numbers = self._read_column(list(map(self._fields, batch.values)))
        except (AttributeError, ValueError, ArithmeticError):  # some values have another form, or are refused
            self._add_one_by_one(batch, state, out)
        else:
            self._add(batch.keys, numbers, state)

    def _add_one_by_one(self, batch: Batch, state: State[Any, Total], out: Output) -> None:
        keys, numbers = [], []
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            try:
                numbers.append(self._number(value))
                keys.append(key)
            except RecordError as error:
                out.refuse(position, error)
        self._add(keys, numbers, state)

    def _add(self, keys: Sequence[Any], numbers: Sequence[Total], state: State[Any, Total]) -> None:
        totals: dict[Any, Total] = {}
        with localcontext(_EXACT):
            for key, number in zip(keys, numbers, strict=True):
                if key in totals:
                    totals[key] += number
                else:
                    totals[key] = state.get(key, self._zero) + number
        state.update(totals)

    def _number(self, value: Any) -> Total:
        found = self._path.of(value)
        try:
            return self._read(found)
        except ValueError as error:
            raise RecordError(f"field {self._path} is {_shown(found)}, {error}") from error


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
    try:
        _WITHIN.plus(number)
    except DecimalException:
        raise ValueError("too large or too small a number") from None
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


def _int_column(column: list[Any]) -> list[int]:
    if set(map(type, column)) - {int}:
        raise ValueError("not all are whole numbers")
    return column


def _decimal_column(column: list[Any]) -> list[Decimal]:
    kinds = set(map(type, column))
    if kinds - {int, Decimal}:
        raise ValueError("not all are numbers")
    if int in kinds:
        column = list(map(Decimal, column))
    list(map(_WITHIN.plus, column))
    return column


def _float_column(column: list[Any]) -> list[Decimal]:
    if set(map(type, column)) - {int, float}:
        raise ValueError("not all are numbers")
    numbers = list(map(float, column))
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not all are finite")
    return list(map(Decimal, numbers))


_COLUMN_READERS: Final[dict[str, Callable[[list[Any]], Sequence[Total]]]] = {
    "int": _int_column,
    "decimal": _decimal_column,
    "float": _float_column,
}
"""Read what most columns are: numbers of one type. They raise for all others, also for those with texts."""


def _shown(value: Any) -> str:
    """The text of a value for messages, cut to 40 characters."""
    text = "null" if value is None else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [SumByKey]
