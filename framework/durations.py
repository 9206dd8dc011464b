"""Durations: lengths of time as users write them, such as 500ms, 5m or 1h30m. In code they are whole milliseconds."""

import re
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Duration", "duration_text", "parse_duration"]

_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(w|d|h|ms|m|s)\s*", re.ASCII)
_LONGEST: Final = 10_000 * 366 * 86_400_000
"""Ten thousand years, in milliseconds. Sums of times and durations then stay within 64 bits."""


def parse_duration(value: str | timedelta) -> int:
    """Returns the duration in milliseconds.

    `value`: a timedelta, or numbers with their units w, d, h, m, s and ms, such as `1h30m`. Raises `ValueError` for
    other values, for a part of a millisecond, for a negative duration, and for more than 10,000 years.
    """
    if isinstance(value, timedelta):
        exact, text = Fraction(value // timedelta(microseconds=1), 1000), str(value)
    else:
        text = value.strip()
        parts = _PART.findall(text)
        if not parts or _PART.sub("", text):
            raise ValueError(f"{value!r} is not a duration; write a number with its unit, such as 500ms, 5m or 7d")
        exact = sum((Fraction(number) * _UNITS[unit] for number, unit in parts), Fraction(0))
    if exact.denominator != 1:
        raise ValueError(f"{text} is not a whole number of milliseconds")
    if not 0 <= exact <= _LONGEST:
        raise ValueError(f"{text} is not between 0 and 10,000 years")
    return int(exact)


def duration_text(milliseconds: int) -> str:
    """The duration as `parse_duration` reads it, such as `1h30m`."""
    text = ""
    for unit, size in _UNITS.items():
        number, milliseconds = divmod(milliseconds, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


class Duration(int):
    """A duration in milliseconds, and the type of an option that is one.

    The user writes `5m`. The plugin reads an int, 300000: `record.timestamp + self.options.after` is a time. As a
    default, write `Duration("5m")`.
    """

    def __new__(cls, value: "str | timedelta | int") -> Self:
        """`value`: as for `parse_duration`, or an int of milliseconds. Raises `ValueError` for other values."""
        milliseconds = value if isinstance(value, int) else parse_duration(value)
        if not 0 <= milliseconds <= _LONGEST:
            raise ValueError(f"{milliseconds} ms is not between 0 and 10,000 years")
        return super().__new__(cls, milliseconds)

    def __str__(self) -> str:
        return duration_text(self)

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from pydantic_core.core_schema import no_info_plain_validator_function, str_schema, to_string_ser_schema

        return no_info_plain_validator_function(
            cls._of_option, serialization=to_string_ser_schema(), json_schema_input_schema=str_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*({_PART.pattern})+$", "examples": ["500ms", "5m", "1h30m"]}

    @classmethod
    def _of_option(cls, value: Any) -> Self:
        """A plain number is refused, because it does not tell its unit."""
        if not isinstance(value, str | timedelta | Duration):
            raise ValueError("write a duration as a number with its unit, such as 500ms, 5m or 7d")
        return cls(value)
