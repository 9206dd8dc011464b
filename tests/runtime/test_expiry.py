"""Keys expire as a plain model says: in any split, with any checkpoints and crashes, and never after a fresh write."""

from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import NO_EVENT_TIME, Claim, Duration, Options, PluginError, Processor, Record, UsageError
from framework.progress import Progress
from framework.runtime.expiry import Expiry
from framework.runtime.task import TaskStatus
from framework.stores import EXPIRY_TABLE, STATE_TABLE, StoredTable, StoredUnit
from framework.table import Table
from framework.testing import check_processor, run_processor
from tests.runtime.lives import Life, Row, batch_of
from tests.runtime.played import DESCRIPTION, PARTITION, UNIT, captured, definition_of, make_task, running

TICK, BOUND, TTL = 10, 7, 30


class OneByOne(Processor):
    """Collects the numbers of each key. 0 deletes the key, 1 and 3 read it, 2 and 3 write another key.

    Numbers from 30 on set a timer.
    """

    api_version = 1
    value_format = "int"
    tick = "10ms"
    out_of_order = "7ms"
    ttl = "30ms"

    def seen(self, key: str, timestamp: int, number: int, state: Any) -> None:
        if number == 0:
            state.pop(key, None)
        elif number == 1:
            assert key not in state or state[key]
        elif number == 2:
            state["other"] = key
        elif number == 3:
            assert key not in state or state[key]
            state[1], state[True] = "one", timestamp
            del state[1]
            state[True] = timestamp
        else:
            state[key] = (*state.get(key, ()), number)
        if number >= 30:
            self.timers.set(key, timestamp + number)

    def process(self, record, state, out):
        self.seen(record.key, record.timestamp, record.value, state)

    def on_timer(self, timer, state, out):
        state["timer"] = len(state)


class InBatches(OneByOne):
    def process_batch(self, batch, state, out):
        for key, timestamp, number in zip(batch.keys, batch.timestamps, batch.values, strict=True):
            self.seen(key, timestamp, number, state)


def modelled(rows: list[Row]) -> tuple[dict[Any, Any], dict[Any, int]]:
    """The state, and the time of each key's last write, of one undisturbed run, without the runtime's code."""
    state: dict[Any, Any] = {}
    written: dict[Any, int] = {}
    timers: dict[str, int] = {}
    now = NO_EVENT_TIME
    for key, timestamp, number in rows:
        time = max(now, (timestamp - BOUND) // TICK * TICK)
        for gone in [each for each, at in written.items() if at + TTL <= time]:
            del state[gone], written[gone]
        if number == 0:
            state.pop(key, None)
            written.pop(key, None)
        elif number == 2:
            state["other"], written["other"] = key, time
        elif number in (1, 3) and key in state:
            written[key] = time  # a tuple may hold a value that can change in place
        elif number not in (1, 3):
            state[key], written[key] = (*state.get(key, ()), number), time
        if number == 3:
            state.pop(1, None)
            state[True], written[True] = timestamp, time
        if number >= 30:
            timers[key] = max(timestamp + number, now + 1)
        now = time
        while due := sorted((at, each) for each, at in timers.items() if at <= now):
            del timers[due[0][1]]
            state["timer"], written["timer"] = len(state), now
    return state, written


ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 200), st.integers(0, 6) | st.integers(30, 60)), max_size=25
)


@settings(deadline=None, max_examples=200)
@given(ROWS, st.lists(st.integers(1, 6), min_size=1), st.lists(st.sampled_from(["store", "crash", "go on"])))
@pytest.mark.parametrize("processor", [OneByOne, InBatches])
async def test_keys_expire_as_in_one_undisturbed_run(
    processor: type[Processor], rows: list[Row], sizes: list[int], plan: list[str]
) -> None:
    life = Life(processor, rows, sizes, plan)
    await life.live()
    await life.store()
    memory = life.task.live.memory
    assert memory.expiry is not None
    assert (dict(memory.table.view()), dict(memory.expiry.table.view())) == modelled(rows)
    assert life.load().view() == memory.table.view()


@settings(deadline=None, max_examples=60)
@given(ROWS.filter(bool), st.dictionaries(st.integers(0, 25), st.integers(0, 250), max_size=3))
def test_the_kit_finds_no_difference(rows: list[Row], idle: dict[int, int]) -> None:
    records, idle = batch_of(rows), {offset: time for offset, time in idle.items() if offset < len(rows)}
    decoded = [record._replace(value=int(record.value), key=record.key.decode()) for record in records]
    check_processor(InBatches, decoded, idle=idle)


class Visits(Processor):
    """Counts the visits of a key, until it was away for an hour."""

    api_version = 1
    ttl: ClassVar[Any] = "1h"

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1


class Tallied(Visits):
    def process_batch(self, batch, state, out):
        state.tally(batch.keys)


HOUR = 3_600_000


def visit(key: str, timestamp: int) -> Record:
    return Record("test", 0, next(OFFSETS), timestamp, key, None)


OFFSETS = count()


def test_a_key_that_comes_back_too_late_begins_anew_even_if_no_other_key_has_come() -> None:
    records = [visit("a", 0), visit("a", HOUR - 1000), visit("a", 2 * HOUR - 2000), visit("a", 3 * HOUR)]
    assert run_processor(Visits, records[:3]).state == {"a": 3}
    assert run_processor(Visits, records).state == {"a": 1}
    check_processor(Visits, records)


def test_tallies_count_as_writes() -> None:
    records = [visit("a", 0), visit("b", 0), visit("a", HOUR - 1000), visit("c", HOUR)]
    assert run_processor(Tallied, records, batches=4).state == {"a": 2, "c": 1}
    check_processor(Tallied, records)


