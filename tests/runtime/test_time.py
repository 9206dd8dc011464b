"""Time in a task: timers fire as a plain model says, in any split, and after crashes at any pause."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import NO_EVENT_TIME, Processor, StateIncompatibleError, Timer, TopicPartition
from framework.codecs.json import JsonCodec
from framework.errors import RecordError
from framework.event_time import EventTimeChoice
from framework.policy import ErrorPolicy
from framework.runtime.counts import Counts
from framework.runtime.failures import Refusal, Retry
from framework.runtime.ports import LogEnd, LogRange
from framework.runtime.task import PartitionTask
from framework.stores import TIMERS_TABLE, StoredTable, StoredUnit
from tests.runtime.lives import Life, Row, batch_of
from tests.runtime.played import DESCRIPTION, PARTITION, UNIT, Clock, Played, make_task, running, until

TICK, BOUND = 10, 7


class OneByOne(Processor):
    """Sets a timer for each record. Some timers set another one, which is due at once or later."""

    api_version = 1
    value_format = "int"
    tick = "10ms"
    out_of_order = "7ms"

    def seen(self, key: str, timestamp: int, delay: int, state: Any) -> None:
        state[key] = [*state.get(key, []), [timestamp, self.event_time]]
        self.timers.set(key, timestamp + delay, name="xy"[delay % 2])
        if delay == 5:
            self.timers.delete("a", name="x")

    def process(self, record, state, out):
        self.seen(record.key, record.timestamp, record.value, state)

    def on_timer(self, timer, state, out):
        state["fired"] = [*state.get("fired", []), [timer.key, timer.name, timer.time, self.event_time]]
        out.send("out", [timer.key, timer.time])
        out.send("out", "second")
        if timer.time % 3 == 0:
            self.timers.set(timer.key, timer.time + timer.time % 2 * 30 + 1, name="again")


class InBatches(OneByOne):
    def process_batch(self, batch, state, out):
        for key, timestamp, delay in zip(batch.keys, batch.timestamps, batch.values, strict=True):
            self.seen(key, timestamp, delay, state)


def modelled(rows: list[Row]) -> tuple[dict[str, Any], dict[Any, int], int, list[Any]]:
    """State, timers, watermark and outputs of one undisturbed run, without the runtime's code."""
    state: dict[str, Any] = {}
    timers: dict[tuple[str, str], tuple[int, int]] = {}
    now, number, sent = NO_EVENT_TIME, 0, []
    for key, timestamp, delay in rows:
        state[key] = [*state.get(key, []), [timestamp, now]]
        number += 1
        timers[key, "xy"[delay % 2]] = (max(timestamp + delay, now + 1), number)
        if delay == 5:
            timers.pop(("a", "x"), None)
        now = max(now, (timestamp - BOUND) // TICK * TICK)
        while due := sorted((time, name, n, k) for (k, name), (time, n) in timers.items() if time <= now):
            time, name, _, k = due[0]
            del timers[k, name]
            state["fired"] = [*state.get("fired", []), [k, name, time, now]]
            sent += [[k, time], "second"]
            if time % 3 == 0:
                number += 1
                timers[k, "again"] = (max(time + time % 2 * 30 + 1, now + 1), number)
    return state, {name: time for name, (time, _) in timers.items()}, now, sent


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120), st.integers(0, 40)), max_size=25)


@settings(deadline=None, max_examples=150)
@given(ROWS, st.lists(st.integers(1, 6), min_size=1), st.lists(st.sampled_from(["store", "crash", "go on"])))
@pytest.mark.parametrize("processor", [OneByOne, InBatches])
async def test_timers_fire_as_in_one_undisturbed_run(
    processor: type[Processor], rows: list[Row], sizes: list[int], plan: list[str]
) -> None:
    life = Life(processor, rows, sizes, plan)
    await life.live()
    memory = life.task.live.memory
    timers = {(timer.key, timer.name): timer.time for timer in memory.timers}
    sent = [JsonCodec().decode(value or b"") if value != b"second" else "second" for value in life.sent.values()]
    state, expected_timers, now, expected_sent = modelled(rows)
    assert (dict(memory.table.view()), timers, memory.watermark.time) == (state, expected_timers, now)
    assert sorted(map(str, sent)) == sorted(map(str, expected_sent))


