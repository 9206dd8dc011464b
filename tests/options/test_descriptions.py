"""How options are told: a line for each, and a JSON Schema."""

from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ByteSize, Field, PositiveInt, SecretStr, create_model

from framework import Options
from framework.durations import Duration
from framework.options.descriptions import describe_options, options_schema


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Pool(BaseModel):
    size: int = Field(ge=1, description="How many connections.")
    idle: Duration = Duration("1m")


class Tree(BaseModel):
    depth: int = 1
    below: "Tree | None" = None


def told(annotation: Any, default: Any = ...) -> str:
    [option] = describe_options(create_model("Model", option=(annotation, default)))
    return str(option).removeprefix("option ")


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (str, ..., "(str, required)"),
        (str, "", "(str, default '')"),
        (str, ",", "(str, default ',')"),
        (str, "a/b-1.5", "(str, default a/b-1.5)"),
        (str | None, None, "(str)"),
        (int | str | None, 3, "(int|str, default 3)"),
        (bool, False, "(bool, default false)"),
        (Path, Path("a/b"), '(path, default "a/b")'),
        (Decimal, Decimal("1.50"), '(decimal.Decimal, default "1.50")'),
        (Literal["a", "b"], "b", "(a|b, default b)"),
        (Colour, Colour.RED, "(red|blue, default red)"),
        (list[str], ["a", "b"], '(list[str], default ["a","b"])'),
        (tuple[Duration, ...], ..., "(tuple[duration, ...], required)"),
        (Callable[[Duration], int], ..., "(collections.abc.Callable[[duration], int], required)"),
        (dict[str, ByteSize], {}, "(dict[str, size], default {})"),
        (Duration, Duration("90s"), "(duration, default 1m30s)"),
        (ByteSize, 64_000_000, "(size, default 64MB)"),
        (ByteSize, ByteSize(16 * 1024**2), "(size, default 16MiB)"),
        (ByteSize, 1536, "(size, default 1536B)"),
        (ByteSize | None, 0, "(size, default 0B)"),
        (SecretStr, ..., "(secret, required)"),
        (SecretStr, SecretStr("hunter2"), "(secret, default hidden)"),
        (SecretStr | None, "hunter2", "(secret, default hidden)"),
        (PositiveInt, 1, "(int, > 0, default 1)"),
        (Annotated[int, Field(ge=1, lt=10)] | None, None, "(int, >= 1, < 10)"),
        (Annotated[float, Field(le=1.5, multiple_of=0.5)], ..., "(float, <= 1.5, multiple of 0.5, required)"),
        (Annotated[str, Field(min_length=1, max_length=9, pattern="^a")], ...,
         "(str, length >= 1, length <= 9, matches ^a, required)"),
        (Annotated[Decimal, Field(max_digits=5, decimal_places=2)], ...,
         "(decimal.Decimal, digits <= 5, decimal places <= 2, required)"),
        (Annotated[Duration, Field(ge=Duration("1s"))], ..., "(duration, >= 1s, required)"),
        (Annotated[ByteSize, Field(le=ByteSize(1024))], ..., "(size, <= 1KiB, required)"),
    ],
)  # fmt: skip
def test_an_option_is_told_in_a_line(annotation: Any, default: Any, expected: str) -> None:
    assert told(annotation, default) == expected


def test_options_in_tables_are_told_by_their_paths() -> None:
    model = create_model(
        "Model", pool=(Pool, ...), spare=(Pool | None, None), tree=(Tree, Tree()), own=(Tree, Tree(depth=2))
    )
    assert [str(option) for option in describe_options(model)] == [
        "pool (table, required)",
        "pool.size (int, >= 1, required)",
        "pool.idle (duration, default 1m)",
        "spare (table)",
        "spare.size (int, >= 1, required with spare)",
        "spare.idle (duration, default 1m)",
        "tree (table)",
        "tree.depth (int, default 1)",
        "tree.below (table)",
        'own (table, default {"depth":2,"below":null})',
        "own.depth (int, default 1)",
        "own.below (table)",
    ]


class Hen(BaseModel):
    egg: "Egg | None" = None


class Egg(BaseModel):
    hen: Hen | None = None


Hen.model_rebuild()


def test_a_table_that_comes_again_inside_itself_is_told_once() -> None:
    assert [option.name for option in describe_options(Egg)] == ["hen", "hen.egg"]


def test_help_and_examples_are_told() -> None:
    class Given(Options):
        size: ByteSize = Field(ByteSize(1), examples=["64MB", 1024], description="How much.")
        password: SecretStr | None = None

    size, password = describe_options(Given)
    assert (size.help, size.examples) == ("How much.", ("64MB", "1KiB"))
    assert password.examples == ("@file:PATH", "@env:NAME")


def test_an_option_has_the_name_that_is_written() -> None:
    class Given(Options):
        from_: int = Field(0, alias="from")

    assert [option.name for option in describe_options(Given)] == ["from"]


def test_the_schema_has_no_secrets_and_a_place_for_every_type() -> None:
    class Given(Options):
        password: SecretStr = SecretStr("hunter2")
        token: SecretStr | None = Field("hunter2", validate_default=True)
        after: Duration = Duration("5m")
        call: Callable[[], int] = int

    schema = options_schema(Given)
    assert "hunter2" not in str(schema) + str(describe_options(Given))
    assert "***" not in str(schema)
    assert schema["properties"]["after"]["default"] == "5m"
    assert "call" in schema["properties"]
    assert schema["additionalProperties"] is False
