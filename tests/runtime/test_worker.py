"""The worker: one loop that owns all tasks, over Kafka and a store that are played."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from framework import (
    FencedError,
    InternalError,
    OffsetOutOfRangeError,
    OutputError,
    Processor,
    RecordError,
    StalledError,
    StateConflictError,
    TallyError,
    TopicPartition,
    hookimpl,
)
from framework.policy import ErrorPolicy
from framework.runtime.counts import Counts
from framework.runtime.limits import Limits
from framework.runtime.ports import LogRange, OutOfRange
from framework.runtime.task import TaskStatus
from framework.stores import SAVED, Checkpoint
from tests.runtime.played import KINDS, PARTITION, UNIT, Count, Faults, Played, PlayedStore, until

OTHER = TopicPartition("topic", 1)
FOREIGN = [kind for kind in KINDS if kind is not StopIteration]
SKIP = ErrorPolicy("skip")


class Life(Count):
    """Counts, and tells who was made, opened and closed."""

    name = "count"
    made: list[Processor] = []
    opened: list[Processor] = []
    closed: list[Processor] = []

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self.made.append(self)

    async def open(self):
        self.opened.append(self)

    async def close(self):
        self.closed.append(self)


@pytest.fixture(autouse=True)
def life():
    """Whatever happens, each processor that was made is closed once, and opened once at the most."""
    for kept in (Life.made, Life.opened, Life.closed):
        kept.clear()
    yield Life
    assert sorted(map(id, Life.closed)) == sorted(map(id, Life.made))
    assert len({*map(id, Life.opened)}) == len(Life.opened)


def played(**chosen: Any) -> Played:
    return Played(**{"processors": (Life,), **chosen})


def assert_left(played: Played) -> None:
    """All that leaves was asked to, once."""
    assert [played.faults.calls.count(f"{port}.stop") for port in ("source", "sink")] == [1, 1]


def assert_kept_promise(played: Played) -> None:
    """What is stored is what undisturbed records up to there would have made."""
    offset = played.stored_offset()
    assert played.stored_state() == ({"key": offset + 1} if offset >= 0 else {})


# ---- in order


async def test_works_until_all_is_stored():
    run = played()
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}
    assert run.stored_offset() == 9
    assert run.source.offsets[PARTITION].position == 10
    assert_left(run)


async def test_outputs_are_sent():
    run = played()
    run.source.values = {(PARTITION, 4): b"send", (PARTITION, 9): b"send"}
    await run.run_to_end()
    assert [output.value for output in run.sink.sent] == [b"x", b"x"]


async def test_stops_with_a_last_checkpoint():
    run = played()
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    assert run.stored_offset() == -1
    run.worker.stop()
    await working
    assert run.stored_state() == {"key": 10}
    assert run.source.offsets[PARTITION].position == 10
    assert_left(run)


async def test_a_stop_before_anything_came_is_well():
    run = played()
    run.worker.stop()
    await run.worker.run()
    assert not run.worker.is_assigned
    assert_left(run)


async def test_a_refused_record_ends_in_order_with_what_was_before_it():
    run = played()
    run.source.values = {(PARTITION, 6): b"bad", (PARTITION, 5): b"send"}
    with pytest.raises(RecordError, match="offset 6"):
        await run.run_to_end()
    assert run.stored_state() == {"key": 6}
    assert run.stored_offset() == 5
    assert run.sink.sent
    assert_left(run)


async def test_a_refused_record_stores_the_other_tasks_too():
    class Picky(Life):
        name = "picky"

        def process(self, record, state, out):
            if record.value == b"6":
                raise ValueError("not this one")
            super().process(record, state, out)

    run = played(processors=(Life, Picky))
    with pytest.raises(RecordError, match="plugin picky failed on topic-0 offset 6"):
        await run.run_to_end()
    assert (run.stored_offset(), run.stored_offset("picky")) == (9, 5)
    again = played(processors=(Life, type("Mended", (Life,), {"name": "picky"})), store=run.own_store)
    again.source.offsets = run.source.offsets
    await again.run_to_end()
    assert again.stored_state() == again.stored_state("picky") == {"key": 10}


async def test_a_skipped_record_costs_a_rewind_and_nothing_else(life):
    run = played(on_error=SKIP)
    run.source.values = {(PARTITION, 6): b"bad"}
    await run.run_to_end()
    assert run.stored_state() == {"key": 9}
    assert len(life.made) == 2


async def test_a_record_is_tried_again_while_other_partitions_go_on():
    class Flaky(Life):
        tries = 0

        def process(self, record, state, out):
            if (record.partition, record.offset) == (0, 6):
                type(self).tries += 1
                if self.tries <= 3:
                    raise ConnectionError("not now")
            super().process(record, state, out)

    run = played(processors=(Flaky,), on_error=ErrorPolicy(retries=5, retry_backoff=0.001))
    run.source.logs[OTHER] = LogRange(0, 10)
    await run.run_to_end()
    assert run.stored_state() == run.stored_state(partition=OTHER) == {"key": 10}
    assert Flaky.tries == 4


# ---- whatever a port raises

AT_ONCE = [
    "source.start",
    "source.committed",
    "store.id_of",
    "store.claim",
    "store.claim, after",
    "source.log_ranges",
    "source.release",
    "source.fetch",
    "sink.send",
    "sink.send, after",
    "sink.flushed, called",
    "sink.flushed",
]


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", AT_ONCE)
async def test_whatever_a_port_raises_ends_the_worker_with_an_error_and_nothing_more_is_stored(border, kind):
    run = played()
    run.source.values = {(PARTITION, 3): b"send"}
    run.faults.plant(border, kind("planted"))
    await ends_with(run, kind)
    assert "store.save" not in run.faults.calls[run.faults.calls.index(border) :]
    await is_mended(run)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["sink.send", "sink.flushed", "source.fetch", "store.save", "store.save, after"])
async def test_whatever_a_port_raises_later_keeps_what_was_stored_before(border, kind):
    run = played(interval=0.0)
    run.source.values = {(PARTITION, 3): b"send", (PARTITION, 7): b"send"}
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.stored_offset() == 4)
    run.faults.plant(border, kind("planted"), kind("again"))
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    await ends_with(run, kind, working)
    assert_kept_promise(run)
    await is_mended(run)


async def ends_with(run: Played, kind: type[BaseException], working: Any = None) -> None:
    expected = kind if issubclass(kind, Exception) else InternalError
    with pytest.raises(expected) as caught:
        await (working or run.run_to_end())
    if expected is InternalError:
        assert caught.value.__cause__.__class__ is kind
    assert_left(run)


async def is_mended(run: Played) -> None:
    """The next start makes what an undisturbed run would have made; no output is missing."""
    again = played(store=run.own_store, faults=Faults())
    run.own_store.faults = again.faults
    again.source.values, again.source.offsets = run.source.values, run.source.offsets
    await again.run_to_end()
    assert again.stored_state() == {"key": 10}
    sent = {dict(output.headers)["framework-source-offset"] for output in [*run.sink.sent, *again.sink.sent]}
    assert sent == {b"%d" % offset for _, offset in run.source.values}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["source.stop", "sink.stop"])
async def test_whatever_is_raised_while_it_leaves_is_raised_when_all_is_done(border, kind):
    run = played()
    run.faults.plant(border, kind("planted"))
    await ends_with(run, kind)
    assert run.stored_state() == {"key": 10}


async def test_of_all_that_goes_wrong_while_it_leaves_the_first_is_raised(caplog):
    run = played()
    for border in "source.stop", "sink.stop":
        run.faults.plant(border, ConnectionError(border))
    with caplog.at_level(logging.ERROR, "framework"), pytest.raises(ConnectionError, match=r"source\.stop"):
        await run.run_to_end()
    assert "error while the run ends: ConnectionError: sink.stop" in caplog.text
    assert_left(run)


async def test_the_error_that_ended_it_is_raised_and_not_what_follows():
    run = played()
    for border in "source.fetch", "source.stop", "sink.stop":
        run.faults.plant(border, ConnectionError(border))
    with pytest.raises(ConnectionError, match=r"source\.fetch"):
        await run.run_to_end()
    assert_left(run)


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_last_checkpoint_that_fails_is_raised(kind):
    run = played()
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    run.faults.plant("store.save", kind("planted"), kind("again"))
    run.worker.stop()
    await ends_with(run, kind, working)
    assert_kept_promise(run)


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_commit_that_fails_ends_nothing(kind):
    run = played()
    run.faults.plant("source.commit", *[kind("planted")] * 100)
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_observers_raise_ends_nothing(kind):
    class Raises:
        @hookimpl
        def framework_assigned(self):
            raise kind

        @hookimpl
        def framework_released(self):
            raise kind

        @hookimpl
        def framework_checkpoint_saved(self):
            raise kind

    run = played(observers=[Raises()])
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}


async def test_a_state_that_is_broken_stores_nothing_of_any_task():
    class Mixed(Life):
        name = "mixed"

        def process(self, record, state, out):
            state["text"] = "text"
            if record.offset == 6:
                state.tally(["text"])
                len(state)

    run = played(processors=(Life, Mixed), on_error=SKIP)
    with pytest.raises(TallyError, match="key 'text' was tallied"):
        await run.run_to_end()
    assert (run.stored_offset(), run.stored_offset("mixed")) == (-1, -1)
    assert_left(run)


async def test_what_others_found_out_is_raised_and_nothing_is_stored():
    run = played()
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    run.worker.on_source_failed(StalledError("the consumer is dead"))
    with pytest.raises(StalledError, match="the consumer is dead"):
        await working
    assert run.stored_offset() == -1
    assert_left(run)


# ---- interrupted, and cancelled


async def test_an_interrupt_is_raised_on_and_nothing_is_stored():
    class Interrupted(Life):
        def process(self, record, state, out):
            super().process(record, state, out)
            if record.offset == 6:
                raise KeyboardInterrupt

    run = played(processors=(Interrupted,), on_error=SKIP)
    working: Any = run.worker.run()
    with pytest.raises(KeyboardInterrupt):
        await working
    assert run.stored_offset() == -1
    assert_left(run)


@pytest.mark.parametrize("busy", [True, False])
async def test_a_real_cancellation_is_raised_on_and_nothing_is_stored(busy):
    class Waits(Life):
        async def process(self, record, state, out):
            super().process(record, state, out)
            if busy and record.offset == 6:
                await asyncio.Event().wait()

    run = played(processors=(Waits,))
    working = run.start()
    await until(lambda: run.worker.applying if busy else run.worker.assignment.positions() == {PARTITION: 10})
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert run.stored_offset() == -1
    assert_left(run)
    await run.worker.on_revoked([PARTITION])


# ---- rebalances


async def test_a_revocation_is_answered_when_all_is_stored_and_committed():
    run = played()
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    await run.source.revoke()
    assert run.stored_state() == {"key": 10}
    assert run.source.offsets[PARTITION].position == 10
    assert run.worker.tasks == []
    assert not run.worker.is_assigned
    run.worker.stop()
    await working


async def test_what_comes_back_goes_on_with_its_memory(life):
    run = played()
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 5})
    await run.source.revoke()
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    run.source.assign()
    run.worker.stop_when({PARTITION: 10})
    await working
    assert run.stored_state() == {"key": 10}
    assert len(life.made) == 1
    assert run.faults.calls.count("store.load") == 0


async def test_what_somebody_else_had_meanwhile_is_loaded(life):
    run = played()
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 5})
    await run.source.revoke()
    run.own_store.claim([UNIT], lambda unit, stored: None)
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    run.source.assign()
    run.worker.stop_when({PARTITION: 10})
    await working
    assert run.stored_state() == {"key": 10}
    assert len(life.made) == 2


async def test_a_revocation_stops_a_batch_between_two_records():
    class Slow(Life):
        async def process(self, record, state, out):
            super().process(record, state, out)
            if record.offset == 3:
                revoking.append(asyncio.create_task(run.source.revoke()))
                await asyncio.sleep(0)

    revoking: list[Any] = []
    run = played(processors=(Slow,), limits=Limits(fetch_seconds=0.0, slice_seconds=-1.0))
    working = run.start()
    await until(lambda: revoking)
    await revoking[0]
    assert run.stored_offset() == 3
    assert_kept_promise(run)
    run.worker.stop()
    await working


async def test_what_was_fetched_before_a_revocation_is_not_applied():
    class Moves(Life):
        name = "moves"

    run = played(processors=(Moves,))
    run.source.logs[OTHER] = LogRange(0, 10)
    fetch = run.source.fetch

    async def fetch_late(patience: float) -> Any:
        fetched = await fetch(patience)
        if fetched:
            fetched.assignment -= 1
        return fetched

    run.source.fetch = fetch_late  # type: ignore[method-assign]
    working = run.start()
    await until(lambda: run.faults.calls.count("source.fetch") > 20)
    assert run.worker.assignment.positions() == {PARTITION: 0, OTHER: 0}
    run.worker.stop()
    await working


async def test_a_revocation_while_states_are_loaded_is_answered():
    run = played()
    waiting = asyncio.Event()

    async def log_ranges(partitions: Any) -> Any:
        waiting.set()
        await asyncio.Event().wait()

    run.source.log_ranges = log_ranges  # type: ignore[method-assign]
    working = run.start()
    await waiting.wait()
    assert run.worker.activity == "state that is being loaded, or a format that gets a schema"
    await run.source.revoke()
    assert run.worker.tasks == []
    run.worker.stop()
    await working
    assert run.stored_offset() == -1


async def test_a_revocation_that_fails_ends_the_worker_and_lets_the_group_go_on():
    run = played()
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    run.faults.plant("store.save", MemoryError(), MemoryError("again"))
    await run.source.revoke()
    with pytest.raises(MemoryError, match="again"):
        await working
    assert run.stored_offset() == -1


async def test_a_revocation_that_comes_while_the_worker_fails_is_answered():
    class Revoked(Life):
        async def process(self, record, state, out):
            super().process(record, state, out)
            if record.offset == 3:
                revoking.append(asyncio.create_task(run.source.revoke()))
                for _ in range(5):
                    await asyncio.sleep(0)

    revoking: list[Any] = []
    run = played(processors=(Revoked,))
    run.source.values = {(PARTITION, 3): b"send"}
    run.faults.plant("sink.send", ConnectionError("the broker"))
    with pytest.raises(ConnectionError, match="the broker"):
        await run.worker.run()
    await revoking[0]
    assert run.stored_offset() == -1


async def test_a_commit_that_hangs_does_not_hold_up_the_group():
    run = played(limits=Limits(fetch_seconds=0.0, commit_seconds=0.001))

    async def commit(offsets: Any) -> None:
        await asyncio.Event().wait()

    run.source.commit = commit  # type: ignore[method-assign]
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    await run.source.revoke()
    assert run.stored_state() == {"key": 10}
    run.worker.stop()
    await working


class Hangs(Life):
    """Waits for `may_go` on record 3."""

    may_go: asyncio.Event

    async def process(self, record, state, out):
        super().process(record, state, out)
        if record.offset == 3:
            await self.may_go.wait()


async def test_a_plugin_that_does_not_return_is_given_up_on():
    Hangs.may_go = asyncio.Event()
    run = played(processors=(Hangs,), limits=Limits(fetch_seconds=0.0, revoke_seconds=0.0))
    working = run.start()
    await until(lambda: run.worker.applying)
    revoking = asyncio.create_task(run.source.revoke())
    await until(lambda: run.given_up)
    assert run.given_up[0] == (
        "partitions were revoked, but this worker still waits for plugin count, which is applying topic-0 from offset 0"
    )
    Hangs.may_go.set()
    await revoking
    run.worker.stop()
    await working
    assert_kept_promise(run)


async def test_a_store_or_a_broker_that_is_slow_is_not_given_up_on():
    run = played(interval=0.0, limits=Limits(fetch_seconds=0.0, revoke_seconds=0.0))
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 10})
    run.sink.may_flush.clear()
    run.source.logs[PARTITION] = LogRange(0, 20, "id")
    await until(lambda: run.worker.saving)
    assert "a checkpoint (the store" in run.worker.activity
    revoking = asyncio.create_task(run.source.revoke())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not revoking.done()
    run.sink.may_flush.set()
    await revoking
    assert run.given_up == []
    run.worker.stop()
    await working
    assert_kept_promise(run)


@pytest.mark.parametrize("when", ["amid a batch", "in a rewind"])
async def test_a_broker_that_is_slow_while_records_are_applied_is_not_given_up_on(when):
    limits = Limits(fetch_seconds=0.0, revoke_seconds=0.0, piece_outputs=1)
    run = played(limits=limits, on_error=SKIP, interval=0.0 if when == "in a rewind" else 1000.0)
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 5})
    if when == "in a rewind":
        run.sink.may_flush.clear()
        run.source.logs[PARTITION] = LogRange(0, 6, "id")
        await until(lambda: run.worker.saving)
        run.source.values = {(PARTITION, 7): b"bad"}
    else:
        run.sink.may_take.clear()
        run.source.values = {(PARTITION, 7): b"send"}
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    [task] = run.worker.tasks
    await until(lambda: task.status is TaskStatus.ASSIGNED or "sink.send" in run.faults.calls)
    revoking = asyncio.create_task(run.source.revoke())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not revoking.done()
    run.sink.may_flush.set()
    run.sink.may_take.set()
    await revoking
    assert run.given_up == []
    run.worker.stop()
    await working


async def test_who_is_told_after_the_end_waits_for_nothing():
    run = played()
    await run.run_to_end()
    await run.worker.on_revoked([PARTITION])
    run.worker.on_assigned({PARTITION: 3})
    run.worker.on_source_failed(ValueError())
    run.worker.stop()
    assert len(run.worker.tasks) == 1
    assert run.worker.tasks[0].view() == {"key": 10}


# ---- fencing


async def test_a_partition_that_somebody_else_has_is_an_error_where_the_group_does_not_say_so():
    run = played(interval=0.0)
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.stored_offset() == 4)
    run.own_store.claim([UNIT], lambda unit, stored: None)
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    with pytest.raises(FencedError, match="has claimed it"):
        await working
    assert run.stored_offset() == 4


async def test_a_stop_ends_with_an_error_where_something_else_wrote_the_state():
    run = played()
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.tasks and run.worker.tasks[0].position == 5)
    write_twice(run)
    run.worker.stop()
    with pytest.raises(StateConflictError, match="another program wrote"):
        await working
    assert run.stored_state() == {}


def write_twice(run: Played) -> None:
    """Save two more checkpoints under the epoch of the worker, so that its own version is none that is stored."""
    for _ in range(2):
        [stored] = run.own_store.stored()
        assert stored.description is not None
        checkpoint = Checkpoint(UNIT, stored.epoch, stored.version + 1, stored.progress, stored.description)
        assert run.own_store.save([checkpoint]) == [SAVED]


async def test_a_partition_that_somebody_else_has_is_forgotten_where_the_group_says_so():
    run = played(interval=0.0, patience=1000.0)
    run.source.logs |= {PARTITION: LogRange(0, 5, "id"), OTHER: LogRange(0, 5, "id")}
    working = run.start()
    await until(lambda: run.stored_offset() == run.stored_offset(partition=OTHER) == 4)
    run.own_store.claim([UNIT], lambda unit, stored: None)
    run.source.logs |= {PARTITION: LogRange(0, 10, "id"), OTHER: LogRange(0, 10, "id")}
    await until(lambda: run.stored_offset(partition=OTHER) == 9)
    assert [task.status for task in run.worker.tasks] == [TaskStatus.FAILED, TaskStatus.RUNNING]
    assert run.stored_offset() == 4
    await run.source.revoke()
    run.source.assign()
    run.worker.stop_when({PARTITION: 10, OTHER: 10})
    await working
    assert run.stored_state() == run.stored_state(partition=OTHER) == {"key": 10}


async def test_a_partition_that_is_lost_while_the_timers_of_another_fire_ends_nothing():
    class Rings(Count):
        """Its timers of one partition fire while somebody else claims the other one."""

        name = "count"

        def process(self, record, state, out):
            self.timers.set(record.offset, 0, wall=True)

        def on_timer(self, timer, state, out):
            state[timer.key] = "rang"
            if self.partition == PARTITION and timer.key == 0:
                run.own_store.claim([replace(UNIT, partition=OTHER.partition)], lambda unit, stored: None)

    limits = Limits(fetch_seconds=0.0, look_seconds=0.0, slice_seconds=-1.0)
    run = played(processors=[Rings], interval=0.0, patience=1000.0, limits=limits)
    run.source.logs |= {PARTITION: LogRange(0, 50, "id"), OTHER: LogRange(0, 50, "id")}
    working = run.start()
    await until(lambda: run.stored_state().get(49) == "rang")
    assert [task.status for task in run.worker.tasks] == [TaskStatus.RUNNING, TaskStatus.FAILED]
    run.worker.stop()
    await working


# ---- rewinds


async def test_a_rewind_waits_for_the_save_that_is_under_way():
    run = played(interval=0.0, on_error=SKIP)
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.stored_offset() == 4 and not run.worker.saving)
    run.sink.may_flush.clear()
    run.source.logs[PARTITION] = LogRange(0, 6, "id")
    await until(lambda: run.worker.saving)
    run.source.values = {(PARTITION, 7): b"bad"}
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    [task] = run.worker.tasks
    await until(lambda: task.status is TaskStatus.ASSIGNED)
    assert PARTITION not in run.source.flowing
    claims = run.faults.calls.count("store.claim")
    for _ in range(10):
        await asyncio.sleep(0)
    assert run.faults.calls.count("store.claim") == claims
    run.sink.may_flush.set()
    run.worker.stop_when({PARTITION: 10})
    await working
    assert run.stored_state() == {"key": 9}
    assert task.counts == Counts(9, 1)


async def test_a_rewind_of_a_unit_that_was_fenced_meanwhile_does_not_load():
    run = played(interval=0.0, on_error=SKIP, patience=1000.0)
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.stored_offset() == 4 and not run.worker.saving)
    run.sink.may_flush.clear()
    run.source.logs[PARTITION] = LogRange(0, 6, "id")
    await until(lambda: run.worker.saving)
    run.own_store.claim([UNIT], lambda unit, stored: None)
    run.source.values = {(PARTITION, 7): b"bad"}
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    [task] = run.worker.tasks
    await until(lambda: task.status is TaskStatus.ASSIGNED)
    run.sink.may_flush.set()
    await until(lambda: task.status is TaskStatus.FAILED)
    claims = run.faults.calls.count("store.claim")
    for _ in range(20):
        await asyncio.sleep(0)
    assert run.faults.calls.count("store.claim") == claims
    assert run.stored_offset() == 4
    run.worker.stop()
    await working


async def test_one_plugin_that_rewinds_does_not_make_another_count_twice():
    class Picky(Life):
        name = "picky"

        def process(self, record, state, out):
            if record.value == b"6":
                raise ValueError("not this one")
            super().process(record, state, out)

    run = played(processors=(Life, Picky), on_error=SKIP)
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}
    assert run.stored_state("picky") == {"key": 9}


# ---- the log has lost the position


async def test_a_position_that_the_log_has_lost_is_decided_on_after_a_checkpoint():
    run = played()
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 5})
    run.source.logs[PARTITION] = LogRange(8, 10, "id")
    run.faults.plant("source.fetch", OutOfRange([PARTITION]))
    with pytest.raises(OffsetOutOfRangeError, match="up to 3 records are gone"):
        await working
    assert run.stored_state() == {"key": 5}


async def test_a_position_that_the_log_has_after_all_is_gone_on_with(life):
    run = played()
    run.source.logs[PARTITION] = LogRange(0, 5, "id")
    working = run.start()
    await until(lambda: run.worker.assignment.positions() == {PARTITION: 5})
    run.faults.plant("source.fetch", OutOfRange([PARTITION]))
    run.source.logs[PARTITION] = LogRange(0, 10, "id")
    run.worker.stop_when({PARTITION: 10})
    await working
    assert run.stored_state() == {"key": 10}
    assert len(life.made) == 1


async def test_old_news_of_a_position_change_nothing():
    run = played()
    run.faults.plant("source.fetch", OutOfRange([PARTITION, OTHER]))
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}


# ---- leaving


async def test_a_coordinator_that_does_not_answer_does_not_hold_up_the_end(caplog):
    run = played(limits=Limits(fetch_seconds=0.0, leave_seconds=0.001))

    async def stop() -> None:
        run.faults.cross("source.stop")
        await asyncio.Event().wait()

    run.source.stop = stop  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "framework"):
        await run.run_to_end()
    assert "the group coordinator did not answer within" in caplog.text
    assert_left(run)


async def test_a_fetch_that_is_under_way_is_cancelled():
    run = played()
    cancelled = []

    async def fetch(patience: float) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    run.source.fetch = fetch  # type: ignore[method-assign]
    working = run.start()
    await until(lambda: run.worker.assignment.with_status(TaskStatus.RUNNING))
    run.worker.stop()
    await working
    assert cancelled


async def test_a_store_without_a_future_is_stored_into_all_the_same():
    faults = Faults()
    run = played(faults=faults, store=PlayedStore(faults, survives=False))
    await run.run_to_end()
    assert run.stored_state() == {"key": 10}
    assert "source.committed" not in faults.calls


async def test_outputs_that_are_refused_end_it():
    run = played()
    run.source.values = {(PARTITION, 3): b"send"}
    run.faults.plant("sink.send", OutputError("the broker refuses"))
    with pytest.raises(OutputError, match="the broker refuses"):
        await run.run_to_end()
    assert run.stored_offset() == -1


async def test_it_tells_what_it_is_at():
    run = played()
    assert (run.worker.tasks, run.worker.is_assigned, run.worker.saving) == ([], False, None)
    assert run.worker.activity == "the broker, or a plugin that is closing"
    await run.run_to_end()