class Fails(Processor):
    """Its timers of the key `bad` fail, until it is mended."""

    api_version = 1
    value_format = "int"
    tick = "1ms"
    mended = False

    def process(self, record, state, out):
        self.timers.set(record.key, record.timestamp + record.value)

    def on_timer(self, timer, state, out):
        state[timer.key] = timer.time
        self.timers.set("made", 99)
        out.send("out", timer.key)
        if timer.key == "bad" and not self.mended:
            raise ValueError("as told")


FAILING: list[Row] = [("bad", 0, 2), ("good", 0, 3), ("later", 5, 90)]


async def nothing() -> None:
    pass


def failing(policy: ErrorPolicy, reports: list[Any] | None = None) -> PartitionTask:
    def on_records_failed(plugin: str, partition: TopicPartition, errors: Any) -> None:
        if reports is not None:
            reports.append(errors)

    return running(make_task(Fails, on_error=policy, on_records_failed=on_records_failed))


async def test_a_timer_that_fails_is_skipped_without_a_trace_if_the_policy_says_so() -> None:
    reports: list[Any] = []
    task = failing(ErrorPolicy("skip"), reports)
    await task.live.apply(batch_of(FAILING), nothing)
    memory = task.live.memory
    assert dict(memory.table.view()) == {"good": 3}
    assert {timer.key for timer in memory.timers} == {"later", "made"}
    assert [output.value for output in memory.outbox.take()] == [b"good"]
    assert task.counts == Counts(3, failed_timers=1)
    (errors,) = reports
    assert str(errors[2]).startswith(
        "plugin count failed on the timer of key 'bad' at 1970-01-01T00:00:00.002Z, topic-0 after offset 2: "
        "ValueError: as told (at "
    )


async def test_each_failure_after_one_record_is_reported() -> None:
    reports: list[Any] = []
    rows: list[Row] = [("bad", 0, 2), ("bad", 1, 3), ("later", 9, 90)]

    class Both(Fails):
        def process(self, record, state, out):
            self.timers.set("bad", record.timestamp + record.value, name=str(record.offset))

    task = running(
        make_task(Both, on_error=ErrorPolicy("skip"), on_records_failed=lambda *told: reports.append(told[2]))
    )
    await task.live.apply(batch_of(rows), nothing)
    assert [["timer '0'" in str(error) for error in errors.values()] for errors in reports] == [[True], [False]]


async def test_a_timer_that_fails_stops_the_run_before_it_and_a_restart_tries_it_again() -> None:
    task = failing(ErrorPolicy("stop"))
    with pytest.raises(Refusal) as caught:
        await task.live.apply(batch_of(FAILING), nothing)
    assert isinstance(caught.value.error, RecordError)
    assert "the run stops before this timer, and a restart tries it again" in str(caught.value.error)
    assert task.can_be_stored
    assert task.position == 3
    assert dict(task.live.memory.table.view()) == {}
    checkpoint = await task.capture()
    assert checkpoint is not None
    assert checkpoint.event_time == {PARTITION: 5}
    assert checkpoint.tables[TIMERS_TABLE].keys == 3 + 1  # and the counters


async def test_a_timer_that_fails_is_tried_again_as_often_as_the_policy_says(caplog) -> None:
    task = failing(ErrorPolicy("skip", retries=1, retry_backoff=0.0))
    with caplog.at_level(logging.WARNING), pytest.raises(Retry):
        await task.live.apply(batch_of(FAILING), nothing)
    assert "the timer of key 'bad' at 1970-01-01T00:00:00.002Z: try 1 failed" in caplog.text
    assert task.live.has_due_work
    task.live.memory.processor.mended = True  # type: ignore[attr-defined]
    await task.live.fire(nothing)
    assert dict(task.live.memory.table.view()) == {"bad": 2, "good": 3}


