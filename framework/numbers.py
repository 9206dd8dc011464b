"""Numbers in a field of a record's value: as they are written, without rounding."""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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

from framework.errors import RecordError
from framework.fields import FieldPath

__all__ = ["Number", "NumberField", "NumberKind", "exact_sums"]

Number = Decimal | int
"""A number as `NumberField` gives it."""

NumberKind = Literal["decimal", "int", "float"]
"""How numbers are read. `decimal`: as they are written; `int`: whole numbers, others are refused; `float`: each number
as the nearest double."""

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


def exact_sums() -> AbstractContextManager[Context]:
    """A context in which the numbers of `NumberField` are added without rounding."""
    return localcontext(_EXACT)


class NumberField:
    """Reads the numbers of one field. Numbers may also be written as text, as in CSV: `1576`, `-3.50`, `1e3`."""

    def __init__(self, field: str, kind: NumberKind = "decimal") -> None:
        """`field`: as for `FieldPath.parse`, which may raise `UsageError`."""
        self._path = FieldPath.parse(field)
        self._fields = attrgetter(self._path.holder_attributes)
        self._read = _READERS[kind]
        self._read_column = _COLUMN_READERS[kind]
        self._kind = kind

    @property
    def zero(self) -> Number:
        """The sum of no numbers."""
        return 0 if self._kind == "int" else Decimal(0)

    @property
    def value_format(self) -> Any:
        """JSON of which only the field becomes an object, for `Processor.value_format_of`."""
        return self._path.json_type(decimals=self._kind != "float")

    def of(self, value: Any) -> Number:
        """The number in a value. Raises `RecordError` if the field is missing, or is not a number of the kind."""
        found = self._path.of(value)
        try:
            return self._read(found)
        except ValueError as error:
            raise RecordError(f"field {self._path} is {_shown(found)}, {error}") from error

    def of_column(self, values: Sequence[Any]) -> tuple[Sequence[Number | None], dict[int, RecordError]]:
        """The numbers in values of `value_format`, and the errors of those without one, by position.

        At the position of an error is None.
        """
        try:
            return self._read_column(list(map(self._fields, values))), {}
        except (AttributeError, ValueError, ArithmeticError):  # some values have another form, or are refused
            return self._one_by_one(values)

    def _one_by_one(self, values: Sequence[Any]) -> tuple[Sequence[Number | None], dict[int, RecordError]]:
        numbers: list[Number | None] = [None] * len(values)
        errors = {}
        for position, value in enumerate(values):
            try:
                numbers[position] = self.of(value)
            except RecordError as error:
                errors[position] = error
        return numbers, errors


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


def _number_in(text: str) -> Number:
    """Parse a number as the format json-decimal does: an int, or a decimal with all written digits."""
    written = _TEXT.fullmatch(text)
    if written is None:
        raise ValueError("not a number")
    try:
        return int(written[1]) if written[1].lstrip("+-").isdecimal() else Decimal(written[1])
    except (ValueError, InvalidOperation):  # more digits than Python parses, or an exponent out of range
        raise ValueError("too large or too small a number") from None


_READERS: Final[dict[str, Callable[[Any], Number]]] = {
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


_COLUMN_READERS: Final[dict[str, Callable[[list[Any]], Sequence[Number]]]] = {
    "int": _int_column,
    "decimal": _decimal_column,
    "float": _float_column,
}
"""Read what most columns are: numbers of one type. They raise for all others, also for those with texts."""


def _shown(value: Any) -> str:
    """The text of a value for messages, cut to 40 characters."""
    text = "null" if value is None else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
