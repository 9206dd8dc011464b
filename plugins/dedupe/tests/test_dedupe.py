"""The first record of each id is passed on, once within the time."""

from typing import Any

import pytest
from framework_dedupe import Dedupe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from framework import Record, RecordError
from framework.testing import ProcessorConformance, check_processor, run_processor

TO: dict[str, Any] = {"output": "first", "within": "10s"}


def records(*rows: tuple[str | None, int, bytes | None]) -> list[Record]:
    return [Record("ids", 0, offset, time, key, value) for offset, (key, time, value) in enumerate(rows)]


def passed_on(given: list[Record], **options: Any) -> list[bytes | None]:
    return [output.value for output in run_processor(Dedupe, given, options=TO | options).outputs]


def test_the_first_record_of_each_key_is_passed_on_again_after_the_time() -> None:
    given = records(("a", 0, b"1"), ("a", 9_999, b"2"), ("b", 9_999, b"3"), ("a", 10_000, b"4"), ("a", 19_999, b"5"))
    assert passed_on(given) == [b"1", b"3", b"4"]


def test_a_repeat_does_not_lengthen_the_time() -> None:
    assert passed_on(records(*[("a", time * 4000, b"%d" % time) for time in range(6)])) == [b"0", b"3"]


def test_it_goes_on_as_it_came_without_the_headers_of_an_earlier_run() -> None:
    given = records(("a", 0, b"\xff"))[0]._replace(headers=(("trace", b"7"), ("framework-source-offset", b"1")))
    [output] = run_processor(Dedupe, [given], options=TO).outputs
    assert (output.topic, output.key, output.value, output.headers[0]) == ("first", b"a", b"\xff", ("trace", b"7"))
    assert [name for name, _ in output.headers].count("framework-source-offset") == 1


def test_the_id_may_be_a_field() -> None:
    values = (b'{"order":{"id":7}}', b'{"order":{"id":7},"again":1}', b'{"order":{"id":"7"}}')
    assert passed_on(records(*[(None, 0, value) for value in values]), id="order.id") == [values[0], values[2]]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "the value is null, so it has no field id"),
        (b"{}", "the value has no field id in JSON"),
        (b"nothing", "the value has no field id in JSON"),
        (b'{"id":null}', "the field id is None, which is no id"),
        (b'{"id":[1]}', "which is no id; an id is text or a number"),
    ],
)
def test_a_record_without_an_id_is_refused(value: bytes | None, told: str) -> None:
    with pytest.raises(RecordError, match=told):
        passed_on(records(("a", 0, value)), id="id")
    result = run_processor(
        Dedupe, records(("a", 0, value), ("b", 0, b'{"id":1}')), options=TO | {"id": "id"}, batches=2, on_error="skip"
    )
    assert (list(result.failed), len(result.outputs)) == ([0], 1)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="is not a path of fields"):
        Dedupe.Options(output="first", id="a..b")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 60_000)), min_size=1, max_size=30))
def test_it_keeps_the_contract(rows: list[tuple[str | None, int]]) -> None:
    given = records(*[(key, time, b"%d" % number) for number, (key, time) in enumerate(rows)])
    check_processor(Dedupe, given, options=TO, until=100_000)


class TestContract(ProcessorConformance):
    processor = Dedupe
    options = {"output": "unique", "within": "10s"}
    records = [Record("t", 0, at, at * 1000, "abcab"[at % 5], b"") for at in range(40)]
