"""Numbers of fields are read exactly, one by one and by column."""

import math
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import RecordError, UsageError
from framework.numbers import NumberField, NumberKind, exact_sums

KINDS: tuple[NumberKind, ...] = get_args(NumberKind)

AMOUNTS = st.one_of(
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.decimals(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1576", " -3.50 ", "1e3", "1,234.5", "", "NA", "nan", "1_000", "٣", "1e999999", "9" * 5000]),
    st.sampled_from([None, True, [], {}, Decimal("1e6145"), Decimal("1e-6145"), Decimal("1e6144")]),
)
VALUES = st.one_of(st.fixed_dictionaries({"amount": AMOUNTS}), st.just({}), AMOUNTS)


def is_refused(field: NumberField, value: Any) -> bool:
    try:
        field.of(value)
    except RecordError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
@given(values=st.lists(VALUES))
def test_a_column_has_the_numbers_of_its_values(kind: NumberKind, values: list[Any]) -> None:
    field = NumberField("amount", kind)
    numbers, errors = field.of_column(values)
    assert len(numbers) == len(values)
    for position, value in enumerate(values):
        if is_refused(field, value):
            assert numbers[position] is None
            assert "amount" in str(errors.pop(position))
        else:
            assert numbers[position] == field.of(value)
    assert not errors


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ("decimal", "1576", Decimal(1576)),
        ("decimal", " -3.50\t", Decimal("-3.50")),
        ("decimal", "1e3", Decimal(1000)),
        ("decimal", Decimal("0.1"), Decimal("0.1")),
        ("int", "+7", 7),
        ("int", 10**400, 10**400),
        ("float", "0.1", Decimal("0.1000000000000000055511151231257827021181583404541015625")),
        ("float", 2**53 + 1, Decimal(2**53)),
    ],
)
def test_a_number_is_read_as_it_is_written(kind: NumberKind, written: Any, read: Decimal | int) -> None:
    number = NumberField("amount", kind).of({"amount": written})
    assert number == read
    assert type(number) is type(read)


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        ("decimal", "1,234.5", "field amount is '1,234.5', not a number"),
        ("decimal", "", "field amount is '', not a number"),
        ("decimal", "NA", "field amount is 'NA', not a number"),
        ("decimal", 0.5, "field amount is 0.5, already rounded to a float"),
        ("decimal", Decimal("1e6145"), "too large or too small a number"),
        ("decimal", None, "field amount is null, not a number"),
        ("int", "1.5", "field amount is '1.5', not written as a whole number"),
        ("int", True, "field amount is True, not written as a whole number"),
        ("float", math.nan, "field amount is nan, not a finite double"),
        ("float", 10**400, "not a finite double"),
    ],
)
def test_what_is_no_number_is_refused_with_the_field(kind: NumberKind, written: Any, message: str) -> None:
    with pytest.raises(RecordError, match="field amount") as caught:
        NumberField("amount", kind).of({"amount": written})
    assert message in str(caught.value)


@given(st.lists(st.sampled_from([Decimal("1e6144"), Decimal("-1e6144"), Decimal("1e-6144"), Decimal("0.1")])))
def test_sums_do_not_depend_on_the_order(numbers: list[Decimal]) -> None:
    with exact_sums():
        total = sum(numbers, Decimal(0))
        assert sum(reversed(numbers), Decimal(0)) == total
        assert sum([*numbers, *(-number for number in numbers)], Decimal(0)) == 0


def test_a_field_that_cannot_be_named_is_refused() -> None:
    with pytest.raises(UsageError):
        NumberField("")