def test_keys_expire_when_time_goes_on_without_records() -> None:
    result = run_processor(Visits, [visit("a", 0), visit("b", 5000)], until=HOUR + 4999)
    assert (result.state, result.written) == ({"b": 1}, {"b": 5000})


def test_keys_expire_in_an_idle_partition() -> None:
    records = [visit("a", 0), visit("b", 5000), visit("a", 5000)]
    first = records[0].offset
    assert run_processor(Visits, records, idle={first + 1: HOUR + 4999}).state == {"a": 1, "b": 1}
    with pytest.raises(UsageError, match=f"idle names offset {first + 3}, but no record has it"):
        run_processor(Visits, records, idle={first + 3: 0})


@pytest.mark.parametrize("ttl", ["0s", "soon", -1, 5])
def test_a_time_to_live_that_is_none_is_refused(ttl: Any) -> None:
    class Wrong(Visits):
        pass

    Wrong.ttl = ttl
    with pytest.raises(PluginError, match="ttl"):
        definition_of(Wrong)


def test_the_time_to_live_may_depend_on_the_options() -> None:
    class Chosen(Visits):
        class Options(Options):
            forget: Duration | None = None

        @classmethod
        def ttl_of(cls, options):
            return options.forget

    records = [visit("a", 0), visit("b", 10_000)]
    assert run_processor(Chosen, records, options={"forget": "10s"}).state == {"b": 1}
    assert run_processor(Chosen, records).state == {"a": 1, "b": 1}


def test_one_step_looks_at_few_keys() -> None:
    state, expiry = watched(dict.fromkeys(range(1000), 0), ttl=10)
    steps = 0
    while expiry.step(10, 7):
        steps += 1
    assert steps >= 1000 // 7
    assert not state.view()
    assert not expiry.table.view()


def watched(written: dict[Any, int], ttl: int) -> tuple[Table[Any, Any], Expiry]:
    state: Table[Any, Any] = Table(dict.fromkeys(written, "value"))
    expiry = Expiry(ttl, dict(written), event_time=max(written.values()))
    expiry.index(iter(written.items()), len(written))
    expiry.watch(state)
    return state, expiry


def test_many_writes_of_a_key_take_the_memory_of_one() -> None:
    state, expiry = watched({"a": 0}, ttl=10**9)
    for time in range(1, 5000):
        expiry.event_time = time
        state["a"] = time
        if time % 3 == 0:
            del state["a"]
        while expiry.step(time, 5):
            pass
    assert sum(map(len, expiry._buckets.values())) == len(expiry._bucket_of) == 1


def test_an_expiry_that_is_no_longer_used_is_freed_in_pieces() -> None:
    _, expiry = watched({number: number % 3 for number in range(10)}, ttl=10)
    left = [expiry.free(4) for _ in range(3)]
    assert left == [6, 2, 0]
    assert not any(expiry._buckets.values())


# ---- what was stored under another time to live


async def test_keys_of_a_state_without_a_time_to_live_live_from_now_on() -> None:
    task = running(make_task(Visits), Claim(1, stored({}, 5 * HOUR)), {"a": 1, "b": 1})
    await task.live.apply(batch_of([("b", 6 * HOUR - 1, 0)]), nothing)
    assert task.view() == {"a": 1, "b": 2}
    await task.live.apply(batch_of([("b", 6 * HOUR - 1, 0), ("c", 6 * HOUR, 0)]), nothing)
    assert task.view() == {"b": 2, "c": 1}


async def test_keys_of_a_state_without_event_time_live_from_the_first_record_on() -> None:
    task = running(make_task(Visits), Claim(1, stored({}, None)), {"a": 1})
    await task.live.apply(batch_of([("b", 6 * HOUR, 0), ("b", 7 * HOUR - 1, 0)]), nothing)
    assert task.view() == {"a": 1, "b": 2}
    assert (await captured(task)).tables[EXPIRY_TABLE].keys == 2


async def test_without_a_time_to_live_the_times_are_deleted() -> None:
    class ForEver(Visits):
        ttl: ClassVar[Any] = None

    task = running(make_task(ForEver), Claim(1, stored({EXPIRY_TABLE: StoredTable(1, 9, 9)}, 0)), {"a": 1})
    checkpoint = await captured(task)
    changes = checkpoint.tables[EXPIRY_TABLE]
    assert (changes.keys, list(changes.rows), changes.base_begins, changes.base_ends) == (0, [], True, True)
    task.saved(checkpoint)
    assert await task.capture() is None


async def test_a_migration_is_no_write() -> None:
    class Next(Visits):
        state_version = 2

        @classmethod
        def migrate(cls, state, from_version):
            for key in list(state):
                state[key] += 100
            state["new"] = 7

    task = make_task(Next, description=replace(DESCRIPTION, state_version=2))
    before = stored({EXPIRY_TABLE: StoredTable(1, 0, 0)}, 5 * HOUR)
    expiry = task.new_expiry(before, {"a": 4 * HOUR})
    assert expiry is not None
    expiry.index(iter([("a", 4 * HOUR)]), 1)
    task.move(TaskStatus.LOADING)
    task.load(Claim(1, before), {"a": 1}, None, expiry)
    await captured(task)
    assert dict(expiry.table.view()) == {"a": 4 * HOUR, "new": 5 * HOUR}


def stored(tables: dict[str, StoredTable], event_time: int | None) -> StoredUnit:
    times = {} if event_time is None else {PARTITION: event_time}
    return StoredUnit(UNIT, 1, 1, DESCRIPTION, {PARTITION: Progress(-1, 0)}, times, {STATE_TABLE: NOTHING, **tables})


NOTHING = StoredTable(0, 0, 0)


async def nothing() -> None:
    pass
