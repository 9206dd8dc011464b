"""The applier: records in order, fast and with undo; those that fail leave no trace, whatever the plugin did before."""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framework import (
    Batch,
    Claim,
    DeserializationError,
    InternalError,
    ProcessingError,
    Processor,
    Progress,
    RecordError,
    TallyError,
)
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.policy import ErrorPolicy
from framework.runtime.applier import Rewind
from framework.runtime.counts import Counts
from framework.runtime.failures import Refusal
from framework.runtime.limits import Limits
from framework.runtime.task import TaskStatus
from tests.runtime.alone import (
    BAD,
    DEAD_LETTER,
    FINE,
    PROCESSORS,
    Alone,
    AtOnce,
    Both,
    LateCheck,
    OneByOne,
    Steps,
    act,
    from_source,
    to_wire,
)
from tests.runtime.played import (
    KINDS,
    PARTITION,
    Clock,
    Count,
    breathe,
    captured,
    make_batch,
    make_task,
    running,
    stored_unit,
)

SKIP = ErrorPolicy("skip")


def model(records: Sequence[tuple[str, Steps]]) -> tuple[dict[str, Any], dict[tuple[str, ...], Any]]:
    """The state and the outputs where records that fail were never there."""
    state: dict[str, Any] = {}
    outputs: dict[tuple[str, ...], Any] = {}
    for offset, (key, steps) in enumerate(records):
        if ["fail"] in steps:
            continue
        sent: list[Any] = []
        act(copy.deepcopy(list(steps)), key, state, sent.append)
        outputs |= {(str(offset), str(index)): b"%d" % item for index, item in enumerate(sent)}
    return state, outputs


KEYS = st.sampled_from("abcd")
NUMBERS = st.integers(0, 9)
STEPS = st.one_of(
    st.just(["count"]),
    st.builds(lambda number: ["append", number], NUMBERS),
    st.builds(lambda number: ["deepen", number], NUMBERS),
    st.builds(lambda key: ["delete", key], KEYS),
    st.builds(lambda items: ["update", items], st.dictionaries(KEYS, NUMBERS, max_size=3)),
    st.builds(lambda number: ["send", number], NUMBERS),
    st.sampled_from([["pop"], ["clear"], ["sort"]]),
)
GOOD = st.lists(STEPS, max_size=4)
FAILING = st.builds(lambda before, after: [*before, ["fail"], *after], GOOD, GOOD)
RECORDS = st.lists(st.tuples(KEYS, st.one_of(GOOD, GOOD, GOOD, FAILING)), max_size=60)


@pytest.mark.parametrize("processor", PROCESSORS)
@settings(max_examples=60, deadline=None)
@given(records=RECORDS, sizes=st.lists(st.integers(1, 25), min_size=1), every=st.integers(1, 4))
@example(records=[("a", [["append", 1]]), ("a", [["append", 2], ["fail"]])] * 20, sizes=[40], every=1)
def test_records_that_fail_leave_no_trace(processor, records, sizes, every):
    async def run() -> Alone:
        run = Alone(processor, DEAD_LETTER)
        at = number = 0
        while at < len(records):
            piece = records[at : at + sizes[number % len(sizes)]]
            await run.apply(from_source([to_wire(*record) for record in piece], at))
            at, number = at + len(piece), number + 1
            if number % every == 0:
                await run.checkpoint()
        await run.checkpoint()
        return run

    done = asyncio.run(run())
    state, outputs = model(records)
    bad = {offset for offset, (_, steps) in enumerate(records) if ["fail"] in steps}
    assert done.task.view() == state
    assert fold_rows(JsonCodec(), done.rows) == state
    assert done.sent == outputs
    assert done.failed.keys() == done.letters.keys() == bad
    assert done.task.counts == Counts(len(records) - len(bad), len(bad))
    assert done.rewinds <= 1


@pytest.mark.parametrize("processor", PROCESSORS)
@settings(max_examples=30, deadline=None)
@given(records=RECORDS)
def test_stop_leaves_the_state_of_the_records_before(processor, records):
    async def run() -> tuple[Alone, ProcessingError | None]:
        run = Alone(processor, ErrorPolicy())
        try:
            await run.apply(from_source([to_wire(*record) for record in records]))
        except Refusal as refusal:
            return run, refusal.error
        return run, None

    done, error = asyncio.run(run())
    first = next((offset for offset, (_, steps) in enumerate(records) if ["fail"] in steps), len(records))
    assert done.task.view() == model(records[:first])[0]
    assert (done.task.live.last_offset, done.task.position) == (first - 1, first)
    if first < len(records):
        why = "one of them" if processor is LateCheck else "as told"
        assert f"failed on orders-3 offset {first}, key {records[first][0]!r}: ValueError: {why}" in str(error)
        assert list(done.failed) == [first]
    else:
        assert error is None


