"""Crossings of the bounds are told as a plain model tells them."""

import json
from collections import defaultdict
from typing import Any

import pytest
from framework_threshold import Threshold
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import ProcessorConformance, check_processor, run_processor

COUNTS: dict[str, Any] = {"output": "alerts", "size": "10s", "above": 3, "below": 2}
SUMS: dict[str, Any] = COUNTS | {"value": "x", "above": "7.5", "below": "2.5"}
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 90), st.integers(-3, 6)), max_size=40)
Told = tuple[Any, bool, float, int]
"""Key, whether it is above, the value, and the number of the window."""


def records(rows: list[tuple[Any, int, int]]) -> list[Record]:
    return [
        Record("t", 0, offset, seconds * 1000, key, {"x": number}) for offset, (key, seconds, number) in enumerate(rows)
    ]


def told(rows: list[tuple[Any, int, int]], options: dict[str, Any], until: int = 200_000) -> list[Told]:
    result = run_processor(Threshold, records(rows), options=options, batches=4, until=until)
    found = []
    for output in result.outputs:
        message = json.loads(output.value or b"")
        number = int(message["start"][14:16]) * 6 + int(message["start"][17:19]) // 10
        found.append((message["key"], message["above"], float(message["value"]), number))
    return found


def modelled(rows: list[tuple[Any, int, int]], above: float, below: float, *, sums: bool) -> list[Told]:
    values: dict[Any, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for key, seconds, number in rows:
        values[key][seconds // 10] += number if sums else 1
    found: list[Told] = []
    for key, windows in values.items():
        is_above = False
        for number in range(11):
            if number in windows or is_above:
                value = windows.get(number, 0.0)
                if (value < below) if is_above else (value >= above):
                    is_above = not is_above
                    found.append((key, is_above, value, number))
    return found


@given(ROWS)
def test_crossings_are_those_of_a_plain_model(rows: list[tuple[Any, int, int]]) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    assert sorted(told(rows, COUNTS), key=repr) == sorted(modelled(rows, 3, 2, sums=False), key=repr)
    assert sorted(told(rows, SUMS), key=repr) == sorted(modelled(rows, 7.5, 2.5, sums=True), key=repr)


@given(ROWS.filter(bool))
def test_it_keeps_the_contract(rows: list[tuple[Any, int, int]]) -> None:
    for options in (COUNTS, SUMS):
        check_processor(Threshold, records(rows), options, until=200_000, out_of_order=15_000)


def test_a_key_that_falls_silent_is_below() -> None:
    rows = [("a", second, 1) for second in range(5)]
    assert told([*rows, ("b", 45, 1)], COUNTS, until=0) == [("a", True, 5.0, 0), ("a", False, 0.0, 1)]


def test_the_state_shows_the_keys_that_are_above() -> None:
    rows = [("a", second, 1) for second in range(5)]
    state = run_processor(Threshold, records([*rows, ("b", 10, 1)]), options=COUNTS).state
    assert list(Threshold.entries(state)) == [{"key": "a", "value": 5, "since": "1970-01-01T00:00:00Z"}]


def test_a_record_without_the_number_is_refused() -> None:
    with pytest.raises(RecordError, match="the value has no field x"):
        run_processor(Threshold, [("a", {})], options=SUMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"above": 3, "below": 4}, "0 < below <= above is needed"),
        ({"above": 3, "below": 0}, "0 < below <= above is needed"),
        ({"above": "NaN"}, "above"),
        ({"size": "0s"}, "must be longer than 0"),
        ({"value": "a..b"}, "is not a path of fields"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Threshold.Options(**COUNTS | options)


class TestContract(ProcessorConformance):
    processor = Threshold
    options = {"output": "alarms", "above": 3, "size": "10s"}
    records = [Record("t", 0, at, at * 1500, "aab"[at % 3], b"") for at in range(40)]
    until = 120_000
