"""Absent keys are told of, and those that are back."""

import json
from typing import Any

from framework_absent import Absent
from hypothesis import given
from hypothesis import strategies as st

from framework import Record
from framework.testing import ProcessorConformance, check_processor, run_processor

TO: dict[str, Any] = {"output": "absent", "after": "10s"}


def records(*rows: tuple[str | None, int]) -> list[Record]:
    return [Record("seen", 0, offset, seconds * 1000, key, b"") for offset, (key, seconds) in enumerate(rows)]


def told(given: list[Record], options: dict[str, Any] = TO, **others: Any) -> list[tuple[Any, bool, str]]:
    outputs = run_processor(Absent, given, options=options, **others).outputs
    messages = [json.loads(output.value or b"") for output in outputs]
    return [(message["key"], message["absent"], message["since"][-6:-1]) for message in messages]


def test_a_silent_key_is_absent_until_its_next_record() -> None:
    given = records(("a", 1), ("b", 2), ("b", 10), ("b", 11), ("a", 30), ("b", 31))
    assert told(given) == [("a", True, "00:01"), ("a", False, "00:30"), ("b", True, "00:11"), ("b", False, "00:31")]


def test_a_record_out_of_order_does_not_shorten_the_time() -> None:
    assert told(records(("a", 8), ("a", 3), ("b", 17)), out_of_order=20_000) == []
    assert told(records(("a", 8), ("a", 3), ("b", 18)), until=38_000, out_of_order=20_000) == [
        ("a", True, "00:08"),
    ]


def test_a_partition_without_records_has_absent_keys_too() -> None:
    assert told(records((None, 1), ("b", 2)), idle={0: 11_000}) == [(None, True, "00:01")]


def test_a_key_that_is_forgotten_is_new_when_it_comes_back() -> None:
    given = records(("a", 1), ("b", 11), ("b", 61), ("a", 62))
    assert told(given, {**TO, "forget": "50s"})[:1] == [("a", True, "00:01")]
    assert ("a", False, "01:02") in told(given)
    assert ("a", False, "01:02") not in told(given, {**TO, "forget": "50s"})


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 90)), min_size=1, max_size=30))
def test_it_keeps_the_contract(rows: list[tuple[str | None, int]]) -> None:
    for forget in (None, "30s"):
        check_processor(Absent, records(*rows), {**TO, "forget": forget}, until=120_000, out_of_order=5000)


class TestContract(ProcessorConformance):
    processor = Absent
    options = {"output": "quiet", "after": "5s", "forget": "60s"}
    records = [Record("t", 0, at, at * 2000, "abca"[at % 4], b"") for at in range(40)]
    until = 120_000
