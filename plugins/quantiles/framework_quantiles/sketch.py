"""DDSketch: a sketch of numbers that gives their quantiles with a bounded relative error.

Source: Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees",
PVLDB 12(12), 2019, section 2. A sketch is a dict of plain values, so each codec keeps it exactly. It draws nothing at
random: it depends only on the numbers, and not on their order.
"""

import math
import sys
from bisect import bisect_right
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from fractions import Fraction
from itertools import accumulate
from typing import Final, NamedTuple, TypedDict

__all__ = ["Estimate", "Scale", "Sketch", "add", "estimates", "merged", "new_sketch"]

_LEAST: Final = sys.float_info.min
_LOG_LEAST: Final = math.log(_LEAST)
_LOG_MOST: Final = math.log(sys.float_info.max)

_DIGITS: Final = 6
_NEAREST: Final = Context(prec=_DIGITS)
_DOWN: Final = Context(prec=_DIGITS, rounding=ROUND_FLOOR)
_UP: Final = Context(prec=_DIGITS, rounding=ROUND_CEILING)


class Sketch(TypedDict):
    """The numbers of one key."""

    accuracy: float
    quantiles: str
    """The quantiles to show, with commas between them: `0.5,0.95`."""
    min: float
    max: float
    buckets: dict[int, int]
    """How many numbers are in a bucket of the scale."""


class Estimate(NamedTuple):
    """A quantile: `value`, and the bounds between which the exact one is."""

    quantile: float
    value: float
    low: float
    high: float


class Scale:
    """The buckets in which numbers are counted.

    Bucket 0 has zero. The bounds of buckets 1, 2, 3, … grow by the factor (1 + accuracy) / (1 - accuracy), from the
    least normal double on. Buckets -1, -2, -3, … have the negative numbers in the same way. So a greater number is
    never in a lower bucket.
    """

    def __init__(self, accuracy: float) -> None:
        """`accuracy`: the relative error of `middle_of`, between 0 and 1."""
        self._accuracy = accuracy
        self._width = math.log1p(2 * accuracy / (1 - accuracy))

    def bucket_of(self, number: float) -> int:
        """`number`: finite, and zero or a normal double."""
        if not number:
            return 0
        bucket = max(1, math.ceil((math.log(abs(number)) - _LOG_LEAST) / self._width))
        return bucket if number > 0 else -bucket

    def bounds_of(self, bucket: int) -> tuple[float, float]:
        """The least and the greatest number of a bucket, up to the rounding of doubles."""
        if bucket < 0:
            low, high = self.bounds_of(-bucket)
            return -high, -low
        return (self._edge(bucket - 1), self._edge(bucket)) if bucket else (0.0, 0.0)

    def middle_of(self, bucket: int) -> float:
        """The number whose relative distance to each number of the bucket is `accuracy` at the most."""
        if bucket < 0:
            return -self.middle_of(-bucket)
        low, high = self.bounds_of(bucket)
        return min(low * (1 + self._accuracy), high)  # the last bucket ends with the doubles

    def _edge(self, bucket: int) -> float:
        return math.exp(min(_LOG_LEAST + bucket * self._width, _LOG_MOST))


def new_sketch(accuracy: float, quantiles: str) -> Sketch:
    """A sketch of no numbers."""
    return {"accuracy": accuracy, "quantiles": quantiles, "min": math.inf, "max": -math.inf, "buckets": {}}


def add(sketch: Sketch, number: float, scale: Scale, most: int) -> None:
    """Count one more number. `scale`: that of the sketch's accuracy. `most`: how many buckets are kept."""
    if abs(number) < _LEAST:
        number = 0.0
    bucket, buckets = scale.bucket_of(number), sketch["buckets"]
    buckets[bucket] = buckets.get(bucket, 0) + 1
    _collapse(buckets, most)
    sketch["min"] = min(sketch["min"], number)
    sketch["max"] = max(sketch["max"], number)


def merged(one: Sketch, other: Sketch, most: int) -> Sketch:
    """The sketch of the numbers of both, as if one sketch had got them all.

    It shows the quantiles of `one`. Raises `ValueError` if their accuracies differ.
    """
    if one["accuracy"] != other["accuracy"]:
        raise ValueError(
            f"sketches with the accuracies {one['accuracy']} and {other['accuracy']} have different buckets; merge "
            "sketches of one accuracy"
        )
    buckets = dict(one["buckets"])
    for bucket, count in other["buckets"].items():
        buckets[bucket] = buckets.get(bucket, 0) + count
    _collapse(buckets, most)
    return {
        "accuracy": one["accuracy"],
        "quantiles": one["quantiles"],
        "min": min(one["min"], other["min"]),
        "max": max(one["max"], other["max"]),
        "buckets": buckets,
    }


def _collapse(buckets: dict[int, int], most: int) -> None:
    """Put the numbers of the lowest buckets into the next one, so that `most` buckets are left."""
    if len(buckets) > most:
        lowest = sorted(buckets)[: len(buckets) - most + 1]
        kept = lowest.pop()
        buckets[kept] += sum(map(buckets.pop, lowest))


def estimates(sketch: Sketch) -> Iterator[Estimate]:
    """The quantiles of a sketch of one number or more.

    Quantile q of n numbers is the number with rank floor(q * (n - 1)), counted from 0, when they are sorted. The least
    and the greatest number are exact. The others are rounded to six digits, and their bounds outwards.
    """
    buckets = sorted(sketch["buckets"])
    ends = list(accumulate(sketch["buckets"][bucket] for bucket in buckets))
    last = ends[-1] - 1
    for text in sketch["quantiles"].split(","):
        rank = math.floor(Fraction(text) * last)
        if rank in (0, last):
            exact = sketch["max"] if rank else sketch["min"]
            yield Estimate(float(text), exact, exact, exact)
        else:
            yield Estimate(float(text), *_estimate(sketch, buckets[bisect_right(ends, rank)]))


def _estimate(sketch: Sketch, bucket: int) -> tuple[float, float, float]:
    """An estimate of a number in that bucket, and its bounds."""
    scale, least, greatest = Scale(sketch["accuracy"]), sketch["min"], sketch["max"]
    low, high = scale.bounds_of(bucket)
    if bucket == min(sketch["buckets"]):
        low = least  # the numbers of lower buckets may be in it
    rounded = _rounded(scale.middle_of(bucket), _NEAREST), _rounded(low, _DOWN), _rounded(high, _UP)
    value, low, high = (min(max(number, least), greatest) for number in rounded)
    return value, low, high


def _rounded(number: float, context: Context) -> float:
    return float(context.create_decimal_from_float(number))
