"""The ending: is everything that the topics held stored?"""

import asyncio
import logging
from typing import Any

import pytest

from framework import TopicPartition, Unit
from framework.runtime.assignment import Assignment
from framework.runtime.ending import Ending
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.saver import Saver
from framework.runtime.task import TaskStatus
from tests.runtime.played import (
    DESCRIPTION,
    Clock,
    PlayedSink,
    PlayedSource,
    PlayedStore,
    breathe,
    definition_of,
    make_batch,
    make_task,
    observers_of,
    run_io,
    running,
)

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)


class Rig:
    """An ending over partition 0, where others have partition 1."""

    def __init__(self, *, survives: bool = True, look_seconds: float = 0.0) -> None:
        limits = Limits(look_seconds=look_seconds)
        self.store = PlayedStore(survives=survives)
        self.assignment = Assignment("group", "cluster", [definition_of()], Lifecycle(), clock=Clock(), limits=limits)
        saver = Saver(
            self.assignment,
            source=PlayedSource(),
            sink=PlayedSink(),
            store=self.store,
            run_io=run_io,
            observers=observers_of(),
            interval=1000.0,
            limits=limits,
            on_fenced=lambda task, error: pytest.fail("it was fenced"),
        )
        self.ending = Ending(self.assignment, saver, store=self.store, run_io=run_io, limits=limits)

    def assign(self, *partitions: TopicPartition) -> Any:
        [tasks] = self.assignment.take_up(dict.fromkeys(partitions, 3)).values()
        [claim] = self.store.claim([tasks[0].unit], lambda unit, stored: None)
        return running(tasks[0], claim)

    async def others_store(self, records: int) -> None:
        """Another worker stores that many records of partition 1."""
        task = make_task(partition=TWO, description=DESCRIPTION)
        [claim] = self.store.claim([Unit("group", "count", *TWO)], lambda unit, stored: None)
        running(task, claim)
        await task.live.apply(make_batch(["a"] * records, partition=TWO), breathe)
        checkpoint = await task.capture()
        assert checkpoint is not None
        assert self.store.save([checkpoint])[0].is_stored


async def test_there_is_no_end_before_it_is_told_and_before_the_group_tells():
    rig = Rig()
    assert not await rig.ending.is_reached()
    rig.ending.expect({})
    assert not await rig.ending.is_reached()
    rig.assignment.take_up({})
    assert await rig.ending.is_reached()


async def test_it_is_reached_when_all_is_applied_and_then_stored():
    rig = Rig()
    rig.ending.expect({ONE: 3})
    task = rig.assign(ONE)
    await task.live.apply(make_batch(["a"] * 2), breathe)
    assert not await rig.ending.is_reached()
    assert rig.store.saved == []
    await task.live.apply(make_batch(["a"], at=2), breathe)
    assert await rig.ending.is_reached()
    assert task.stored.position == 3
    assert await rig.ending.is_reached()
    assert len(rig.store.saved) == 1


async def test_a_partition_that_is_not_named_has_no_records():
    rig = Rig()
    rig.ending.expect({})
    rig.assign(ONE)
    assert await rig.ending.is_reached()


@pytest.mark.parametrize("status", [TaskStatus.LOADING, TaskStatus.SEEKING, TaskStatus.FAILED])
async def test_a_task_that_does_not_run_has_not_come_to_its_end(status):
    rig = Rig()
    rig.ending.expect({ONE: 0})
    rig.assign(ONE).status = status
    assert not await rig.ending.is_reached()


async def test_other_workers_are_waited_for(caplog):
    rig = Rig()
    rig.ending.expect({ONE: 0, TWO: 3})
    rig.assign(ONE)
    with caplog.at_level(logging.INFO, "framework"):
        assert not await rig.ending.is_reached()
        assert not await rig.ending.is_reached()
    assert [text for text in caplog.messages if "waiting" in text] == [
        "all partitions of this worker are stored up to their end; waiting for those of other workers: topic-1"
    ]
    await rig.others_store(2)
    assert not await rig.ending.is_reached()
    await rig.others_store(3)
    await reached(rig.ending)


async def reached(ending: Ending) -> None:
    """Ask until the end is reached: after a look that took long, the next one is put off."""
    async with asyncio.timeout(20):
        while not await ending.is_reached():  # noqa: ASYNC110 - nobody tells when it is
            await asyncio.sleep(0)


async def test_what_others_keep_in_their_memory_is_not_waited_for():
    rig = Rig(survives=False)
    rig.ending.expect({ONE: 0, TWO: 3})
    rig.assign(ONE)
    assert await rig.ending.is_reached()


async def test_the_store_is_not_looked_at_all_the_time():
    rig = Rig(look_seconds=1000.0)
    rig.ending.expect({TWO: 3})
    rig.assignment.take_up({})
    for _ in range(5):
        assert not await rig.ending.is_reached()
        await asyncio.sleep(0)
    assert rig.store.faults.calls.count("store.stored") == 1