async def test_a_wall_clock_timer_fires_between_records() -> None:
    class Wall(Fails):
        def process(self, record, state, out):
            self.timers.set("wall", 5_000, wall=True)

    now = [4.0]
    task = running(make_task(Wall, wall=lambda: now[0]))
    await task.live.apply(batch_of([("a", 9_000, 0)]), nothing)
    assert not task.live.has_due_work
    now[0] = 5.0
    assert task.live.has_due_work
    await task.live.fire(nothing)
    assert dict(task.live.memory.table.view()) == {"wall": 5_000}


def test_stored_timers_need_a_plugin_with_on_timer() -> None:
    class Without(Processor):
        api_version = 1

    stored = StoredUnit(UNIT, 1, 1, DESCRIPTION, tables={TIMERS_TABLE: StoredTable(2, 0, 0)})
    with pytest.raises(StateIncompatibleError, match="has timers, but the plugin here has no on_timer"):
        make_task(Without).accept(stored)
    make_task(Fails).accept(stored)


async def test_the_timestamp_of_a_record_is_its_event_time() -> None:
    seen: list[Any] = []

    class Sees(Processor):
        api_version = 1
        value_format = "json"
        event_time_field = "at"

        def process(self, record, state, out):
            seen.append(record.timestamp)

        def on_timer(self, timer: Timer, state: Any, out: Any) -> None:
            pass

    task = running(make_task(Sees, on_error=ErrorPolicy("skip")))
    values = [b'{"at": 1}', b'{"at": "never"}', b'{"at": 3}']
    await task.live.apply(batch_of([("a", 70, 0)] * 3, values), nothing)
    assert seen == [1000, 3000]
    assert task.counts == Counts(2, 1)
    assert task.live.progress.anchor.timestamp == 70


# ---- partitions without records


def idle_task(now: list[float], clock: Clock, **chosen: Any) -> PartitionTask:
    choice = EventTimeChoice(idle_after=5_000)
    return running(make_task(OneByOne, event_time=choice, wall=lambda: now[0], clock=clock, **chosen))


async def test_event_time_goes_on_by_the_clock_if_a_timer_is_due_then() -> None:
    now, clock = [0.0], Clock()
    task = idle_task(now, clock)
    assert task.live.idle_step(LogEnd(0, 1)) is None
    await task.live.apply(batch_of([("a", 1_000, 30)]), nothing)
    assert task.live.idle_step(LogEnd(1, 2)) is None
    clock.now, now[0] = 5.0, 6.0
    assert task.live.idle_step(LogEnd(1, 3)) is None, "that answer may be older than the silence"
    assert task.live.idle_step(LogEnd(1, 4)) is None, "no timer is due then"
    now[0] = 6.04
    assert task.live.idle_step(LogEnd(1, 5)) == 1030
    assert task.live.idle_step(LogEnd(2, 6)) is None, "there is a record"
    task.live.advance_watermark(1030)
    assert task.live.idle_step(LogEnd(1, 7)) is None, "a timer is due now"
    await task.live.fire(nothing)
    assert task.view()["fired"] == [["a", "x", 1030, 1030]]
    assert task.live.idle_step(LogEnd(1, 8)) is None


async def test_without_a_choice_only_records_move_event_time() -> None:
    clock = Clock()
    task = running(make_task(OneByOne, wall=lambda: 100.0, clock=clock))
    await task.live.apply(batch_of([("a", 1_000, 30)]), nothing)
    for told_at in range(3):
        clock.now += 1000
        assert task.live.idle_step(LogEnd(1, told_at)) is None


class Idle(OneByOne):
    idle_after = "1ms"


async def test_a_step_without_records_is_stored_before_its_timers_fire() -> None:
    run = Played(processors=[Idle], wall=lambda: 100.0)
    run.source.logs = {PARTITION: LogRange(0, 1, "id")}
    run.source.values = {(PARTITION, 0): b"30"}
    working = run.start()
    await until(lambda: run.sink.sent)
    stepped = [point for saved in run.own_store.saved for point in saved if point.event_time.get(PARTITION, 0) > 1000]
    assert len(stepped) == 1
    assert "fired" not in run.stored_state("idle")
    run.worker.stop()
    await working
    assert run.stored_state("idle")["fired"] == [["key", "x", 1030, stepped[0].event_time[PARTITION]]]
