"""Durations as users write them."""

import re
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from framework import Duration, Options
from framework.durations import duration_text, parse_duration
from framework.options.descriptions import describe_options


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("500ms", 500),
        ("1s", 1000),
        ("1.5s", 1500),
        ("2m", 120_000),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
        ("0s", 0),
        (timedelta(minutes=1), 60_000),
        (timedelta(milliseconds=1), 1),
    ],
)
def test_a_duration_is_read_as_milliseconds(text: Any, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "-1s", "1s2", "5 minutes", "1e3s", "٣s", "nans"])
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number with its unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0.5ms", "not a whole number of milliseconds"),
        (timedelta(microseconds=1), "not a whole number of milliseconds"),
        (timedelta(seconds=-1), "not between 0 and 10,000 years"),
        ("9999999w", "not between 0 and 10,000 years"),
        (timedelta.max, "not a whole number|not between 0"),
    ],
)
def test_a_duration_out_of_range_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_duration(value)


@given(st.integers(0, 10_000 * 365 * 86_400_000))
def test_a_duration_can_be_written_and_read_again(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds)) == milliseconds
    assert parse_duration(timedelta(milliseconds=milliseconds)) == milliseconds


class _Options(Options):
    after: Duration = Field(Duration("5m"), description="How long.")


def test_an_option_is_a_number_of_milliseconds_also_by_default() -> None:
    assert _Options.model_validate({}).after == 300_000
    assert _Options.model_validate({"after": "1s"}).after == 1000
    assert _Options.model_validate({"after": timedelta(hours=1)}).after == 3_600_000


@pytest.mark.parametrize("value", [300, 1.5, None, True, "300"], ids=repr)
def test_an_option_without_a_unit_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="a number with its unit"):
        _Options.model_validate({"after": value})


def test_a_default_may_be_a_text_at_run_time() -> None:
    namespace = {"__annotations__": {"after": Duration}, "after": "1m", "__module__": __name__}
    assert type("Text", (Options,), namespace)().after == 60_000


def test_it_is_shown_as_it_is_written_and_copied_as_it_is() -> None:
    duration = Duration("90s")
    assert (str(duration), repr(duration), duration + 1) == ("1m30s", "Duration('1m30s')", 90_001)
    assert deepcopy(duration) == duration
    assert _Options.model_validate(_Options(after=duration).model_dump()).after == duration
    assert _Options.model_validate({}).model_dump_json() == '{"after":"5m"}'
    with pytest.raises(ValueError, match="not between 0 and 10,000 years"):
        Duration(-1)


def test_its_json_schema_fits_what_users_write() -> None:
    schema = TypeAdapter(Duration).json_schema()
    assert schema["type"] == "string"
    for text in (*schema["examples"], " 1.5h 3 ms "):
        parse_duration(text)
        assert re.search(schema["pattern"], text)
    for text in ("", "5", "m", "5m,"):
        assert not re.search(schema["pattern"], text)


def test_plugins_info_tells_it() -> None:
    assert str(describe_options(_Options)[0]) == "after (duration, default 5m)"
