"""Windowed processors, against a model that looks at all records again after each one."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import NO_EVENT_TIME, PluginError, Record, TopicPartition
from framework.testing import check_processor, run_processor
from framework.testing.instance import Instance, Result, pieces, to_batch
from framework.windows import Hopping, Session, Sliding, Tumbling, Window, WindowedProcessor, Windows
from framework.windows.places import CHUNK, CHUNK_HEAD
from tests.windows.model import Model, Seen

FAR = 10_000_000


class Texts(WindowedProcessor):
    """Joins the values of each window, in the order in which they came."""

    api_version = 1
    seen: list[Seen]

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self.seen = []

    def start(self) -> list[int]:
        return []

    def add(self, accumulator: list[int], record: Record) -> list[int]:
        accumulator.append(record.value)
        return accumulator

    def merge(self, accumulator: list[int], other: list[int]) -> list[int]:
        return accumulator + other

    def result(self, accumulator: list[int]) -> list[int]:
        return sorted(accumulator)

    def emit(self, window: Window, value: list[int], out: Any) -> None:
        out.send("results", [*window, value], key=window.key)
        self.seen.append((window.key, window.start, window.end, window.is_final, value))


class Counts(WindowedProcessor):
    """Counts, also by batch."""

    api_version = 1

    def start(self) -> int:
        return 0

    def add(self, accumulator: int, record: Record) -> int:
        return accumulator + 1

    def merge(self, accumulator: int, other: int) -> int:
        return accumulator + other

    def add_batch(self, batch: Any, accumulators: Any, out: Any) -> None:
        accumulators.tally(batch.keys)

    def emit(self, window: Window, value: int, out: Any) -> None:
        out.send("results", [*window, value], key=window.key)


def of(processor: type[WindowedProcessor], windows: Windows) -> type[WindowedProcessor]:
    return type("Of", (processor,), {"windows": windows})


def made(stamps: Sequence[tuple[str, int]]) -> list[Record]:
    return [Record("t", 0, at, time, key, at) for at, (key, time) in enumerate(stamps)]


KINDS = st.one_of(
    st.builds(lambda size, grace: Tumbling(f"{size}ms", grace=f"{grace}ms"), st.integers(1, 40), st.integers(0, 30)),
    st.builds(
        lambda size, share, grace: Hopping(f"{size}ms", f"{min(size, share)}ms", grace=f"{grace}ms"),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(0, 30),
    ),
    st.builds(lambda gap, grace: Session(f"{gap}ms", grace=f"{grace}ms"), st.integers(1, 40), st.integers(0, 30)),
    st.builds(lambda size, grace: Sliding(f"{size}ms", grace=f"{grace}ms"), st.integers(1, 40), st.integers(0, 30)),
)
STAMPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200)), max_size=40)


def driven(
    processor: type[WindowedProcessor], records: list[Record], out_of_order: int, batches: int | None
) -> tuple[Result, list[Seen]]:
    batch = to_batch(records)
    with Instance(processor, TopicPartition("t", 0), out_of_order=out_of_order) as driver:
        for piece in pieces(batch, batches or 1):
            driver.apply(piece, fast=batches is not None, skip=True)
        driver.move(FAR)
        driver.fire(skip=True)
        seen: Any = driver.processor
        return driver.take_result(), seen.seen


@given(windows=KINDS, stamps=STAMPS, out_of_order=st.integers(0, 50), batches=st.sampled_from([None, 1, 3, 100]))
def test_each_window_closes_with_its_records_and_late_ones_are_told(windows, stamps, out_of_order, batches):
    model = Model(windows, sorted, out_of_order)
    records = made(stamps)
    for record in records:
        model.add(record)
    model.step(FAR)
    result, seen = driven(of(Texts, windows), records, out_of_order, batches)
    assert (sorted(result.late), result.failed) == (model.late, {})
    assert sorted(seen) == sorted(model.closed)
    assert (result.state, result.timers) == ({}, [])


@settings(max_examples=30)
@given(windows=KINDS, stamps=STAMPS.filter(bool), out_of_order=st.integers(0, 50))
def test_windows_keep_the_contract_of_processors(windows, stamps, out_of_order):
    check_processor(of(Texts, windows), made(stamps), until=FAR, out_of_order=out_of_order)


@given(kind=KINDS, stamps=STAMPS, out_of_order=st.integers(0, 50), batches=st.sampled_from([None, 1, 3, 100]))
def test_on_update_each_change_is_emitted_at_once(kind, stamps, out_of_order, batches):
    fields = {name: getattr(kind, name) for name in ("size", "every", "gap", "grace") if hasattr(kind, name)}
    windows = type(kind)(**fields, emit="update")
    model, records = Model(windows, sorted, out_of_order), made(stamps)
    for record in records:
        model.add(record)
    _, seen = driven(of(Texts, windows), records, out_of_order, batches)
    assert seen == model.updates


@given(kind=KINDS, stamps=STAMPS, sizes=st.sampled_from([1, 2, 5, 100]), early=st.sampled_from([None, "7ms", "30ms"]))
def test_batches_of_any_size_give_the_same(kind, stamps, sizes, early):
    fields = {name: getattr(kind, name) for name in ("size", "every", "gap", "grace") if hasattr(kind, name)}
    others = {} if isinstance(kind, Sliding) else {"keep": "20ms", "early": early}
    processor, records = of(Counts, type(kind)(**fields, **others)), made(stamps)
    one = run_processor(processor, records, on_error="skip", out_of_order=10)
    other = run_processor(processor, records, on_error="skip", out_of_order=10, batches=sizes)
    assert one.state == other.state
    assert [*one.failed] == [*other.failed]
    assert [output.value for output in one.outputs] == [output.value for output in other.outputs]
    assert one.timers == other.timers


# ---- one window at a time


def shown(processor: type[WindowedProcessor], result: Result) -> list[dict[str, Any]]:
    return [dict(entry) for entry in processor.entries(result.state)]


def test_open_and_kept_windows_are_shown_with_their_times():
    processor = of(Counts, Tumbling("1s", keep="5s"))
    records = made([("a", 0), ("b", 500), ("a", 900), ("a", 1500)])
    result = run_processor(processor, records)
    assert shown(processor, result) == [
        {"key": "a", "start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:01Z", "value": 2, "open": False},
        {"key": "b", "start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:01Z", "value": 1, "open": False},
        {"key": "a", "start": "1970-01-01T00:00:01Z", "end": "1970-01-01T00:00:02Z", "value": 1, "open": True},
    ]
    assert shown(processor, run_processor(processor, records, until=6_000))[0]["start"] == "1970-01-01T00:00:01Z"
    assert run_processor(processor, records, until=7_000).state == {}


def test_open_and_kept_sessions_are_shown_with_their_times():
    processor = of(Counts, Session("1s", keep="5s"))
    result = run_processor(processor, made([("a", 0), ("a", 900), ("a", 4000)]))
    assert shown(processor, result) == [
        {"key": "a", "start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:00:01.900Z", "value": 2, "open": False},
        {"key": "a", "start": "1970-01-01T00:00:04Z", "end": "1970-01-01T00:00:05Z", "value": 1, "open": True},
    ]


def test_records_exactly_one_gap_apart_are_in_two_sessions():
    processor = of(Counts, Session("1s"))
    for second, values in ((999, [2]), (1000, [1, 1])):
        outputs = run_processor(processor, made([("a", 0), ("a", second)]), until=FAR, out_of_order=5000).outputs
        assert [int(output.value.rpartition(b",")[2][:-1]) for output in outputs if output.value] == values


def test_early_results_come_at_multiples_until_the_window_closes():
    processor = of(Counts, Tumbling("10s", early="4s"))
    result = run_processor(processor, made([("a", 1000), ("a", 5000), ("a", 9000), ("a", 13_000)]), until=30_000)
    sent = [output.value.decode() for output in result.outputs if output.value]
    assert sent == [
        '["a",0,10000,false,2]',
        '["a",0,10000,false,3]',
        '["a",0,10000,true,3]',
        '["a",10000,20000,false,1]',
        '["a",10000,20000,false,1]',
        '["a",10000,20000,true,1]',
    ]


def test_a_window_of_many_keys_closes_in_chunks():
    processor = of(Counts, Tumbling("1s"))
    records = made([(str(number % 1500), 0) for number in range(3000)])
    open_windows = run_processor(processor, records, batches=700)
    chunks = [chunk for place, chunk in open_windows.state.items() if len(place) == 3]
    assert [len(chunk) - CHUNK_HEAD for chunk in chunks] == [512, 512, 1500 - 1024]
    assert len(open_windows.timers) == 3
    closed = run_processor(processor, records, batches=700, until=1000)
    assert (closed.state, len(closed.outputs)) == ({}, 1500)


class FailsOnB(Counts):
    def emit(self, window: Window, value: int, out: Any) -> None:
        super().emit(window, value, out)
        if window.key == "b":
            raise ArithmeticError("b cannot be emitted")


@pytest.mark.parametrize("keep", [None, "9s"])
def test_a_key_whose_result_cannot_be_emitted_does_not_hold_up_the_others(keep):
    processor = of(FailsOnB, Tumbling("1s", keep=keep))
    result = run_processor(processor, made([("a", 0), ("b", 1), ("c", 2)]), until=5000, on_error="skip")
    assert [output.key for output in result.outputs] == [b"a", b"c"]
    [(timer, error)] = result.failed_timers
    assert (timer.key, timer.name, timer.time, str(error)) == ((0, 0, "b"), "close", 1000, "b cannot be emitted")
    assert {entry["key"] for entry in shown(processor, result)} == ({"b"} if keep is None else {"a", "b", "c"})
    if keep is not None:
        assert run_processor(processor, made([("b", 1)]), until=20_000, on_error="skip").state == {}


@pytest.mark.parametrize("keep", [None, "9s"])
def test_a_session_that_cannot_be_emitted_does_not_hold_up_the_others(keep):
    processor = of(FailsOnB, Session("1s", keep=keep))
    rows = made([("a", 0), ("b", 1), ("c", 2), ("b", 1100), ("b", 50)])  # the last one lists b again
    result = run_processor(processor, rows, until=5000, on_error="skip", out_of_order=2000)
    assert [output.key for output in result.outputs] == [b"a", b"c"]
    assert [(timer.key[2], str(error)) for timer, error in result.failed_timers] == [("b", "b cannot be emitted")]
    assert {entry["key"] for entry in shown(processor, result)} == ({"b"} if keep is None else {"a", "b", "c"})


@pytest.mark.parametrize("keep", [None, "2s"])
def test_very_many_sessions_close_at_once_and_leave_nothing(keep):
    processor = of(Counts, Session("1s", keep=keep))
    rows = made([(f"key {number}", number % 7) for number in range(2 * CHUNK + 10)])
    result = run_processor(processor, rows, until=1007, batches=100, out_of_order=1000)
    assert len(shown(processor, result)) == len(rows)
    result = run_processor(processor, rows, until=10_000, batches=100, out_of_order=1000)
    assert (len(result.outputs), result.state, result.timers) == (len(rows), {}, [])


def test_with_stop_the_failing_key_is_raised():
    with pytest.raises(ArithmeticError, match="b cannot be emitted"):
        run_processor(of(FailsOnB, Tumbling("1s")), made([("a", 0), ("b", 1)]), until=5000)


# ---- declarations


def test_a_class_without_windows_is_told():
    with pytest.raises(PluginError, match="Counts declares no windows; set, for example"):
        run_processor(Counts, [("a", 1)])


@pytest.mark.parametrize("windows", [Session("1s"), Sliding("1s")])
def test_sessions_and_sliding_windows_need_merge(windows):
    class NoMerge(WindowedProcessor):
        api_version = 1

    with pytest.raises(PluginError, match="so it needs the method merge"):
        run_processor(of(NoMerge, windows), [("a", 1)])


def test_the_windows_are_the_definition_of_the_state():
    assert of(Counts, Tumbling("1m", grace="5s")).state_definition(None) == "tumbling windows of 1m"
    assert run_processor(of(Counts, Tumbling("1m")), []).event_time == NO_EVENT_TIME


class Stumbles(Counts):
    """Fails in `add_batch` on 1, after the key is known, and on 2, before that; `add` fails on 1."""

    def add_batch(self, batch: Any, accumulators: Any, out: Any) -> None:
        if 2 in batch.values:
            raise ValueError(2)
        accumulators.tally(batch.keys)
        if 1 in batch.values:
            raise ValueError(1)

    def add(self, accumulator: int, record: Record) -> int:
        if record.value == 1:
            raise ValueError(1)
        return accumulator + 1


def test_keys_whose_registration_was_undone_are_not_taken_for_known():
    records = [Record("t", 0, at, 0, key, value) for at, (key, value) in enumerate([("x", 1), ("y", 2), ("y", 0)])]
    result = run_processor(of(Stumbles, Tumbling("1s")), records, batches=1, on_error="skip")
    assert [(entry["key"], entry["value"]) for entry in Stumbles.entries(result.state)] == [("y", 2)]
