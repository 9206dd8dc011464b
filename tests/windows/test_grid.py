"""Grids, against plain definitions: of every time, the windows that contain it and no others."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import UsageError
from framework.event_time import EARLIEST, LATEST
from framework.windows.grid import DayGrid, EvenGrid

DAY = 86_400_000
ZONES = sorted(available_timezones())
TIMES = st.integers(-3_000_000_000_000, 4_000_000_000_000)


@given(time=st.integers(-500, 500), size=st.integers(1, 60), share=st.integers(1, 60), origin=st.integers(-90, 90))
def test_even_windows_contain_the_time_and_begin_at_regular_times(time, size, share, origin):
    every = min(size, share)
    grid = EvenGrid(size, every, origin)
    starts = [
        start for start in range(origin - 2000 * every, origin + 2000 * every, every) if start <= time < start + size
    ]
    assert grid.spans(time) == [(start, start + size) for start in starts]


@given(zone=st.sampled_from(ZONES), time=TIMES)
def test_each_moment_of_each_zone_is_in_one_day(zone, time):
    [(start, end)] = DayGrid.of(1, 1, zone, "1970-01-01").spans(time)
    assert start <= time < end
    first, last = (datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)) for at in (start, end - 1))
    assert first.date() == last.date() == datetime.fromtimestamp(time / 1000, UTC).astimezone(ZoneInfo(zone)).date()


@given(zone=st.sampled_from(ZONES), time=TIMES, days=st.integers(1, 9), share=st.integers(1, 9))
def test_windows_of_days_hold_the_days_that_they_begin_with(zone, time, days, share):
    every, origin = min(days, share), date(2013, 1, 7)
    spans = DayGrid.of(days, every, zone, "2013-01-07").spans(time)
    assert -(-days // every) >= len(spans) >= days // every
    today = datetime.fromtimestamp(time / 1000, UTC).astimezone(ZoneInfo(zone)).date()
    firsts = [
        day
        for day in (today - timedelta(days=back) for back in range(days - 1, -1, -1))
        if (day - origin).days % every == 0
    ]
    assert [start for start, _ in spans] == [
        DayGrid.of(1, 1, zone, "1970-01-01").spans(_noon(day, zone))[0][0] for day in firsts
    ]


def _noon(day: date, zone: str) -> int:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone))
    return int((noon - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


@pytest.mark.parametrize(
    ("day", "hours"), [("2013-03-10T12:00-04:00", 23), ("2013-11-03T12:00-05:00", 25), ("2013-06-01T12:00-04:00", 24)]
)
def test_a_day_on_which_the_clock_changes_has_23_or_25_hours(day, hours):
    time = int(datetime.fromisoformat(day).timestamp() * 1000)
    [(start, end)] = DayGrid.of(1, 1, "America/New_York", "1970-01-01").spans(time)
    assert end - start == hours * 3_600_000


@pytest.mark.parametrize("time", [EARLIEST, LATEST])
@pytest.mark.parametrize("grid", [EvenGrid(7 * DAY, DAY, 0), DayGrid.of(7, 1, "Asia/Tokyo", "1970-01-01")])
def test_windows_beyond_the_calendar_are_told(grid, time):
    with pytest.raises(ValueError, match="beyond the years 1 to 9999"):
        grid.spans(time)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "a\0b"])
def test_a_zone_that_is_not_there_is_told(zone):
    with pytest.raises(UsageError, match="there is no time zone"):
        DayGrid.of(1, 1, zone, "1970-01-01")


@pytest.mark.parametrize("origin", ["soon", "2013-02-30", "2013-01-01T10:00"])
def test_an_origin_that_is_no_date_is_told(origin):
    with pytest.raises(UsageError, match="the origin of windows in a time zone is a date"):
        DayGrid.of(1, 1, "UTC", origin)
