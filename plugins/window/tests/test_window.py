import json
from decimal import Decimal
from typing import Any

import pytest
from framework_window import WindowOptions, WindowTotals
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Duration, Record
from framework.testing import ProcessorConformance, Result, check_processor, run_processor

HOUR = 3_600_000


def made(*records: tuple[str, int, Any]) -> list[Record]:
    return [Record("t", 0, at, time, key, value) for at, (key, time, value) in enumerate(records)]


def run(records: list[Record], **options: Any) -> Result:
    until = options.pop("until", None)
    return run_processor(WindowTotals, records, options=options, on_error="skip", until=until)


def windows(result: Result) -> list[tuple[Any, ...]]:
    return [tuple(entry.values()) for entry in WindowTotals.entries(result.state)]


def test_records_are_counted_by_key_and_window() -> None:
    result = run(made(("a", 0, None), ("b", 10, None), ("a", 20, None), ("a", HOUR, None)), size="1h", keep="1d")
    assert windows(result) == [
        ("a", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z", 2, False),
        ("b", "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z", 1, False),
        ("a", "1970-01-01T01:00:00Z", "1970-01-01T02:00:00Z", 1, True),
    ]


def test_a_field_is_summed_exactly_also_from_text_and_what_is_no_number_is_refused() -> None:
    values = [{"n": Decimal("0.1")}, {"n": "0.20"}, {"n": "NA"}, {}, {"n": 3}]
    for batches in (None, 2, 100):
        records = made(*(("a", 0, value) for value in values))
        options = {"kind": "session", "gap": "1h", "value": "n", "keep": "1d"}
        result = run_processor(WindowTotals, records, options=options, on_error="skip", batches=batches)
        assert [entry[3] for entry in windows(result)] == [Decimal("3.30")]
        assert sorted(result.failed) == [2, 3]


@settings(max_examples=20)
@given(
    stamps=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9 * HOUR), st.integers(-9, 9)), min_size=1, max_size=30
    ),
    windows=st.sampled_from(
        [
            {"size": "1h"},
            {"kind": "hopping", "size": "2h", "every": "30m"},
            {"kind": "session", "gap": "20m"},
            {"size": "1h", "emit": "update"},
            {"size": "1h", "early": "10m"},
        ]
    ),
    value=st.sampled_from(["count", "n"]),
    until=st.sampled_from([None, 5 * HOUR, 20 * HOUR]),
)
def test_the_contract_of_processors_is_kept(stamps: Any, windows: Any, value: str, until: int | None) -> None:
    records = made(*((key, time, {"n": number}) for key, time, number in stamps))
    options = {"value": value, "number": "int", "grace": "15m", "keep": "1h", "output": "results"} | windows
    check_processor(WindowTotals, records, options, until=until, out_of_order=HOUR // 2)


def test_results_are_sent_with_their_window() -> None:
    records = made(("a", 0, b""), ("a", 20, b""), ("b", 90_000, b""))
    [output] = run(records, size="1m", output="results").outputs
    assert (output.topic, output.key, output.timestamp) == ("results", b"a", None)
    assert json.loads(output.value or b"") == {
        "key": "a",
        "start": "1970-01-01T00:00:00Z",
        "end": "1970-01-01T00:01:00Z",
        "value": 2,
    }


def test_updates_and_early_results_tell_whether_they_are_final() -> None:
    records = made(("a", 0, b""), ("a", 31_000, b""), ("b", 90_000, b""))
    for options, expected in (({"emit": "update"}, [(1, False), (2, False), (1, False)]), ({"early": "30s"}, [])):
        sent = [json.loads(output.value or b"") for output in run(records, size="1m", output="r", **options).outputs]
        found = [(each["value"], each["final"]) for each in sent]
        assert found == (expected or [(2, False), (2, True), (1, False)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "1d"}, "tumbling windows need size"),
        ({"keep": "1d", "kind": "hopping", "size": "1h"}, "hopping windows need every"),
        ({"keep": "1d", "size": "1h", "gap": "1h"}, "tumbling windows have no gap"),
        ({"keep": "1d", "kind": "session", "gap": "1h", "size": "1h"}, "session windows have no size"),
        ({"keep": "1d", "kind": "session", "gap": "1h", "timezone": "Asia/Tokyo"}, "neither timezone nor origin"),
        ({"size": "1h"}, "the results would be lost; set output=TOPIC to send them, or keep=7d to keep them"),
        ({"size": "1h", "keep": "1d", "early": "1m"}, "are about results that are sent"),
        ({"size": "0s", "keep": "1d"}, "the size of windows must be longer than 0"),
        ({"size": "1d", "keep": "1d", "timezone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
        ({"size": "1d", "keep": "1d", "value": ""}, "field"),
        ({"kind": "hopping", "size": "1h", "every": "2h", "keep": "1d"}, "every must not be longer than size"),
    ],
)
def test_options_that_cannot_be_used_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WindowOptions(**options)


def test_the_definition_of_the_state_names_the_value_and_the_windows() -> None:
    define = WindowTotals.state_definition
    assert define(WindowOptions(size=Duration("1d"), keep=Duration("7d"))) == "counts in tumbling windows of 1d"
    sums = WindowOptions(kind="session", gap=Duration("30m"), value="order.amount", output="r")
    assert define(sums) == "sums of field order.amount (decimal) in session windows with a gap of 30m"


class TestContract(ProcessorConformance):
    processor = WindowTotals
    options = {"size": "10s", "output": "totals"}
    records = [Record("t", 0, at, at * 1500, "aab"[at % 3], b"") for at in range(40)]
    until = 120_000
