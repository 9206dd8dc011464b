"""Aggregates are those of the standard library, for each key."""

import statistics
from decimal import Decimal
from typing import Any

import pytest
from framework_aggregate import Aggregate
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import ProcessorConformance, check_processor, run_processor

ALL = "count, x:sum, x:min, x:max, x:mean, x:variance, x:first, name:last"
NUMBERS = st.decimals(-(10**6), 10**6, places=2)
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), NUMBERS), min_size=1, max_size=20)


def values(rows: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(key, {"x": number, "name": [str(number)]}) for key, number in rows]


def results(state: dict[Any, Any]) -> dict[Any, Any]:
    return {entry["key"]: entry["value"] for entry in Aggregate.entries(state)}


@given(ROWS)
def test_they_are_those_of_the_standard_library(rows: list[tuple[Any, Any]]) -> None:
    found = results(run_processor(Aggregate, values(rows), options={"fields": ALL}, batches=3).state)
    assert found.keys() == {key for key, _ in rows}
    for key, result in found.items():
        own = [number for each, number in rows if each == key]
        assert list(result.values())[:4] == [len(own), sum(own), min(own), max(own)]
        assert result["x:mean"] == pytest.approx(float(sum(own) / len(own)), rel=1e-12, abs=1e-12)
        if len(own) > 1:
            expected = float(statistics.variance(own))
            assert result["x:variance"] == pytest.approx(expected, rel=1e-9, abs=1e-6)
        else:
            assert result["x:variance"] is None
        assert (result["x:first"], result["name:last"]) == (own[0], [str(own[-1])])


@given(ROWS)
def test_it_keeps_the_contract(rows: list[tuple[Any, Any]]) -> None:
    refused: list[tuple[Any, Any]] = [("a", None), ("a", {"x": "?", "name": 1}), ("b", {"x": 1})]
    check_processor(Aggregate, [*values(rows), *refused, *values(rows)], {"fields": ALL})


def test_numbers_may_be_text_as_in_csv() -> None:
    rows: list[tuple[str, Any]] = [("a", {"x": "1.10"}), ("a", {"x": " 2 "})]
    assert results(run_processor(Aggregate, rows, options={"fields": "x:sum,x:max"}).state) == {
        "a": {"x:sum": Decimal("3.10"), "x:max": Decimal(2)}
    }


def test_a_record_is_refused_as_a_whole() -> None:
    rows: list[tuple[str, Any]] = [("a", {"x": 1}), ("a", {"x": 2, "y": "NA"})]
    result = run_processor(
        Aggregate, rows[1:] * 2 + [("a", {"x": 3, "y": 4})], options={"fields": "x:sum,y:sum"}, on_error="skip"
    )
    assert results(result.state) == {"a": {"x:sum": 3, "y:sum": 4}}
    with pytest.raises(RecordError, match="field y is 'NA', not a number"):
        run_processor(Aggregate, rows[1:], options={"fields": "x:sum,y:sum"})


def test_whole_numbers_only_if_the_user_says_so() -> None:
    with pytest.raises(RecordError, match="not written as a whole number"):
        run_processor(Aggregate, [("a", {"x": Decimal("1.5")})], options={"fields": "x:sum", "number": "int"})


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("t", 0, at, at * 1000, key, {"x": at}) for at, key in enumerate("abbbb")]
    state = run_processor(Aggregate, records, options={"fields": "x:sum", "ttl": "3s"}).state
    assert results(state) == {"b": {"x:sum": 10}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("", "'' is no aggregate; write count, or FIELD:FUNCTION"),
        ("x", "'x' is no aggregate"),
        ("x:median", "'x:median' is no aggregate"),
        ("x:count", "'x:count' is no aggregate"),
        ("a..b:sum", "is not a path of fields"),
        ("count,count", "names an aggregate twice"),
    ],
)
def test_aggregates_that_cannot_be_are_refused(fields: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Aggregate.Options(fields=fields)


class TestContract(ProcessorConformance):
    processor = Aggregate
    options = {"fields": "x:mean,x:max,y:last"}
    records = [("a", {"x": 1, "y": 2.5}), ("b", {"x": "3"}), ("a", {"x": 2, "y": 1}), ("a", None), ("b", {"x": []})]
