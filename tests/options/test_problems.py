"""Each kind of error has words of ours, and no value is repeated."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ByteSize,
    DirectoryPath,
    Field,
    FilePath,
    HttpUrl,
    NaiveDatetime,
    PlainValidator,
    SecretStr,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError

from framework.durations import Duration
from framework.options.problems import told

SECRET = "hunter2"  # noqa: S105 - nobody's password


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@dataclass
class Place:
    name: str


def refuse(_: Any) -> None:
    raise ValueError("only on Mondays")


def custom(_: Any) -> None:
    raise PydanticCustomError("value_error", "it is none of ours")


def silent(_: Any) -> None:
    raise AssertionError


def words(annotation: Any, value: Any) -> str:
    model = create_model("Model", option=(annotation, ...))
    with pytest.raises(ValidationError) as caught:
        model.model_validate({} if value is ... else {"option": value})
    [problem] = caught.value.errors()
    return told(problem)


WHOLE = "it must be a whole number"
DECIMAL = "it must be a decimal number, such as 1.50"
LIST = 'it must be a list, such as a,b or ["a", "b"]'
TABLE = 'it must be a table, such as {"name": "value"}'
BYTES = "it must be a number of bytes, or a size with its unit, such as 64MB or 16MiB"


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, ..., "it is required"),
        (int, SECRET, WHOLE),
        (int, 1.5, WHOLE),
        (int, [SECRET], WHOLE),
        (int, "1" * 5000, "it has too many digits"),
        (float, SECRET, "it must be a number"),
        (float, [SECRET], "it must be a number"),
        (Annotated[float, Field(allow_inf_nan=False)], "nan", "it must be a finite number"),
        (Decimal, SECRET, DECIMAL),
        (Decimal, [SECRET], DECIMAL),
        (Annotated[Decimal, Field(max_digits=2)], "123", "it must have 2 or fewer digits"),
        (Annotated[Decimal, Field(decimal_places=2)], "0.123", "it must have 2 or fewer decimal places"),
        (
            Annotated[Decimal, Field(max_digits=3, decimal_places=2)],
            "12",
            "it must have 1 or fewer digits before the decimal point",
        ),
        (Annotated[int, Field(gt=3)], 3, "it must be greater than 3"),
        (Annotated[int, Field(ge=3)], 2, "it must be 3 or more"),
        (Annotated[int, Field(lt=3)], 3, "it must be less than 3"),
        (Annotated[int, Field(le=3)], 4, "it must be 3 or less"),
        (Annotated[int, Field(multiple_of=3)], 4, "it must be a multiple of 3"),
        (Annotated[Duration, Field(ge=Duration("1s"))], "5ms", "it must be 1s or more"),
        (bool, SECRET, "it must be true or false"),
        (bool, [SECRET], "it must be true or false"),
        (ByteSize, SECRET, BYTES),
        (ByteSize, f"1{SECRET}", BYTES),
        (Literal["a", "b"], SECRET, "it must be 'a' or 'b'"),
        (Colour, SECRET, "it must be 'red' or 'blue'"),
        (str, [SECRET], "it must be a text"),
        (SecretStr, [SECRET], "it must be a text"),
        (Annotated[str, Field(min_length=9)], SECRET, "it must have 9 or more characters"),
        (Annotated[SecretStr, Field(max_length=1)], SECRET, "its length must be 1 or less"),
        (Annotated[str, Field(max_length=1)], SECRET, "it must have 1 or fewer characters"),
        (Annotated[str, Field(pattern="^[a-z]+$")], SECRET, "it must match the pattern ^[a-z]+$"),
        (bytes, [SECRET], "it must be a text"),
        (Annotated[bytes, Field(min_length=9)], SECRET, "it must have 9 or more bytes"),
        (Annotated[bytes, Field(max_length=1)], SECRET, "it must have 1 or fewer bytes"),
        (list[str], SECRET, LIST),
        (tuple[str, ...], SECRET, LIST),
        (set[str], SECRET, LIST),
        (frozenset[str], SECRET, LIST),
        (Annotated[list[str], Field(min_length=2)], [SECRET], "its length must be 2 or more"),
        (Annotated[list[str], Field(max_length=0)], [SECRET], "its length must be 0 or less"),
        (Cat, SECRET, TABLE),
        (Place, SECRET, TABLE),
        (dict[str, str], SECRET, TABLE),
        (Mapping[str, str], SECRET, TABLE),
        (Annotated[Cat | Dog, Field(discriminator="kind")], {}, "it must have 'kind'"),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            {"kind": SECRET},
            "'kind' must be one of 'cat', 'dog'",
        ),
        (date, SECRET, "it must be a date, such as 2024-05-31"),
        (date, [SECRET], "it must be a date, such as 2024-05-31"),
        (date, "2024-05-31T12:30:00", "it must be a date without a time, such as 2024-05-31"),
        (time, SECRET, "it must be a time of day, such as 12:30:00"),
        (time, [SECRET], "it must be a time of day, such as 12:30:00"),
        (datetime, SECRET, "it must be a date and a time, such as 2024-05-31T12:30:00Z"),
        (datetime, [SECRET], "it must be a date and a time, such as 2024-05-31T12:30:00Z"),
        (AwareDatetime, "2024-05-31T12:30:00", "it must have a time zone, as in 2024-05-31T12:30:00Z"),
        (NaiveDatetime, "2024-05-31T12:30:00Z", "it must have no time zone, as in 2024-05-31T12:30:00"),
        (timedelta, SECRET, "it must be a duration in ISO 8601, such as PT5M"),
        (timedelta, [SECRET], "it must be a duration in ISO 8601, such as PT5M"),
        (UUID, SECRET, "it must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"),
        (UUID, 1, "it must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"),
        (HttpUrl, SECRET, "it must be a URL, such as https://example.com"),
        (HttpUrl, 1, "it must be a URL, such as https://example.com"),
        (HttpUrl, f"ftp://{SECRET}", "it must be a URL that begins with 'http' or 'https'"),
        (Path, [SECRET], "it must be a path"),
        (FilePath, SECRET, "there is no such file"),
        (DirectoryPath, SECRET, "there is no such directory"),
        (Annotated[str, AfterValidator(refuse)], SECRET, "only on Mondays"),
        (Annotated[str, AfterValidator(silent)], SECRET, "it cannot be used"),
    ],
)
def test_a_problem_is_told_in_words_for_a_user(annotation: Any, value: Any, expected: str) -> None:
    assert words(annotation, value) == f"option: {expected}"


def test_a_place_inside_is_named_with_dots() -> None:
    assert words(dict[str, list[int]], {"a": [1, SECRET]}) == f"option.a.1: {WHOLE}"


def test_a_kind_without_words_keeps_those_of_pydantic() -> None:
    assert words(complex, SECRET).startswith("option: it must be a valid python complex object")
    assert words(Annotated[str, PlainValidator(custom)], SECRET) == "option: it is none of ours"
