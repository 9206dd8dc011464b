from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import Field, model_validator

from framework import Options, Processor, UsageError
from framework.options import parse_options
from framework.plugins import ProcessorSpec


class SumOptions(Options):
    field: str = Field(description="What to sum.")
    number: Literal["int", "decimal"] = "decimal"
    scale: int = 0


class TagOptions(Options):
    tags: list[str] = Field(default=[])
    limits: dict[str, int] = Field(default_factory=dict)
    field: str | None = None
    step: Decimal = Decimal(1)
    quick: bool = False

    @model_validator(mode="after")
    def quick_needs_tags(self) -> "TagOptions":
        if self.quick and not self.tags:
            raise ValueError("quick needs tags")
        return self


def spec(name: str, options: type[Options]) -> ProcessorSpec:
    return ProcessorSpec(name, type("Made", (Processor,), {"Options": options}), name)


SUM = spec("sum", SumOptions)
TAG = spec("my.tag", TagOptions)
NONE = spec("none", Options)


def test_texts_become_typed_values() -> None:
    given = {"field": "a=b", "scale": "3", "number": "int"}
    assert parse_options([SUM], given) == {"sum": SumOptions(field="a=b", scale=3, number="int")}


def test_typed_values_are_taken_as_they_are() -> None:
    assert parse_options([TAG], {"tags": ["a"], "limits": {"a": 1}, "step": Decimal("0.1")}) == {
        "my.tag": TagOptions(tags=["a"], limits={"a": 1}, step=Decimal("0.1"))
    }


def test_texts_of_lists_tables_and_truth_values_are_read() -> None:
    given = {"tags": '["a", "b"]', "limits": '{"a": 1}', "quick": "true", "step": "0.1"}
    assert parse_options([TAG], given)["my.tag"] == TagOptions(
        tags=["a", "b"], limits={"a": 1}, quick=True, step=Decimal("0.1")
    )


def test_a_text_stays_a_text_where_one_is_wanted() -> None:
    assert parse_options([SUM], {"field": "[1]"})["sum"] == SumOptions(field="[1]")


def test_an_option_goes_to_every_processor_that_has_it_unless_one_is_named() -> None:
    both = parse_options([SUM, TAG, NONE], {"field": "a", "my.tag.field": "b", "scale": 1})
    assert both == {"sum": SumOptions(field="a", scale=1), "my.tag": TagOptions(field="b"), "none": Options()}


def test_a_named_processor_wins_in_any_order() -> None:
    assert parse_options([SUM], {"sum.field": "b", "field": "a"})["sum"] == SumOptions(field="b")


def test_a_table_names_a_processor_too() -> None:
    assert parse_options([SUM, TAG], {"sum": {"field": "a"}, "my.tag": {"quick": False}}) == {
        "sum": SumOptions(field="a"),
        "my.tag": TagOptions(),
    }


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (
            {"fild": "a"},
            ["unknown option fild (did you mean field?)", "field (str, required)", "options of none: none"],
        ),
        ({"field": "a", "none.field": "a"}, ["unknown option none.field"]),
        ({"field": "a", "other.scale": "1"}, ["unknown option other.scale"]),
        ({"field": "a", "sum": {"nope": 1}}, ["unknown option sum.nope"]),
        ({}, ["field: it is required", "number (int|decimal, default decimal)"]),
        ({"field": "a", "number": "dec", "scale": "x"}, ["number: it must be", "scale: it must be"]),
        ({"field": "a", "tags": "[1]"}, ["tags.0: it must be a text"]),
        ({"field": "a", "tags": "[a"}, ['tags: it must be a list, such as a,b or ["a", "b"]']),
        ({"field": "a", "quick": "true"}, ["quick needs tags"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_allowed(given: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options([SUM, TAG, NONE], given)
    for part in parts:
        assert part in str(caught.value)


def test_a_refused_value_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        parse_options([SUM], {"field": "a", "scale": "pass-word"})
    assert "pass-word" not in str(caught.value)
