"""The most frequent values are found, with counts within their bounds."""

from collections import Counter
from typing import Any

import pytest
from framework_topk import TopK
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import ProcessorConformance, check_processor, run_processor

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from("pqrstuv")), min_size=1, max_size=60)


def shown(rows: list[tuple[Any, Any]], **options: Any) -> list[tuple[Any, str, int, int]]:
    records: list[tuple[Any, Any]] = [(key, {"x": value}) for key, value in rows]
    state = run_processor(TopK, records, options={"field": "x"} | options, batches=7).state
    return [(each["key"], each["value"], each["count"], each["low"]) for each in TopK.entries(state)]


@given(ROWS)
def test_counts_are_exact_while_there_are_enough_counters(rows: list[tuple[Any, str]]) -> None:
    exact = Counter(rows)
    assert {(key, value): (count, low) for key, value, count, low in shown(rows, counters=10)} == {
        place: (count, count) for place, count in exact.items()
    }


@given(ROWS, st.integers(1, 4))
def test_counts_are_within_their_bounds_with_few_counters(rows: list[tuple[Any, str]], counters: int) -> None:
    exact, of_key = Counter(rows), Counter(key for key, _ in rows)
    found = {(key, value): (count, low) for key, value, count, low in shown(rows, k=counters, counters=counters)}
    for place, (count, low) in found.items():
        assert low <= exact[place] <= count
        assert count - low <= of_key[place[0]] / counters
    frequent = {place for place, count in exact.items() if count > of_key[place[0]] / counters}
    assert frequent <= found.keys()


def test_the_most_frequent_come_first_and_k_of_them() -> None:
    rows = [("a", value) for value in "ppqqqr"]
    assert shown(rows, k=2) == [("a", "q", 3, 3), ("a", "p", 2, 2)]


@given(ROWS)
def test_it_keeps_the_contract(rows: list[tuple[Any, str]]) -> None:
    records: list[tuple[Any, Any]] = [(key, {"x": value}) for key, value in rows]
    check_processor(TopK, [*records, ("a", {}), ("a", None), ("b", {"x": True})], {"field": "x", "k": 2, "counters": 3})


def test_values_may_be_numbers_and_bools() -> None:
    assert [value for _, value, _, _ in shown([("a", 1), ("a", True), ("a", 1), ("a", 0.5)])] == ["1", "0.5", "true"]


@pytest.mark.parametrize("value", [None, [1], {"y": 1}])
def test_what_is_no_value_is_refused(value: Any) -> None:
    with pytest.raises(RecordError, match="neither text, a number, true nor false"):
        shown([("a", value)])


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("t", 0, at, at * 1000, key, {"x": "p"}) for at, key in enumerate("abbbb")]
    assert run_processor(TopK, records, options={"field": "x", "ttl": "3s"}).state.keys() == {"b"}


@pytest.mark.parametrize(
    ("options", "told"),
    [({"field": "a..b"}, "is not a path"), ({"field": "x", "k": 5, "counters": 4}, "cannot show k=5 values")],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TopK.Options(**options)


class TestContract(ProcessorConformance):
    processor = TopK
    options = {"field": "x", "k": 2, "counters": 3}
    records = [("a", {}), ("b", None), *(("ab"[at % 2], {"x": "pqrstuv"[at * at % 7]}) for at in range(30))]