@pytest.mark.parametrize("processor", [OneByOne, AtOnce, Both])
async def test_rewinds_become_ever_rarer(processor):
    """Each loads the whole state; failures that are far apart must not cost one each."""
    run = Alone(processor, SKIP, Limits(careful_run=100))
    records = 0
    for _ in range(40):
        await run.apply(from_source([BAD, *[FINE] * 110], records))
        records += 111
        await run.checkpoint()
    assert run.task.view() == {"a": records - 40}
    assert len(run.failed) == 40
    assert run.rewinds <= 6


class Counted(Processor):
    """Counts how often it is handed a record."""

    api_version = 1
    handed = calls = 0

    def process_batch(self, batch, state, out):
        type(self).calls += 1
        type(self).handed += len(batch)
        if b"bad" in batch.values:
            raise ValueError
        state.update(dict.fromkeys(batch.keys, 1))


@pytest.mark.parametrize("processor", [Counted, type("CountedOneByOne", (Counted,), {"process": OneByOne.process})])
async def test_one_per_cent_of_bad_records_is_little_work_more(processor):
    """Counted in work, not in time, so that it holds on any machine."""
    processor.handed = processor.calls = 0
    run = Alone(processor, SKIP)
    values = [b"bad" if offset % 100 == 37 else b"good" for offset in range(50_000)]
    for at in range(0, len(values), 1_000):
        await run.apply(from_source([(b"a", value) for value in values[at : at + 1_000]], at))
    assert len(run.failed) == 500
    assert run.rewinds == 1
    assert len(values) < processor.handed < 2 * len(values)
    assert processor.calls < 12 * 500


async def test_slices_become_whole_batches_again_where_nothing_fails():
    run = Alone(Counted, SKIP)
    await run.apply(from_source([(b"a", b"bad")]))
    Counted.calls = 0
    for at in range(1, 9_001, 1_000):
        await run.apply(from_source([(b"a", b"good")] * 1_000, at))
    assert Counted.calls < 60


# ---- in order, and no record twice


class CountBatch(Processor):
    api_version = 1

    def process_batch(self, batch, state, out):
        for key, value in zip(batch.keys, batch.values, strict=True):
            state[key] = state.get(key, 0) + 1
            if value == b"bad":
                raise ValueError("no good")


class CountAsync(Count):
    async def process(self, record, state, out):
        await asyncio.sleep(0)
        super().process(record, state, out)


COUNTING = pytest.mark.parametrize("processor", [Count, CountBatch, CountAsync])


@COUNTING
async def test_applies_records_in_order(processor):
    task = running(make_task(processor))
    await task.live.apply(make_batch(["a", "b", "a", None]), breathe)
    assert (task.live.last_offset, task.position, task.counts) == (3, 4, Counts(4))
    assert task.view() == {"a": 2, "b": 1, None: 1}


@COUNTING
async def test_skips_what_it_has(processor):
    task = running(make_task(processor), Claim(2, stored_unit(2, 3)), {"a": 3})
    await task.live.apply(make_batch(["a"] * 3), breathe)
    assert task.view() == {"a": 3}
    await task.live.apply(make_batch(["a"] * 3, at=1), breathe)
    assert task.view() == {"a": 4}
    assert (task.position, task.counts) == (4, Counts(1))


async def test_refuses_a_gap_in_what_was_read():
    task = running(make_task())
    with pytest.raises(InternalError, match="offsets 0 to 4 are missing between two fetched batches"):
        await task.live.apply(make_batch(["a"], at=5), breathe)


async def test_refuses_records_before_it_is_known_where_to_begin():
    task = make_task()
    task.load(Claim(1, None), {})
    with pytest.raises(InternalError, match="has no position yet"):
        await task.live.apply(make_batch(["a"]), breathe)


async def test_follows_a_position_that_moves_without_records():
    task = running(make_task())
    await task.live.apply(Batch(PARTITION, 0, 7, [], [], [], [], []), breathe)
    assert (task.live.last_offset, task.position) == (-1, 7)


