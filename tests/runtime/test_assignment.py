"""The assignment: tasks that come, go, and come back."""

from typing import Any

import pytest

from framework import Processor, TopicPartition, Unit
from framework.runtime.assignment import Assignment
from framework.runtime.counts import Counts
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import Claim
from tests.runtime.played import Clock, Count, breathe, captured, definition_of, make_batch, until

ONE, TWO, THREE = (TopicPartition("topic", number) for number in range(3))


class Closes(Count):
    closed: list[Processor] = []

    async def close(self):
        self.closed.append(self)


@pytest.fixture(autouse=True)
def closed() -> list[Processor]:
    Closes.closed.clear()
    return Closes.closed


@pytest.fixture
async def assignment() -> Assignment:
    return make_assignment()


def make_assignment(freed_at_once: int = 20_000) -> Assignment:
    return Assignment(
        "group",
        "cluster",
        [definition_of(Closes), definition_of(Closes, name="other")],
        Lifecycle(),
        clock=Clock(),
        limits=Limits(freed_at_once=freed_at_once),
    )


def give(assignment: Assignment, *partitions: TopicPartition) -> list[PartitionTask]:
    return [task for tasks in assignment.take_up(dict.fromkeys(partitions, 3)).values() for task in tasks]


def load(task: PartitionTask, data: dict[Any, Any] | None = None) -> None:
    task.move(TaskStatus.LOADING)
    task.load(Claim(1, None), {} if data is None else data)
    task.start_at(0)
    task.move(TaskStatus.SEEKING)
    task.move(TaskStatus.RUNNING)


def release(assignment: Assignment) -> None:
    for task in assignment.tasks:
        if task.status is TaskStatus.RUNNING:
            task.move(TaskStatus.DRAINING)
        task.move(TaskStatus.RELEASED)
    assignment.let_go()


async def test_nothing_is_known_before_the_group_tells(assignment):
    assert not assignment.is_known
    assert (assignment.tasks, assignment.of(ONE), assignment.positions()) == ([], [], {})
    assert give(assignment) == []
    assert assignment.is_known


async def test_each_partition_gets_a_task_of_each_processor(assignment):
    tasks = give(assignment, ONE, TWO)
    assert tasks == assignment.tasks
    assert [task.unit for task in tasks] == [
        Unit("group", name, *partition) for partition in (ONE, TWO) for name in ("count", "other")
    ]
    assert assignment.of(TWO) == tasks[2:]
    assert assignment.of(THREE) == []
    assert {(task.description.partitions, task.description.cluster_id) for task in tasks} == {(3, "cluster")}


async def test_tasks_by_status_and_how_far_all_have_come(assignment):
    first, second, *_ = give(assignment, ONE, TWO)
    load(first)
    load(second)
    await first.live.apply(make_batch(["a"] * 5), breathe)
    await second.live.apply(make_batch(["a"] * 3), breathe)
    assert assignment.with_status(TaskStatus.RUNNING) == [first, second]
    assert assignment.positions() == {ONE: 3}


async def test_a_task_that_comes_back_keeps_its_memory(assignment, closed):
    first, *_ = give(assignment, ONE, TWO)
    load(first, {"a": 1})
    release(assignment)
    assert not assignment.is_known
    assert assignment.tasks == []
    again = give(assignment, TWO, ONE)
    assert first in again
    assert (first.status, first.view()) == (TaskStatus.ASSIGNED, {"a": 1})
    await assignment.close()
    assert len(closed) == 1


async def test_a_task_that_comes_back_knows_how_many_partitions_there_are_now(assignment):
    first, *_ = give(assignment, ONE)
    release(assignment)
    assignment.take_up({ONE: 4})
    assert assignment.of(ONE)[0] is first
    assert first.description.partitions == 4


async def test_a_task_that_failed_comes_back_empty(assignment):
    first, *_ = give(assignment, ONE)
    load(first)
    first.fail()
    release(assignment)
    assert first in give(assignment, ONE)
    assert (first.status, first.applier) == (TaskStatus.ASSIGNED, None)


async def test_a_task_that_failed_after_it_was_released_comes_back_as_a_new_one(assignment):
    first, *_ = give(assignment, ONE)
    load(first)
    release(assignment)
    first.fail()
    [again, _] = give(assignment, ONE)
    assert again is not first
    assert again.status is TaskStatus.ASSIGNED


async def test_what_went_elsewhere_is_closed_at_once_and_freed_bit_by_bit(closed):
    assignment = make_assignment(freed_at_once=10)
    first, *_ = give(assignment, ONE)
    load(first, dict.fromkeys(map(str, range(100)), 1))
    table = first.live.memory.table
    release(assignment)
    give(assignment, TWO)
    assert first.applier is None
    sizes: list[int] = []

    def freed() -> bool:
        sizes.append(len(table))
        return not sizes[-1]

    await until(freed)
    assert len(sizes) > 5
    assert sizes == sorted(sizes, reverse=True)
    await until(lambda: len(closed) == 1)
    await assignment.close()
    assert len(closed) == 1


def stay(assignment: Assignment) -> None:
    return


def go_elsewhere(assignment: Assignment) -> None:
    release(assignment)
    give(assignment, THREE)


def go_in_part(assignment: Assignment) -> None:
    release(assignment)
    give(assignment, ONE)


@pytest.mark.parametrize("move", [stay, release, go_elsewhere, go_in_part])
async def test_closing_closes_every_processor_once(assignment, closed, move):
    tasks = give(assignment, ONE, TWO)
    for task in tasks:
        load(task, {"a": 1})
    processors = [task.live.memory.processor for task in tasks]
    move(assignment)
    await assignment.close()
    assert sorted(map(id, closed)) == sorted(map(id, processors))


async def test_states_can_still_be_viewed_when_all_is_closed(assignment):
    first, *_ = give(assignment, ONE)
    load(first)
    await first.live.apply(make_batch(["a"]), breathe)
    first.saved(await captured(first))
    await assignment.close()
    assert first.view() == {"a": 1}


async def test_what_was_applied_counts_also_after_it_went_elsewhere(assignment):
    first, other, *_ = give(assignment, ONE)
    for task in (first, other):
        load(task)
    await first.live.apply(make_batch(["a"] * 5), breathe)
    await other.live.apply(make_batch(["a"] * 3), breathe)
    assert assignment.counts == Counts(8)
    for task in (first, other):
        task.saved(await captured(task))
    release(assignment)
    assert assignment.counts == Counts(8)
    give(assignment, TWO)
    assert assignment.counts == Counts(8)
    release(assignment)
    give(assignment, ONE)
    assert assignment.counts == Counts(8)
    await assignment.close()


async def test_what_was_applied_but_never_stored_does_not_count_once_it_is_dropped(assignment):
    first, *_ = give(assignment, ONE)
    load(first)
    await first.live.apply(make_batch(["a"] * 5), breathe)
    first.fail()
    release(assignment)
    give(assignment, ONE)
    assert assignment.counts == Counts()
    await assignment.close()
