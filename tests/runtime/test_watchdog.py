"""The watchdog: what it takes for a stall, what it says, and how it ends what does not go on."""

import asyncio
import logging
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from framework import StalledError, TopicPartition, Unit
from framework.runtime.ports import LogEnd
from framework.runtime.task import TaskStatus
from framework.runtime.watchdog import Sign, Stalls, Watchdog

PARTITION = TopicPartition("topic", 0)


@pytest.fixture(autouse=True)
def exits(monkeypatch) -> list[int]:
    """The statuses with which the process would have ended; on a busy machine it would in any test that stops."""
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)
    return statuses


@pytest.fixture(autouse=True)
def armed(monkeypatch) -> list[Any]:
    """How faulthandler was set; the real one would end the tests on a busy machine."""
    calls: list[Any] = []
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *args, **others: calls.append((args, others)))
    monkeypatch.setattr("faulthandler.cancel_dump_traceback_later", lambda: calls.append(None))
    return calls


def sign(progress: object, subject: str = "a") -> Sign:
    return Sign(subject, progress, f"{subject} at {progress}")


def reported(stalls: Stalls, *signs: Sign) -> list[tuple[object, int]]:
    due, _ = stalls.look(signs)
    return [(stall.sign.subject, stall.looks) for stall in due]


def test_a_stall_is_reported_again_after_as_long_a_time():
    stalls = Stalls(3)
    reports = [reported(stalls, sign(1)) for _ in range(8)]
    assert reports == [[], [], [], [("a", 3)], [], [], [("a", 6)], []]