@COUNTING
async def test_goes_on_behind_a_gap_that_was_read(processor):
    task = running(make_task(processor))
    await task.live.apply(Batch(PARTITION, 0, 9, [2, 5], [0, 0], [b"a", b"a"], [b"", b""], [(), ()]), breathe)
    assert (task.live.last_offset, task.position, task.view()) == (5, 9, {"a": 2})


async def test_its_progress_is_not_set_while_records_are_applied():
    task = running(make_task(clock=Clock(1.0)))
    refused: list[InternalError] = []

    async def move() -> None:
        try:
            task.live.progress = Progress(0, 1)
        except InternalError as error:
            refused.append(error)

    await task.live.apply(make_batch(["a"] * 1000), move)
    assert refused
    assert task.position == 1000


# ---- pauses


@COUNTING
async def test_stops_between_records_when_it_is_drained(processor):
    limits = Limits(look_records=7, first_piece_records=7, piece_records=7)
    task = running(make_task(processor, clock=Clock(1.0), limits=limits))

    async def drain() -> None:
        assert task.can_be_stored
        task.move(TaskStatus.DRAINING)

    await task.live.apply(make_batch(["a"] * 1000), drain)
    last_offset = task.live.last_offset
    assert 0 <= last_offset < 7
    assert task.position == last_offset + 1 == task.view()["a"]
    assert task.counts == Counts(last_offset + 1)
    assert (await captured(task)).own_progress.last_offset == last_offset


@COUNTING
async def test_counts_are_right_however_often_it_pauses(processor):
    task = running(make_task(processor, clock=Clock(1.0), limits=Limits(look_records=3, piece_records=10)))
    seen: list[tuple[int, int | None]] = []

    async def look() -> None:
        assert task.can_be_stored
        seen.append((task.counts[0], task.position))

    await task.live.apply(make_batch(["a"] * 100), look)
    assert len(seen) > 5
    assert all(applied == position for applied, position in seen)
    assert task.counts == Counts(100)


@pytest.mark.parametrize("processor", PROCESSORS)
async def test_a_stop_is_obeyed_where_records_fail(processor):
    run = Alone(processor, SKIP, Limits(careful_slice=8, first_careful_slice=8), Clock(1.0))
    await run.apply(from_source([BAD]))

    async def drain() -> None:
        run.task.move(TaskStatus.DRAINING)

    await run.task.live.apply(from_source([FINE] * 500, 1), drain)
    last_offset = run.task.live.last_offset
    assert 1 <= last_offset < 500
    assert run.task.position == last_offset + 1
    assert run.task.view() == {"a": last_offset}
    assert run.task.counts == Counts(last_offset, 1)


async def test_what_a_pause_raises_comes_out_and_the_memory_is_as_it_was_then():
    task = running(make_task(clock=Clock(1.0), limits=Limits(look_records=7)))

    async def fail() -> None:
        raise ConnectionError("the sink")

    with pytest.raises(ConnectionError, match="the sink"):
        await task.live.apply(make_batch(["a"] * 100), fail)
    assert task.can_be_stored
    assert (await captured(task)).own_progress.position == task.view()["a"] < 100


# ---- outputs


class Many(Processor):
    """Sends a hundred outputs for each record, and fails on a `bad` one."""

    api_version = 1

    def process(self, record, state, out):
        for number in range(100):
            out.send("out", number)
        if record.value == b"bad":
            raise ValueError


class ManyAtOnce(Many):
    def process_batch(self, batch, state, out):
        for position, value in enumerate(batch.values):
            for number in range(100):
                out.send("out", number, position=position)
            if value == b"bad":
                raise ValueError


@pytest.mark.parametrize("bad", [[], [0], [0, 50, 51, 120]], ids=["fast", "carefully", "failing"])
@pytest.mark.parametrize("processor", [Many, ManyAtOnce])
async def test_few_outputs_are_held_however_many_are_sent(processor, bad):
    limits = Limits(piece_outputs=400, first_piece_records=1)
    run = Alone(processor, SKIP, limits)
    values = [b"bad" if offset in bad else b"good" for offset in range(200)]
    await run.apply(from_source([(b"a", value) for value in values]))
    assert run.failed.keys() == set(bad)
    assert len(run.sent) == 100 * (200 - len(bad))
    assert 200 <= run.most_outputs <= 400 + 100


