"""The kinds of windows: texts, ticks, and values that cannot be used."""

from datetime import timedelta
from typing import Any

import pytest

from framework import Duration, UsageError
from framework.windows import Hopping, Session, Sliding, Tumbling, Windows

MINUTE = 60_000


@pytest.mark.parametrize(
    ("windows", "text", "tick"),
    [
        (Tumbling("1m"), "tumbling windows of 1m", MINUTE),
        (Tumbling(timedelta(minutes=1), grace="10s"), "tumbling windows of 1m", 10_000),
        (Tumbling(Duration("1m"), early="45s"), "tumbling windows of 1m", 15_000),
        (Tumbling("1m", grace="1ms"), "tumbling windows of 1m", 1000),
        (Tumbling("100ms"), "tumbling windows of 100ms", 100),
        (Tumbling("1w", origin="2013-01-07"), "tumbling windows of 1w from 2013-01-07T00:00:00Z", 86_400_000),
        (Tumbling("1d", timezone="Asia/Tokyo"), "tumbling windows of 1d in Asia/Tokyo", 15 * MINUTE),
        (
            Tumbling("1w", timezone="Asia/Tokyo", origin="2013-01-07"),
            "tumbling windows of 1w in Asia/Tokyo from 2013-01-07",
            15 * MINUTE,
        ),
        (Hopping("5m", "1m"), "hopping windows of 5m every 1m", MINUTE),
        (Session("30m"), "session windows with a gap of 30m", 1000),
        (Session("30ms"), "session windows with a gap of 30ms", 30),
        (Sliding("10s"), "sliding windows of 10s", 1000),
    ],
)
def test_each_has_a_text_and_a_tick(windows: Windows, text: str, tick: int) -> None:
    assert (str(windows), windows.tick) == (text, tick)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Tumbling, {"size": "0s"}, "the size of windows must be longer than 0"),
        (Tumbling, {"size": 60}, "the size of windows: 60 has no unit"),
        (Tumbling, {"size": "soon"}, "the size of windows: 'soon' is not a duration"),
        (Tumbling, {"size": None}, "the size of windows"),
        (Tumbling, {"size": "1m", "grace": "-1s"}, "the grace of windows"),
        (Tumbling, {"size": "1m", "keep": "0s"}, "the keep of windows must be longer than 0"),
        (Tumbling, {"size": "1m", "emit": "never"}, "not on 'never'"),
        (Tumbling, {"size": "1m", "emit": "update", "early": "1s"}, "leave early out"),
        (Tumbling, {"size": "1h", "timezone": "Asia/Tokyo"}, "whole days, not 1h"),
        (Hopping, {"size": "2d", "every": "1h", "timezone": "Asia/Tokyo"}, "whole days, not 2d every 1h"),
        (Tumbling, {"size": "1d", "timezone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
        (Tumbling, {"size": "1d", "origin": "soon"}, "the origin of windows: 'soon' is no time"),
        (Hopping, {"size": "1m", "every": "2m"}, "every must not be longer than size"),
        (Hopping, {"size": "1m", "every": "0s"}, "the every of windows must be longer than 0"),
        (Session, {"gap": "0s"}, "the gap of windows must be longer than 0"),
        (Sliding, {"size": "1m", "keep": "1d"}, "sliding windows have neither keep nor early"),
    ],
)
def test_values_that_cannot_be_used_are_told(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**arguments)
