"""The figures of a run, read from an assignment at work."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from framework import TopicPartition
from framework.runtime.assignment import Assignment
from framework.runtime.figures import Figures, Summary, read_figures
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.ports import LogEnd
from framework.runtime.saver import Saver
from framework.stores import Claim
from tests.runtime.played import Clock, breathe, definition_of, make_batch, running

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)


@pytest.fixture
async def assignment() -> Assignment:
    definitions = [definition_of(), definition_of(name="other")]
    return Assignment("group", "cluster", definitions, Lifecycle(), clock=Clock(), limits=Limits())


def read(
    assignment: Assignment,
    ends: Mapping[TopicPartition, int] | None = None,
    saved_at: float | None = None,
    **named: Any,
) -> Figures:
    named = {"loaded": None, "session_timeout": 10.0, **named}
    saver = cast(Saver, SimpleNamespace(last_saved=saved_at))
    return read_figures(
        assignment, saver, lambda: {each: LogEnd(end, 0.0) for each, end in (ends or {}).items()}, **named
    )


async def test_before_the_group_has_told_nothing_is_assigned(assignment):
    figures = read(assignment)
    assert (figures.is_assigned, figures.partitions, figures.applied, figures.failed) == (False, 0, 0, 0)


async def test_they_tell_how_far_the_slowest_plugin_is(assignment):
    [[first, other], [third, fourth]] = assignment.take_up({ONE: 2, TWO: 2}).values()
    for task in (first, other, third, fourth):
        running(task, Claim(1, None))
    await first.live.apply(make_batch(["a"] * 5), breathe)
    await other.live.apply(make_batch(["a"] * 3), breathe)
    before = asyncio.get_running_loop().time()
    figures = read(assignment, {ONE: 10, TWO: 7}, saved_at=1.5)
    assert before <= figures.at <= asyncio.get_running_loop().time()
    assert figures == Figures(
        at=figures.at,
        applied=8,
        failed=0,
        late=0,
        failed_timers=0,
        is_assigned=True,
        partitions=2,
        loading=0,
        loaded=None,
        lag=(10 - 3) + 7,
        saved_at=1.5,
        session_timeout=10.0,
    )


async def test_a_log_whose_end_is_not_known_makes_the_lag_unknown(assignment):
    for tasks in assignment.take_up({ONE: 2, TWO: 2}).values():
        for task in tasks:
            running(task, Claim(1, None))
    assert read(assignment, {ONE: 10}).lag is None


async def test_an_end_that_was_told_before_the_last_records_came_makes_no_negative_lag(assignment):
    [[task, other]] = assignment.take_up({ONE: 2}).values()
    for each in (task, other):
        running(each, Claim(1, None))
        await each.live.apply(make_batch(["a"] * 5), breathe)
    assert read(assignment, {ONE: 4}).lag == 0


async def test_partitions_whose_state_is_loaded_are_counted(assignment):
    [[first, _], _] = assignment.take_up({ONE: 2, TWO: 2}).values()
    running(first, Claim(1, None))
    figures = read(assignment, {ONE: 10, TWO: 10}, loaded=(3, 4))
    assert (figures.partitions, figures.loading, figures.lag, figures.loaded) == (2, 2, None, (3, 4))


def test_a_summary_gives_the_rate_over_the_whole_run():
    assert Summary(300, 0, 2.0, 1, 1).records_per_second == 150
    assert Summary(0, 0, 0.0, None, None).records_per_second == 0
