"""A sketch holds its bounds, whatever the numbers, their order, and the sketches that they come from."""

import math
import sys
from copy import deepcopy
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Final

import pytest
from framework_quantiles.sketch import Scale, Sketch, add, estimates, merged, new_sketch
from hypothesis import example, given
from hypothesis import strategies as st

MANY: Final = 100_000
ROUNDING: Final = 5.1e-6
"""Half a unit in the last of six digits, relative to the number."""
EDGES: Final = 1e-12
"""What the bounds of a bucket are off, relative to them, as logarithms are rounded."""

ACCURACIES = st.sampled_from([0.001, 0.01, 0.1, 0.5])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False) | st.integers(-3, 3).map(float)
QUANTILES = st.lists(st.integers(0, 1000).map(lambda each: str(each / 1000)), min_size=1, max_size=5).map(",".join)


def sketch_of(numbers: list[float], accuracy: float = 0.01, quantiles: str = "0.5", most: int = MANY) -> Sketch:
    sketch = new_sketch(accuracy, quantiles)
    for number in numbers:
        add(sketch, number, Scale(accuracy), most)
    return sketch


def exact(numbers: list[float], quantile: str) -> float:
    return sorted(numbers)[math.floor(Fraction(quantile) * (len(numbers) - 1))]


@given(NUMBERS, ACCURACIES)
@example(sys.float_info.max, 0.001)
@example(-sys.float_info.max, 0.5)
@example(sys.float_info.min, 0.01)
def test_a_number_is_within_the_bounds_of_its_bucket(number: float, accuracy: float) -> None:
    scale = Scale(accuracy)
    bucket = scale.bucket_of(number)
    low, high = scale.bounds_of(bucket)
    assert low - abs(low) * EDGES <= number <= high + abs(high) * EDGES
    assert abs(scale.middle_of(bucket) - number) <= (accuracy + EDGES) * abs(number)


@given(NUMBERS, NUMBERS, ACCURACIES)
def test_a_greater_number_is_not_in_a_lower_bucket(one: float, other: float, accuracy: float) -> None:
    low, high = sorted([one, other])
    assert Scale(accuracy).bucket_of(low) <= Scale(accuracy).bucket_of(high)


def test_the_buckets_follow_each_other_without_gaps() -> None:
    bounds = [Scale(0.01).bounds_of(bucket) for bucket in range(1, 100)]
    assert bounds[0][0] == pytest.approx(sys.float_info.min)
    assert all(one[1] == other[0] for one, other in pairwise(bounds))


@given(st.lists(NUMBERS, min_size=1), QUANTILES, ACCURACIES)
@example([0.0, -1.796509385447336e308, -1.796509385447336e308], "0.5", 0.001)
@example([-1.0, 1.7976e308, sys.float_info.max], "0.5", 0.5)
def test_each_quantile_is_within_the_accuracy_and_the_bounds(
    numbers: list[float], quantiles: str, accuracy: float
) -> None:
    found = list(estimates(sketch_of(numbers, accuracy, quantiles)))
    assert [each.quantile for each in found] == [float(text) for text in quantiles.split(",")]
    for each, text in zip(found, quantiles.split(","), strict=True):
        number = exact(numbers, text)
        assert abs(each.value - number) <= (accuracy + ROUNDING * (1 + accuracy)) * abs(number)
        assert each.low <= number <= each.high
        assert each.low <= each.value <= each.high


def test_the_bounds_hold_numbers_at_the_ends_of_a_bucket() -> None:
    scale = Scale(0.01)
    for bucket in (*range(-35_500, -35_400), *range(35_400, 35_500)):
        low, high = scale.bounds_of(bucket)
        for number in (low + (high - low) * 1e-9, high - (high - low) * 1e-9):
            [found] = estimates(sketch_of([-1e9, number, 1e9]))
            assert found.low <= number <= found.high


@given(st.lists(NUMBERS, min_size=1), QUANTILES, st.integers(2, 6))
def test_at_the_bound_the_bounds_hold_and_high_quantiles_stay_accurate(
    numbers: list[float], quantiles: str, most: int
) -> None:
    sketch = sketch_of(numbers, quantiles=quantiles, most=most)
    scale, buckets = Scale(0.01), sketch["buckets"]
    assert len(buckets) <= most
    assert sorted(buckets) == sorted({scale.bucket_of(number) for number in numbers})[-most:]
    assert sum(buckets.values()) == len(numbers)
    for each, text in zip(estimates(sketch), quantiles.split(","), strict=True):
        number = exact(numbers, text)
        assert each.low <= number <= each.high
        if scale.bucket_of(number) > min(buckets):
            assert abs(each.value - number) <= (0.01 + 2 * ROUNDING) * abs(number)


@given(st.lists(NUMBERS, min_size=1), st.integers(2, 6) | st.just(MANY), st.randoms(use_true_random=False))
def test_the_order_of_the_numbers_does_not_matter(numbers: list[float], most: int, random: Random) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)
    assert sketch_of(shuffled, most=most) == sketch_of(numbers, most=most)


@given(st.lists(NUMBERS, min_size=1), st.lists(NUMBERS, min_size=1), st.integers(2, 6) | st.just(MANY))
def test_merging_gives_the_sketch_of_all_numbers(some: list[float], others: list[float], most: int) -> None:
    one, other = sketch_of(some, most=most), sketch_of(others, quantiles="0.9", most=most)
    before = deepcopy((one, other))
    assert merged(one, other, most) == sketch_of(some + others, most=most)
    assert (one, other) == before


def test_sketches_of_different_buckets_are_not_merged() -> None:
    with pytest.raises(ValueError, match=r"accuracies 0\.01 and 0\.1 .*merge sketches of one accuracy"):
        merged(sketch_of([1.0]), sketch_of([1.0], accuracy=0.1), MANY)


@given(st.floats(-sys.float_info.min, sys.float_info.min, exclude_min=True, exclude_max=True))
def test_what_is_no_normal_double_counts_as_zero(number: float) -> None:
    sketch = sketch_of([number])
    assert sketch == sketch_of([0.0])
    assert math.copysign(1, sketch["min"]) == math.copysign(1, sketch["max"]) == 1


@given(st.lists(NUMBERS, min_size=1))
def test_the_least_and_the_greatest_number_are_exact(numbers: list[float]) -> None:
    least, greatest = estimates(sketch_of(numbers, quantiles="0,1", most=2))
    assert least.value == least.low == least.high == min(numbers)
    assert greatest.value == greatest.low == greatest.high == max(numbers)
