"""The latest value of each key is kept."""

from typing import Any

import pytest
from framework_latest import Latest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record
from framework.testing import ProcessorConformance, check_processor, run_processor

VALUES = (
    st.none() | st.integers() | st.lists(st.text(max_size=2), max_size=2) | st.dictionaries(st.text(), st.booleans())
)
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), VALUES), min_size=1, max_size=20)


def test_the_latest_value_of_each_key_is_kept_and_null_deletes_it() -> None:
    rows: list[tuple[str, Any]] = [("a", 1), ("b", {"x": [2]}), ("a", None), ("c", 4), ("c", 5)]
    assert run_processor(Latest, rows).state == {"b": {"x": [2]}, "c": 5}


def test_some_fields_are_kept_and_missing_ones_are_left_out() -> None:
    rows: list[tuple[str, Any]] = [
        ("a", {"name": "Ann", "address": {"city": "X", "street": "Y"}}),
        ("b", {"age": 4}),
        ("c", 5),
    ]
    state = run_processor(Latest, rows, options={"fields": "name, address.city"}).state
    assert state == {"a": {"name": "Ann", "address.city": "X"}, "b": {}, "c": {}}


def test_a_key_is_forgotten_if_the_user_says_so() -> None:
    records = [Record("table", 0, at, at * 1000, key, at) for at, key in enumerate("abbbb")]
    assert run_processor(Latest, records, options={"ttl": "3s"}).state == {"b": 4}


@pytest.mark.parametrize("fields", ["a..b", "a,,b"])
def test_fields_that_cannot_be_are_refused(fields: str) -> None:
    with pytest.raises(ValidationError, match="is not a path of fields"):
        Latest.Options(fields=fields)


@given(ROWS)
def test_it_keeps_the_contract(rows: list[tuple[Any, Any]]) -> None:
    for options in ({}, {"fields": "x"}):
        check_processor(Latest, rows, options)


class TestContract(ProcessorConformance):
    processor = Latest
    records = [("a", {"x": 1}), ("b", {"x": 2}), ("a", {"x": 3}), ("b", None), (None, {"x": 1})]
