import csv
import itertools
import json
import math
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from framework_sumbykey import SumByKey, SumOptions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import RecordError
from framework.formats.json import TypedJson
from framework.testing import ProcessorConformance, check_processor, run_processor

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


NOT_NUMBERS = [b"true", b"null", b"[1]", b"{}"]
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


def total_of(value: Any, number: str) -> Any:
    return sums([("k", value)], number)["k"]


@pytest.mark.parametrize("number", ["decimal", "int", "float"])
@pytest.mark.parametrize(
    ("text", "value"),
    [("1576", 1576), ("-3", -3), ("+3", 3), ("007", 7), (" 5\t", 5), ("-0", 0), ("9" * 300, 10**300 - 1)],
)
def test_a_whole_number_as_text_counts_as_the_number(number: str, text: str, value: int) -> None:
    total = total_of(text, number)
    assert (total, type(total)) == (total_of(value, number), int if number == "int" else Decimal)


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("-3.50", "-3.50"),
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        (".5", "0.5"),
        ("5.", "5"),
        ("0.1", "0.1"),
        ("\t2.0 ", "2.0"),
    ],
)
def test_a_decimal_as_text_is_read_as_it_is_written(text: str, total: str) -> None:
    assert str(total_of(text, "decimal")) == total
    assert total_of(text, "float") == Decimal(float(total))
    with pytest.raises(RecordError, match="not written as a whole number"):
        total_of(text, "int")


@given(value=DECIMALS | st.integers(), number=st.sampled_from(["decimal", "int", "float"]))
def test_a_number_as_text_is_read_like_the_number_in_json(value: Decimal | int, number: str) -> None:
    def outcome(read: Any) -> Any:
        try:
            return total_of(read, number)
        except RecordError as error:
            return str(error).rpartition(", ")[2]

    in_json = json.loads(str(value), parse_float=Decimal)
    assert outcome(str(value)) == outcome(in_json)


@pytest.mark.parametrize("number", ["decimal", "int", "float"])
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1,234.5", "NA", "nan", "sNaN", "inf", "-Infinity", "1_000", "\uff11\uff12", "\u0663", "0x10", "1 2",
        "--1", "+-1", "1.2.3", "e3", ".", "1e", "1\n", "\xa01", "1.0f", "true",
    ],
)  # fmt: skip
def test_a_text_that_is_no_plain_number_is_refused_and_shown(number: str, text: str) -> None:
    with pytest.raises(RecordError) as caught:
        total_of(text, number)
    assert str(caught.value) == f"field n is {text!r}, not a number"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("int", "9" * 5000),
        ("decimal", "9" * 5000),
        ("decimal", "1e6145"),
        ("decimal", "1e" + "9" * 30),
        ("float", "1e400"),
        ("float", "1e" + "9" * 30),
    ],
)
def test_a_text_beyond_what_is_read_is_refused(number: str, text: str) -> None:
    with pytest.raises(RecordError, match=r"field n is '.*, (too large or too small a number|not a finite double)"):
        total_of(text, number)


FLIGHTS = Path(__file__).parents[3] / "examples" / "data" / "flights-2013-01.csv"


@pytest.mark.parametrize("batches", [None, 1000])
def test_a_csv_column_is_summed_as_its_texts_say(batches: int | None) -> None:
    with FLIGHTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        expected[row["dest"]] += Decimal(row["distance"])
    records = [(row["dest"], row) for row in rows]
    result = run_processor(SumByKey, records, options={"field": "distance"}, batches=batches)
    assert result.state == expected
    assert len(expected) > 90


@pytest.mark.parametrize("batches", [None, 3])
def test_a_missing_number_of_a_csv_file_is_a_bad_record_of_its_own(batches: int | None) -> None:
    records = [("k", {"n": text}) for text in ("1", "NA", "2.5", "")]
    result = run_processor(SumByKey, records, options={"field": "n"}, batches=batches, on_error="skip")
    assert result.state == {"k": Decimal("3.5")}
    assert {offset: str(error) for offset, error in result.failed.items()} == {
        1: "field n is 'NA', not a number",
        3: "field n is '', not a number",
    }


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


def typed(text: str, path: str, number: Any) -> Any:
    """A value as a run reads it: of its JSON, only the field."""
    options = SumOptions(field=path, number=number)
    return TypedJson(SumByKey.value_format_of(options), "value").read(text.encode())


@pytest.mark.parametrize("batches", [None, 1, 3])
@pytest.mark.parametrize("number", ["decimal", "int", "float"])
def test_values_of_which_only_the_field_was_read(number: str, batches: int | None) -> None:
    texts = [
        '{"x": [1], "a": {"b": 1}}',
        '{"a": {"b": "2"}}',
        '{"a": {"b": 1.5}}',
        '{"a": {"b": null}}',
        '{"a": {"b": 3}}',
    ]
    records = [("k", typed(text, "a.b", number)) for text in texts]
    options = {"field": "a.b", "number": number}
    result = run_processor(SumByKey, records, options=options, batches=batches, on_error="skip")
    assert result.state == {"k": 6 if number == "int" else Decimal("7.5")}
    assert list(result.failed) == ([2, 3] if number == "int" else [3])


@pytest.mark.parametrize("batches", [None, 4])
def test_a_field_whose_name_has_a_dot(batches: int | None) -> None:
    records = [("k", typed('{"o": {"net.amount": 1.5}}', "/o/net.amount", "decimal")), ("k", {"o": {"net.amount": 2}})]
    assert run_processor(SumByKey, records, options={"field": "/o/net.amount"}, batches=batches).state["k"] == Decimal(
        "3.5"
    )


@pytest.mark.parametrize("number", ["decimal", "float"])
@pytest.mark.parametrize("text", ["1e6145", "1e-6145", "1" * 4000 + "." + "1" * 4000])
def test_a_column_is_refused_where_a_number_of_it_is(text: str, number: str) -> None:
    values = [typed(f'{{"a": {each}}}', "a", "decimal") for each in ("1", text, "2")]
    options = {"field": "a", "number": number}
    one_by_one = run_processor(SumByKey, [("k", value) for value in values], options=options, on_error="skip")
    at_once = run_processor(SumByKey, [("k", value) for value in values], options=options, batches=3, on_error="skip")
    assert one_by_one == at_once or list(one_by_one.failed) == list(at_once.failed)
    assert list(one_by_one.failed) == ([1] if number == "decimal" or text != "1e-6145" else [])


@pytest.mark.parametrize(
    "options", [{}, {"field": ""}, {"field": "a."}, {"field": "a..b"}, {"field": "a", "number": "x"}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        run_processor(SumByKey, [], options=options)


VALUES = st.integers() | DECIMALS | FLOATS | st.sampled_from([None, True, "1", " -2.5e1", "1_0", Decimal("NaN")])


@given(
    records=st.lists(st.tuples(KEYS, st.fixed_dictionaries({}, optional={"n": VALUES}) | st.none()), max_size=12),
    number=st.sampled_from(["decimal", "int", "float"]),
)
def test_it_keeps_the_contract(records: list[tuple[Any, Any]], number: str) -> None:
    check_processor(SumByKey, [("ok", {"n": 1}), *records], {"field": "n", "number": number})


class TestContract(ProcessorConformance):
    processor = SumByKey
    options = {"field": "x"}
    records = [("a", {"x": 1}), ("b", {"x": "1.10"}), ("a", {"x": "NA"}), ("a", {}), ("b", {"x": 2})]
