"""The plugin: options, records that it refuses, and the contract of processors."""

from decimal import Decimal
from typing import Any

import pytest
from framework_quantiles import Quantiles, Sketch, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import check_processor, run_processor

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000) | st.sampled_from(["7", "-1.5e3"])
KEYS = st.sampled_from(["a", "b", None])


def state_of(rows: list[tuple[Any, Any]], **options: Any) -> dict[Any, Sketch]:
    records: list[tuple[Any, Any]] = [(key, {"x": value}) for key, value in rows]
    return run_processor(Quantiles, records, options={"field": "x"} | options, batches=7).state


def shown(rows: list[tuple[Any, Any]], **options: Any) -> list[dict[str, Any]]:
    return [dict(each) for each in Quantiles.entries(state_of(rows, **options))]


def test_an_entry_tells_the_quantile_its_bounds_and_the_count() -> None:
    rows = [("a", number) for number in range(1, 1002)]
    median, greatest = shown(rows, quantiles="0.5, 1.0", accuracy=0.1)
    low, value, high = (median.pop(name) for name in ("low", "value", "high"))
    assert low <= 501 <= high
    assert value == pytest.approx(501, rel=0.1)
    assert (low, high) == (pytest.approx(value / 1.1, rel=1e-5), pytest.approx(value / 0.9, rel=1e-5))
    assert median == {"key": "a", "quantile": 0.5, "count": 1001}
    assert greatest == {"key": "a", "quantile": 1.0, "value": 1001.0, "low": 1001.0, "high": 1001.0, "count": 1001}


def test_each_key_has_a_sketch_of_its_own() -> None:
    found = shown([("a", 1), (None, 5), ("a", 1)], quantiles="0.5")
    assert {(each["key"], each["value"], each["count"]) for each in found} == {("a", 1.0, 2), (None, 5.0, 1)}


@settings(max_examples=30)
@given(st.lists(st.tuples(KEYS, NUMBERS | st.none()), max_size=30))
def test_it_keeps_the_contract(rows: list[tuple[Any, Any]]) -> None:
    records: list[tuple[Any, Any]] = [(key, {"x": value}) for key, value in rows]
    check_processor(Quantiles, [*records, ("a", {}), ("b", None), ("c", {"x": 1})], {"field": "x", "buckets": 3})


@given(st.lists(NUMBERS, min_size=1), st.lists(NUMBERS, min_size=1), st.integers(2, 9))
def test_the_states_of_two_keys_can_be_merged(some: list[Any], others: list[Any], buckets: int) -> None:
    apart = state_of([*(("a", each) for each in some), *(("b", each) for each in others)], buckets=buckets)
    together = state_of([("a", each) for each in [*some, *others]], buckets=buckets)
    assert merged(apart["a"], apart["b"], buckets) == together["a"]


@pytest.mark.parametrize("value", ["1e3", " 1000", 1000, 1000.0, Decimal("1E3")])
def test_a_number_may_be_written_in_several_ways(value: Any) -> None:
    assert state_of([("a", value)]) == state_of([("a", 1000.0)])


def test_the_field_may_be_nested() -> None:
    records = [("a", {"order": {"amount": 3}})]
    state = run_processor(Quantiles, records, options={"field": "order.amount"}).state
    assert state["a"]["max"] == 3.0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "field x is null, not a number"),
        ("NA", "field x is 'NA', not a number"),
        (True, "field x is True, not a number"),
        ([1], "not a number"),
        ({"y": 1}, "not a number"),
        (float("nan"), "field x is nan, not a finite double"),
        ("1e999", "field x is '1e999', not a finite double"),
        (10**400, "not a finite double"),
    ],
)
def test_what_is_no_number_is_refused(value: Any, told: str) -> None:
    with pytest.raises(RecordError, match=told):
        state_of([("a", value)])


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("t", 0, at, at * 1000, key, {"x": at}) for at, key in enumerate("abbbb")]
    assert run_processor(Quantiles, records, options={"field": "x", "ttl": "3s"}).state.keys() == {"b"}


def test_the_state_names_what_it_was_built_with() -> None:
    options = Quantiles.Options(field="x", quantiles=" 0.50 ,1")
    assert Quantiles.state_definition(options) == "the quantiles 0.5,1 of field x with accuracy 0.01 in 2048 buckets"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"field": "a..b"}, "is not a path"),
        ({"field": "x", "quantiles": ""}, "'' is no quantile; write numbers from 0 to 1"),
        ({"field": "x", "quantiles": "0.5,95"}, "'95' is no quantile"),
        ({"field": "x", "quantiles": "nan"}, "'nan' is no quantile"),
        ({"field": "x", "quantiles": "median"}, "'median' is no quantile"),
        ({"field": "x", "quantiles": "0.5,.50"}, "names a quantile twice"),
        ({"field": "x", "accuracy": 0.0001}, "accuracy"),
        ({"field": "x", "accuracy": 1}, "accuracy"),
        ({"field": "x", "buckets": 1}, "buckets"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Quantiles.Options(**options)
