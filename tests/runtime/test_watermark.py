"""The watermark: its steps, and that they do not depend on how records are split."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import NO_EVENT_TIME
from framework.runtime.watermark import Watermark, WatermarkRule


def test_it_is_the_highest_event_time_less_the_bound_in_whole_ticks() -> None:
    watermark = Watermark(WatermarkRule(tick=1000, out_of_order=500))
    assert watermark.time == NO_EVENT_TIME
    assert watermark.steps([1499, 1500, 900, 2499, 2500, 5600]) == [(1, 0), (2, 1000), (5, 2000), (6, 5000)]


def test_the_first_record_makes_a_step_also_before_1970() -> None:
    watermark = Watermark(WatermarkRule(tick=1000, out_of_order=0))
    assert watermark.steps([-1]) == [(1, -1000)]


def test_steps_change_nothing_and_advance_never_goes_back() -> None:
    watermark = Watermark(WatermarkRule(tick=10, out_of_order=0))
    assert watermark.steps([25]) == watermark.steps([25]) == [(1, 20)]
    watermark.advance(20)
    watermark.advance(10)
    assert watermark.time == 20
    assert watermark.steps([29, 5]) == []
    assert watermark.steps([]) == []


@given(
    st.lists(st.integers(0, 400), max_size=60),
    st.integers(1, 30),
    st.integers(0, 50),
    st.lists(st.integers(1, 20), min_size=1),
)
def test_the_steps_are_the_same_for_every_split(times: list[int], tick: int, bound: int, sizes: list[int]) -> None:
    rule = WatermarkRule(tick, bound)
    expected, highest = [], NO_EVENT_TIME
    for position, time in enumerate(times, 1):
        after = (time - bound) // tick * tick
        if after > highest:
            highest = after
            expected.append((position, highest))
    watermark, got, begin = Watermark(rule), [], 0
    for number in range(len(times)):
        size = sizes[number % len(sizes)]
        for stop, time in watermark.steps(times[begin : begin + size]):
            watermark.advance(time)
            got.append((begin + stop, time))
        begin += size
    assert got == expected
    assert Watermark(rule).steps(times) == expected


@pytest.mark.parametrize("column", [range(5, 50), (5, 7, 49), memoryview(b"abc")])
def test_every_sequence_will_do(column: Any) -> None:
    assert Watermark(WatermarkRule(10, 0)).steps(column)[-1][1] == max(column) // 10 * 10
