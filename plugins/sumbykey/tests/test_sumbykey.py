import itertools
import json
import math
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from framework_sumbykey import SumByKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import RecordError
from framework.testing import check_processor, run_processor

DECIMALS = (st.decimals(allow_nan=False, allow_infinity=False) | st.integers().map(Decimal)).filter(
    lambda number: -6144 <= int(number.as_tuple().exponent) <= number.adjusted() <= 6144
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from([None, "", "a", "b"])


def sums(records: list[tuple[Any, Any]], number: str, batches: int | None = None) -> dict[Any, Any]:
    wrapped = [(key, {"n": value}) for key, value in records]
    return run_processor(SumByKey, wrapped, options={"field": "n", "number": number}, batches=batches).state


def fractions(records: list[tuple[Any, Any]]) -> dict[Any, Fraction]:
    totals: dict[Any, Fraction] = defaultdict(Fraction)
    for key, value in records:
        totals[key] += Fraction(value)
    return totals


def written(*texts: bytes) -> list[tuple[Any, Any]]:
    """Records as the format json-decimal reads them."""
    return [("k", json.loads(text, parse_float=Decimal)) for text in texts]


def test_decimals_are_summed_as_they_are_written() -> None:
    records = written(b'{"n": 0.1}', b'{"n": 0.20}', b'{"n": 1}', b'{"n": 12345678901234567890123456789012345.5}')
    total = run_processor(SumByKey, records, options={"field": "n"}).state["k"]
    assert str(total) == "12345678901234567890123456789012346.80"


def test_floats_are_summed_as_doubles() -> None:
    records = written(*[b'{"n": 0.1}'] * 10)
    total = run_processor(SumByKey, records, options={"field": "n", "number": "float"}).state["k"]
    assert Fraction(total) == 10 * Fraction(0.1)
    assert float(total) == math.fsum([0.1] * 10) == 1.0


def test_ints_stay_ints() -> None:
    total = run_processor(SumByKey, written(b'{"n": 1}', b'{"n": -3}'), options={"field": "n", "number": "int"}).state
    assert total == {"k": -2}
    assert type(total["k"]) is int


@given(records=st.lists(st.tuples(KEYS, DECIMALS)), size=st.none() | st.integers(1, 5))
def test_decimal_sums_are_exact(records: list[tuple[Any, Decimal]], size: int | None) -> None:
    assert {key: Fraction(total) for key, total in sums(records, "decimal", size).items()} == fractions(records)


@given(records=st.lists(st.tuples(KEYS, FLOATS)), size=st.none() | st.integers(1, 5))
def test_float_sums_are_exact_and_round_to_the_nearest_double(
    records: list[tuple[Any, float]], size: int | None
) -> None:
    totals = sums(records, "float", size)
    assert {key: Fraction(total) for key, total in totals.items()} == fractions(records)
    for key, total in totals.items():
        values = [value for own, value in records if own == key]
        if math.isfinite(sum(map(abs, values))):  # fsum overflows midway
            assert float(total) == math.fsum(values)


@given(records=st.lists(st.tuples(KEYS, st.integers())), size=st.none() | st.integers(1, 5))
def test_int_sums_are_exact(records: list[tuple[Any, int]], size: int | None) -> None:
    assert sums(records, "int", size) == fractions(records)


@given(values=st.lists(DECIMALS | FLOATS, min_size=1, max_size=4))
def test_the_order_of_records_changes_nothing(values: list[Any]) -> None:
    totals = {sums([("k", value) for value in order], "float")["k"] for order in itertools.permutations(values)}
    assert len(totals) == 1


def test_the_smallest_and_the_largest_are_kept_beside_each_other() -> None:
    records = written(b'{"n": 1E+6144}', b'{"n": 1E-6144}', b'{"n": -1E+6144}')
    assert run_processor(SumByKey, records, options={"field": "n"}).state["k"] == Decimal("1E-6144")


def test_dots_reach_into_objects() -> None:
    records = written(b'{"order": {"total": {"amount": 2}}}')
    assert run_processor(SumByKey, records, options={"field": "order.total.amount"}).state == {"k": 2}


NOT_NUMBERS = [b"true", b"null", b'"1"', b"[1]", b"{}"]
TOO_FAR = [b"1E+6145", b"1E-6145", b"0E-99999999999", b"1E+999999999999"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *itertools.product(["decimal", "int", "float"], NOT_NUMBERS),
        *itertools.product(["decimal", "int"], TOO_FAR),
        ("int", b"1.0"),
        ("int", b"1e3"),
        ("float", b"1e400"),
        ("float", b"1" + b"0" * 400),
    ],
)
@pytest.mark.parametrize("batches", [None, 1])
def test_what_is_no_such_number_is_refused(number: str, text: bytes, batches: int | None) -> None:
    records = written(b'{"n": ' + text + b"}")
    with pytest.raises(RecordError, match="field n is"):
        run_processor(SumByKey, records, options={"field": "n", "number": number}, batches=batches)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]
)
@pytest.mark.parametrize("number", ["decimal", "int", "float"])
def test_nan_and_infinity_are_refused(number: str, value: Any) -> None:
    with pytest.raises(RecordError, match="field n is"):
        sums([("k", value)], number)


def test_a_float_is_no_decimal() -> None:
    with pytest.raises(RecordError, match="json-decimal"):
        sums([("k", 0.1)], "decimal")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the value is null, not an object with a field a"),
        ([1], r"the value is \[1\], not an object with a field a"),
        ({}, "the value has no field a$"),
        ({"a.b": 1}, "the value has no field a$"),
        ({"a": 1}, "field a is 1, not an object with a field b"),
        ({"a": None}, "field a is null, not an object with a field b"),
        ({"a": {"c": 1}}, "the value has no field a.b"),
        ({"a": {"b": "x" * 100}}, r"field a.b is 'x{36}\.\.\., not a number"),
    ],
)
def test_a_value_without_the_field_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        run_processor(SumByKey, [("k", value)], options={"field": "a.b"})


@pytest.mark.parametrize(
    "options", [{}, {"field": ""}, {"field": "a."}, {"field": "a..b"}, {"field": "a", "number": "x"}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        run_processor(SumByKey, [], options=options)


VALUES = st.integers() | DECIMALS | FLOATS | st.sampled_from([None, True, "1", Decimal("NaN")])


@given(
    records=st.lists(st.tuples(KEYS, st.fixed_dictionaries({}, optional={"n": VALUES}) | st.none()), max_size=12),
    number=st.sampled_from(["decimal", "int", "float"]),
)
def test_it_keeps_the_contract(records: list[tuple[Any, Any]], number: str) -> None:
    check_processor(SumByKey, [("ok", {"n": 1}), *records], {"field": "n", "number": number})