async def test_pieces_become_whole_again_where_nothing_is_sent():
    class Calls(Processor):
        api_version = 1
        sizes: list[int] = []

        def process_batch(self, batch, state, out):
            self.sizes.append(len(batch))

    task = running(make_task(Calls, limits=Limits(first_piece_records=1, piece_records=32)))
    await task.live.apply(make_batch(["a"] * 200), breathe)
    assert Calls.sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert max(Calls.sizes) == 32
    assert sum(Calls.sizes) == 200


@pytest.mark.parametrize("processor", [Many, ManyAtOnce])
async def test_outputs_of_a_failing_record_are_dropped(processor):
    run = Alone(processor, SKIP)
    await run.apply(from_source([(b"a", b"1"), (b"b", b"bad"), (b"c", b"2")]))
    assert {offset for offset, _ in run.sent} == {"0", "2"}


# ---- what cannot be decoded


@pytest.mark.parametrize("values", [[b"1", b"x", b"2"], [b"x", b"1", b"2"], [b"1", b"2", b"x"]])
async def test_what_cannot_be_deserialized_never_reaches_the_plugin(values):
    task = running(make_task(value_format="int", on_error=SKIP))
    await task.live.apply(make_batch(["a"] * 3, values=values), breathe)
    assert task.view() == {"a": 2}
    assert (task.position, task.counts) == (3, Counts(2, 1))


async def test_a_key_that_is_not_utf8_stops_before_it():
    task = running(make_task())
    with pytest.raises(Refusal) as refused:
        await task.live.apply(make_batch(["a", b"\xff", "a"]), breathe)
    assert isinstance(refused.value.error, DeserializationError)
    assert "topic-0 offset 1: the key is not utf8" in str(refused.value.error)
    assert task.view() == {"a": 1}
    assert (await captured(task)).own_progress.position == 1


# ---- whatever is raised


class Raises(Processor):
    """Raises `kind` on a record that says so, after it has changed and sent something."""

    api_version = 1
    value_format = "utf8"
    kind: type[BaseException] = ValueError

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
        out.send("out", record.value)
        if record.value == "bad":
            raise self.kind


class RaisesAsync(Raises):
    async def process(self, record, state, out):
        await asyncio.sleep(0)
        super().process(record, state, out)


class RaisesAtOnce(Raises):
    def process_batch(self, batch, state, out):
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            state[key] = state.get(key, 0) + 1
            out.send("out", value, position=position)
            if value == "bad":
                raise self.kind


ONE_BAD = [(b"a", b"bad" if offset in (3, 7) else b"%d" % offset) for offset in range(10)]
GOOD_VALUES = [b"%d" % offset for offset in range(10) if offset not in (3, 7)]
RAISING = pytest.mark.parametrize("base", [Raises, RaisesAsync, RaisesAtOnce])
EVERY_KIND = pytest.mark.parametrize("kind", [*KINDS, TallyError])


def raising(base: type[Raises], kind: type[BaseException]) -> type[Raises]:
    return type("Raising", (base,), {"kind": kind})


@RAISING
@EVERY_KIND
@pytest.mark.parametrize("policy", [SKIP, DEAD_LETTER, ErrorPolicy("skip", retries=2)], ids=str)
async def test_whatever_is_raised_is_that_records_failure(base, kind, policy):
    run = Alone(raising(base, kind), policy)
    await run.apply(from_source(ONE_BAD))
    assert run.task.view() == {"a": 8}
    assert run.task.can_be_stored
    assert (run.task.live.last_offset, run.task.position, run.task.counts) == (9, 10, Counts(8, 2))
    assert (run.rewinds, len(run.waits)) == (1, 2 * policy.retries)
    assert list(run.sent.values()) == GOOD_VALUES
    assert run.failed.keys() == {3, 7}
    assert run.letters.keys() == ({3, 7} if policy is DEAD_LETTER else set())
    assert all(f"offset {offset}, key 'a': " in str(error) for offset, error in run.failed.items())


@RAISING
@EVERY_KIND
async def test_whatever_is_raised_stops_in_order_where_the_policy_is_to_stop(base, kind):
    run = Alone(raising(base, kind), ErrorPolicy())
    with pytest.raises(Refusal) as refused:
        await run.apply(from_source(ONE_BAD))
    assert isinstance(refused.value.error, RecordError)
    assert "offset 3" in str(refused.value.error)
    assert "the run stops before this record, and a restart tries it again" in str(refused.value.error)
    assert run.task.view() == {"a": 3}
    run.take_outputs()
    assert list(run.sent.values()) == GOOD_VALUES[:3]
    assert (await captured(run.task)).own_progress.last_offset == 2