def test_progress_starts_the_count_anew():
    stalls = Stalls(3)
    assert [reported(stalls, sign(at // 3)) for at in range(30)] == [[]] * 30


def test_each_subject_counts_for_itself():
    stalls = Stalls(2)
    reports = [reported(stalls, sign(1), sign(at, "b")) for at in range(3)]
    assert reports == [[], [], [("a", 2)]]


@pytest.mark.parametrize("after", [[sign(2)], []], ids=["progress", "gone"])
def test_a_stall_that_is_over_is_told_once(after):
    stalls = Stalls(2)
    for _ in range(4):
        stalls.look([sign(1)])
    _, over = stalls.look(after)
    assert [(stall.sign, stall.looks) for stall in over] == [(sign(1), 3)]
    assert stalls.look(after) == ([], [])


def test_what_was_away_begins_anew():
    stalls = Stalls(2)
    stalls.look([sign(1)])
    stalls.look([])
    assert [reported(stalls, sign(1)) for _ in range(3)] == [[], [], [("a", 2)]]


class Run(SimpleNamespace):
    """As much of worker, source and loader as the watchdog sees."""

    def __init__(self) -> None:
        super().__init__(
            tasks=[task()],
            is_assigned=True,
            applying=None,
            saving=None,
            steps=0,
            ends={},
            missing=[],
            dead=None,
            failed=asyncio.get_running_loop().create_future(),
        )

    def on_source_failed(self, error: BaseException) -> None:
        self.failed.set_result(error)

    def check(self) -> None:
        if self.dead is not None:
            raise self.dead

    def log_ends(self):
        return self.ends

    def missing_topics(self):
        return self.missing


def task(position: int | None = 5, status: TaskStatus = TaskStatus.RUNNING, plugin: str = "count") -> Any:
    return SimpleNamespace(
        unit=Unit("group", plugin, *PARTITION), partition=PARTITION, status=status, position=position, is_waiting=False
    )


def watching(run: Run, on_stall: Any = "warn", timeout: float = 0.04) -> Watchdog:
    return Watchdog(run, run, run, timeout=timeout, on_stall=on_stall)


async def until(caplog: pytest.LogCaptureFixture, text: str) -> str:
    async with asyncio.timeout(20):
        while True:
            for record in caplog.records:
                if text in record.getMessage():
                    return record.getMessage()
            await asyncio.sleep(0.005)


BEHIND = {PARTITION: LogEnd(100, 1)}


def behind(run: Run) -> None:
    run.ends = BEHIND


def silent(run: Run) -> None:
    run.ends = {PARTITION: LogEnd(5, 1)}


def unknown(run: Run) -> None:
    run.ends = {}


def loading(run: Run) -> None:
    run.tasks = [task(None, TaskStatus.LOADING)]


def unassigned(run: Run) -> None:
    run.tasks, run.is_assigned = [], False


def missing(run: Run) -> None:
    run.tasks, run.missing = [], ["topic"]


def saving(run: Run) -> None:
    run.tasks, run.saving = [], object()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (behind, "count on topic-0 (group group): running at offset 5, the log ends at 100"),
        (silent, "running at offset 5, the log's end at the last answer of its broker"),
        (unknown, "its broker does not answer"),
        (loading, "loading at offset None"),
        (unassigned, "the group coordinator has not assigned any partitions yet"),
        (missing, "the broker has no topic topic"),
        (saving, "a checkpoint waits for the store"),
    ],
)
async def test_what_makes_no_progress_is_named(caplog, fault, message):
    run = Run()
    fault(run)
    async with watching(run):
        assert message in await until(caplog, "no progress for ")
    assert not run.failed.done()


async def test_what_is_at_the_end_while_its_broker_answers_is_well(caplog):
    run = Run()
    async with watching(run):
        for at in range(60):
            run.ends = {PARTITION: LogEnd(5, at)}
            await asyncio.sleep(0.004)
    assert "no progress" not in caplog.text


@pytest.mark.parametrize("how", ["position", "steps", "saves"])
async def test_what_goes_on_slowly_is_well(caplog, how):
    run = Run()
    behind(run)
    async with watching(run):
        for at in range(60):
            if how == "position":
                run.tasks[0].position = at
            elif how == "steps":
                run.tasks, run.steps = [task(None, TaskStatus.LOADING)], at
            else:
                run.tasks, run.saving = [], object()
            await asyncio.sleep(0.004)
    assert "no progress" not in caplog.text


async def test_waiting_for_a_retry_is_well(caplog):
    run = Run()
    behind(run)
    run.tasks[0].is_waiting = True
    async with watching(run):
        await asyncio.sleep(0.2)
        assert "no progress" not in caplog.text
        run.tasks[0].is_waiting = False
        await until(caplog, "no progress for ")


async def test_going_on_is_told(caplog):
    caplog.set_level(logging.INFO)
    run = Run()
    behind(run)
    async with watching(run):
        await until(caplog, "no progress for ")
        run.tasks[0].position = 6
        assert "count on topic-0" in await until(caplog, "progress again after")


async def test_many_stalls_are_one_message(caplog):
    run = Run()
    run.tasks = [task(plugin=f"plugin{number}") for number in range(1000)]
    run.applying = run.tasks[7]
    behind(run)
    async with watching(run):
        message = await until(caplog, "no progress for ")
    assert message.count("running at offset 5") == 5
    assert "and 995 more; plugin plugin7 is applying topic-0" in message


async def test_stop_ends_the_worker(caplog):
    run = Run()
    behind(run)
    async with watching(run, "stop"):
        error = await run.failed
    assert isinstance(error, StalledError)
    assert "running at offset 5, the log ends at 100" in str(error)


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
async def test_a_dead_consumer_ends_the_worker_in_any_case(on_stall):
    run = Run()
    run.dead = StalledError("the consumer's fetching has ended")
    async with watching(run, on_stall):
        assert await run.failed is run.dead


async def test_a_worker_that_does_not_end_is_ended(caplog, exits):
    run = Run()
    behind(run)
    async with watching(run, "stop"):
        await until(caplog, "the run does not end: ending the process without a last checkpoint")
    assert exits[0] == 1


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
async def test_a_loop_that_does_not_turn_is_reported_with_its_stack(caplog, exits, on_stall):
    run = Run()
    run.applying = run.tasks[0]
    async with watching(run, on_stall):
        await asyncio.sleep(0)
        never_give_a_turn(caplog)
    [message] = {
        record.getMessage().partition(" for ")[0] for record in caplog.records if "blocked for" in record.message
    }
    assert message == "the event loop has been blocked"
    assert "plugin count is applying topic-0 from offset 5. Stack of its thread:" in caplog.text
    assert "in never_give_a_turn" in caplog.text
    assert bool(exits) == (on_stall == "stop")
    assert ("the event loop is blocked: ending the process" in caplog.text) == (on_stall == "stop")


def never_give_a_turn(caplog: pytest.LogCaptureFixture) -> None:
    deadline = time.monotonic() + 20
    while "Stack of its thread" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
async def test_where_no_thread_gets_a_turn_faulthandler_does(armed, on_stall):
    run = Run()
    async with watching(run, on_stall):
        for _ in range(1000):
            if len(armed) > 2:
                break
            await asyncio.sleep(0.005)
    *arms, last = armed
    assert len(arms) > 2
    assert all(arm == ((0.08,), {"exit": on_stall == "stop", "file": sys.__stderr__}) for arm in arms)
    assert last is None
