"""Time in a task: timers fire as a plain model says, in any split, and after crashes at any pause."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import NO_EVENT_TIME, Batch, Claim, Processor, StateIncompatibleError, Timer, TopicPartition
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.errors import RecordError
from framework.policy import ErrorPolicy
from framework.runtime.failures import Refusal, Retry
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.timers import UnitTimers
from framework.stores import STATE_TABLE, TIMERS_TABLE, StoredTable, StoredUnit
from tests.runtime.played import DESCRIPTION, PARTITION, UNIT, make_task, running

TICK, BOUND = 10, 7
Row = tuple[str, int, int]
"""Key, event time, and the delay of the timer that the record sets."""


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


class Crash(Exception):  # noqa: N818 - the process is gone
    pass


class Life:
    """A unit that is stored at some pauses and crashes at others."""

    def __init__(self, processor: type[Processor], rows: list[Row], sizes: list[int], plan: list[str]) -> None:
        self.processor, self.rows, self.sizes, self.plan = processor, rows, sizes, list(plan)
        self.stored: StoredUnit | None = None
        self.tables: dict[str, list[bytes]] = {STATE_TABLE: [], TIMERS_TABLE: []}
        self.sent: dict[Any, bytes | None] = {}
        self.task: PartitionTask = self.load()

    def load(self) -> PartitionTask:
        limits = Limits(slice_seconds=-1.0, look_records=1, first_piece_records=2, piece_records=3)
        task = make_task(self.processor, limits=limits)
        state, timers = (fold_rows(JsonCodec(), self.tables[name]) for name in (STATE_TABLE, TIMERS_TABLE))
        made, entries = UnitTimers(timers), iter(list(timers.items()))
        while made.index(entries, 1):
            pass
        task.move(TaskStatus.LOADING)
        task.load(Claim(1, self.stored), state, made)
        if task.position is None:
            task.start_at(0)
        task.move(TaskStatus.SEEKING)
        task.move(TaskStatus.RUNNING)
        return task

    async def breathe(self) -> None:
        self.send()
        match self.plan.pop() if self.plan else "go on":
            case "store":
                await self.store()
            case "crash":
                raise Crash

    def send(self) -> None:
        with self.task.handing_over() as outputs:
            for output in outputs:
                place = output.headers[-2:]
                assert self.sent.setdefault(place, output.value) == output.value, "a repeat differs"

    async def store(self) -> None:
        checkpoint = await self.task.capture()
        if checkpoint is None:
            return
        for name, changes in checkpoint.tables.items():
            self.tables[name] += changes.rows
        self.task.saved(checkpoint)
        tables = {name: StoredTable(changes.keys, 0, 0) for name, changes in checkpoint.tables.items()}
        self.stored = StoredUnit(
            UNIT, 1, checkpoint.version, DESCRIPTION, checkpoint.progress, checkpoint.event_time, tables
        )

    async def live(self) -> None:
        number = 0
        while (position := self.task.position or 0) < len(self.rows):
            size, number = self.sizes[number % len(self.sizes)], number + 1
            try:
                await self.task.live.apply(batch_of(self.rows[: position + size]), self.breathe)
                await self.task.live.fire(self.breathe)
                await self.breathe()
            except Crash:
                self.task = self.load()
        self.plan = []
        await self.task.live.fire(self.breathe)
        self.send()


def batch_of(rows: list[Row], values: list[bytes] | None = None) -> Batch:
    return Batch(
        PARTITION,
        0,
        len(rows),
        range(len(rows)),
        [time for _, time, _ in rows],
        [key.encode() for key, _, _ in rows],
        values or [str(delay).encode() for _, _, delay in rows],
        [()] * len(rows),
    )


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
    assert task.counts == (3, 0)
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
    assert task.live.has_due_timers
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
    assert not task.live.has_due_timers
    now[0] = 5.0
    assert task.live.has_due_timers
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
    assert task.counts == (2, 1)
    assert task.live.progress.anchor.timestamp == 70