@RAISING
@pytest.mark.parametrize("bad", [0, 3], ids=["fast", "carefully"])
async def test_an_interrupt_is_raised_on_and_the_memory_cannot_be_stored(base, bad):
    run = Alone(raising(base, ValueError), SKIP)
    if bad:
        await run.apply(from_source([(b"a", b"bad")]))
    run.task.live.memory.processor.kind = KeyboardInterrupt  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        await run.task.live.apply(from_source([(b"a", b"bad")] * 5, min(bad, 1)), run.breathe)
    assert not run.task.can_be_stored


class Waits(Processor):
    """Waits for ever on a record that says so."""

    api_version = 1

    async def process(self, record, state, out):
        state["half"] = "done"
        if record.value == b"bad":
            raise ValueError
        if record.value == b"wait":
            await asyncio.Event().wait()


@pytest.mark.parametrize("careful", [False, True])
async def test_a_real_cancellation_is_raised_on_and_the_memory_cannot_be_stored(careful):
    run = Alone(Waits, SKIP)
    if careful:
        await run.apply(from_source([(b"a", b"bad")]))
    applying = asyncio.create_task(run.task.live.apply(from_source([(b"a", b"wait")], int(careful)), run.breathe))
    await asyncio.sleep(0)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert not run.task.can_be_stored


async def test_what_a_record_awaits_may_be_cancelled_by_itself():
    class Awaits(Processor):
        api_version = 1

        async def process(self, record, state, out):
            state["half"] = "done"
            waiting = asyncio.get_running_loop().create_future()
            waiting.cancel()
            await waiting

    run = Alone(Awaits, SKIP)
    await run.apply(from_source([FINE]))
    assert run.task.view() == {}
    assert run.failed.keys() == {0}


async def test_where_the_coroutine_is_closed_the_memory_cannot_be_stored():
    run = Alone(Waits, SKIP)
    applying: Any = run.task.live.apply(from_source([(b"a", b"wait")]), run.breathe)
    applying.send(None)
    applying.close()
    assert run.failed == {}
    assert not run.task.can_be_stored


# ---- a state that is broken


class Mixed(Processor):
    """Tallies a key that has a text."""

    api_version = 1

    def process_batch(self, batch, state, out):
        if b"bad" in batch.values:
            raise ValueError
        state.setdefault("meta", "text")
        state.tally(batch.keys)


async def test_a_tally_that_cannot_be_counted_is_no_records_fault():
    run = Alone(Mixed, DEAD_LETTER)
    await run.apply(from_source([(b"a", b"bad")]))
    with pytest.raises(TallyError, match="key 'meta' was tallied, but its value is of type str"):
        await run.apply(from_source([(b"meta", b""), *[(b"b", b"")] * 80], 1))
    assert list(run.failed) == list(run.letters) == [0]
    assert not run.task.can_be_stored
    with pytest.raises(InternalError, match="cannot be stored now"):
        await run.checkpoint()


async def test_a_tally_that_cannot_be_counted_ends_the_fast_path_too():
    run = Alone(Mixed, SKIP)
    await run.apply(from_source([(b"meta", b"")]))
    with pytest.raises(TallyError, match="key 'meta' was tallied"):
        await run.apply(from_source([(b"b", b"")], 1))
    assert (run.failed, run.rewinds) == ({}, 0)
    assert not run.task.can_be_stored


# ---- rewinds


async def test_a_record_that_depends_on_the_time_of_the_day_costs_a_rewind():
    """It fails when it is applied again behind one that failed: then only a load brings back what was before."""

    class Moody(Processor):
        api_version = 1
        tries = 0

        def process(self, record, state, out):
            state[record.value] = True
            if record.value == b"moody":
                type(self).tries += 1
                if type(self).tries == 2:
                    raise ValueError
            if record.value == b"bad":
                raise ValueError

    run = Alone(Moody, SKIP)
    await run.apply(from_source([(b"a", b"bad")]))
    await run.apply(from_source([(b"a", b"1"), (b"a", b"moody"), (b"a", b"bad"), (b"a", b"2")], 1))
    assert run.rewinds == 2
    assert set(run.task.view()) == {b"1", b"moody", b"2"}
    assert run.failed.keys() == {0, 3}


async def test_a_rewind_leaves_memory_that_nobody_can_store():
    task = running(make_task())
    with pytest.raises(Rewind):
        await task.live.apply(make_batch(["a", "b"], values=[b"v", b"bad"]), breathe)
    assert not task.can_be_stored
