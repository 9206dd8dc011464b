"""Times in fields, and times in messages."""

import importlib.util
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import event_time
from framework.event_time import EARLIEST, LATEST, event_time_of, time_text

MOMENT = 1_357_034_400_000
"""2013-01-01T10:00:00Z."""


@pytest.mark.parametrize(
    "value",
    [
        "2013-01-01T10:00:00Z",
        "2013-01-01 10:00:00",
        "2013-01-01T05:00:00-05:00",
        "2013-01-01T10:00:00.000000",
        "20130101T100000Z",
        1_357_034_400,
        1_357_034_400.0,
        Decimal(1_357_034_400),
        "1357034400",
        1_357_034_400_000,
        "1357034400000",
        datetime(2013, 1, 1, 10, tzinfo=UTC),
        datetime(2013, 1, 1, 10),
        datetime(2013, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=repr,
)
def test_a_time_is_read_as_milliseconds(value: Any) -> None:
    assert event_time_of(value) == MOMENT


def test_parts_of_a_second_and_dates_are_read() -> None:
    assert event_time_of("2013-01-01T10:00:00.123456Z") == MOMENT + 123
    assert event_time_of(1_357_034_400.5) == MOMENT + 500
    assert event_time_of("1969-12-31T23:59:59.999Z") == -1
    assert event_time_of(date(2013, 1, 1)) == event_time_of("2013-01-01") == MOMENT - 10 * 3_600_000


@pytest.mark.parametrize(
    "value",
    [None, True, False, "", "NA", "yesterday", -1, "-5", float("nan"), float("inf"), "inf", "NaN", Decimal("sNaN"),
     [], {}, b"2013-01-01", "25:00", "2013-02-30"],
    ids=repr,
)  # fmt: skip
def test_a_value_that_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no time"):
        event_time_of(value)


@pytest.mark.parametrize(
    "value", [1_357_034_400_000_000, 10**18, 10**400, 1e300, "9" * 400, "1" * 10_000, "1e999999999"]
)
def test_a_number_that_is_too_large_gets_a_hint(value: Any) -> None:
    with pytest.raises(ValueError, match="beyond the years 1 to 9999 in milliseconds; it may count microseconds"):
        event_time_of(value)


@given(st.integers(EARLIEST, LATEST))
def test_a_time_that_is_shown_can_be_read_again(time: int) -> None:
    assert event_time_of(time_text(time)) == time


def test_a_zone_does_not_lead_out_of_the_calendar() -> None:
    with pytest.raises(ValueError, match="beyond the years 1 to 9999"):
        event_time_of("0001-01-01T00:00:00+14:00")


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    assert time_text(LATEST) == "9999-12-31T23:59:59.999Z"
    assert time_text(LATEST + 1) == f"{LATEST + 1} ms"


# ---- the two ways to find the earliest and the latest time

speedups = importlib.util.find_spec("framework_speedups")


def test_the_extent_is_found_in_c_wherever_that_is_installed() -> None:
    assert (event_time.extent is event_time.plain_extent) == (speedups is None)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers() | st.booleans(), min_size=1, max_size=8),
    st.sampled_from([list, tuple]),
)
def test_the_extent_is_that_of_min_and_max(times: list[int], kind: type[Any]) -> None:
    assert event_time.extent(kind(times)) == (min(times), max(times))


def test_nothing_has_no_extent() -> None:
    with pytest.raises(ValueError, match="empty"):
        event_time.extent([])
