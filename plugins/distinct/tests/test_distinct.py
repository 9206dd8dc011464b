"""The number of distinct values is estimated within its bounds."""

from decimal import Decimal
from typing import Any

import pytest
from framework_distinct import Distinct, text_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import ProcessorConformance, check_processor, run_processor

VALUES = st.integers(-5, 5) | st.booleans() | st.text(max_size=2) | st.sampled_from([0.5, 1.0, 1e300, Decimal("0.50")])


def shown(state: dict[Any, bytes]) -> dict[Any, tuple[int, int, int]]:
    return {each["key"]: (each["value"], each["low"], each["high"]) for each in Distinct.entries(state)}


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), VALUES), min_size=1, max_size=30))
def test_few_values_are_counted_exactly(rows: list[tuple[Any, Any]]) -> None:
    records = [(key, {"x": value}) for key, value in rows]
    found = shown(run_processor(Distinct, records, options={"field": "x"}, batches=4).state)
    assert {key: value for key, (value, _, _) in found.items()} == {
        key: len({text_of(value) for own, value in rows if own == key}) for key, _ in rows
    }


@pytest.mark.parametrize(("precision", "error"), [(8, 0.21), (12, 0.053), (16, 0.013)])
def test_many_values_are_estimated_within_four_standard_errors(precision: int, error: float) -> None:
    records = [("a", {"x": number % 20_000}) for number in range(30_000)]
    options = {"field": "x", "precision": precision}
    [(value, low, high)] = shown(run_processor(Distinct, records, options=options, batches=1000).state).values()
    assert value == pytest.approx(20_000, rel=error)
    assert low < value < high


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), VALUES | st.none()), min_size=1, max_size=20))
def test_it_keeps_the_contract(rows: list[tuple[Any, Any]]) -> None:
    records: list[tuple[Any, Any]] = [(key, {"x": value}) for key, value in rows]
    check_processor(Distinct, [*records, ("a", {}), ("b", None), ("c", {"x": 1})], {"field": "x", "precision": 4})


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, Decimal("1.00")), (0.5, Decimal("0.50")), (10**30, Decimal("1E30"))]
)
def test_equal_numbers_are_one_value(one: Any, other: Any) -> None:
    assert text_of(one) == text_of(other)


def test_values_of_other_types_differ() -> None:
    assert len({text_of(value) for value in (1, "1", True, "b:True", 1.5, "1.5")}) == 6


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, "\ud800", float("nan"), float("inf")])
def test_what_is_no_value_is_refused(value: Any) -> None:
    with pytest.raises(RecordError, match="field x is "):
        run_processor(Distinct, [("a", {"x": value})], options={"field": "x"})


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("t", 0, at, at * 1000, key, {"x": at}) for at, key in enumerate("abbbb")]
    assert shown(run_processor(Distinct, records, options={"field": "x", "ttl": "3s"}).state).keys() == {"b"}


@pytest.mark.parametrize(
    "options", [{"field": "a..b"}, {"field": "x", "precision": 3}, {"field": "x", "precision": 22}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Distinct.Options(**options)


class TestContract(ProcessorConformance):
    processor = Distinct
    options = {"field": "x", "precision": 4}
    records = [("a", None), ("b", {}), *(("ab"[at % 2], {"x": at % 7}) for at in range(30))]
