import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from framework.testing.simulation.history import SimulationError
from framework.testing.simulation.loop import SimulatedLoop


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    yield loop
    loop.close()


def start(loop, lane, coroutine):
    return loop.run_in(lane, loop.create_task, coroutine)


def test_the_clock_leaps_to_the_next_timer(loop):
    async def sleep():
        await asyncio.sleep(1000)
        return loop.time()

    task = start(loop, loop.new_lane("a"), sleep())
    assert loop.advance(100) < 100
    assert task.result() == loop.time() == 1000


def test_advance_goes_no_further_than_it_is_told(loop):
    seen: list[object] = []
    for number in range(5):
        loop.call_soon(seen.append, number)
    loop.call_later(1, seen.append, "later")
    assert loop.advance(3) == 3
    assert seen == [0, 1, 2]
    assert loop.advance(10, until=0.5) == 2
    assert loop.advance(10) == 1
    assert seen == [0, 1, 2, 3, 4, "later"]


def order(seed: int) -> list[str]:
    loop = SimulatedLoop(Random(seed))
    seen: list[str] = []
    lanes = [loop.new_lane(name) for name in "abc"]
    for number in range(4):
        for lane in lanes:
            loop.run_in(lane, loop.call_soon, seen.append, f"{lane.name}{number}")
    loop.advance(100)
    loop.close()
    return seen


def test_lanes_take_turns_at_random_and_each_keeps_its_order():
    orders = [order(seed) for seed in range(20)]
    assert len(set(map(tuple, orders))) > 10
    assert orders == [order(seed) for seed in range(20)]
    for seen in orders:
        for name in "abc":
            assert [each for each in seen if each[0] == name] == [f"{name}{number}" for number in range(4)]


def test_a_frozen_lane_waits_while_the_clock_goes_on(loop):
    async def tick(seen: list[float]) -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            seen.append(loop.time())

    frozen, other = loop.new_lane("frozen"), loop.new_lane("other")
    late: list[float] = []
    start(loop, frozen, tick(late))
    start(loop, other, tick([]))
    loop.freeze(frozen)
    loop.advance(100)
    assert (late, loop.time()) == ([], 3)
    loop.thaw(frozen)
    loop.advance(100)
    assert late == [4, 5, 6]


def test_a_killed_lane_runs_nothing_more_before_the_loop_is_closed(loop):
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            ended.append(loop.closing)

    lane = loop.new_lane("killed")
    start(loop, lane, work())
    loop.advance(1)
    loop.kill(lane)
    loop.advance(100)
    assert ended == []
    loop.close()
    assert ended == [True]


def test_tasks_stay_in_the_lane_that_started_them(loop):
    seen = []

    async def child() -> None:
        await asyncio.sleep(0)
        seen.append(loop.lane.name)

    async def parent() -> None:
        await asyncio.create_task(child())
        loop.in_world(1, lambda: seen.append(loop.lane.name))

    start(loop, loop.new_lane("a"), parent())
    loop.advance(100)
    assert seen == ["a", "kafka"]


def test_running_in_circles_is_found(loop):
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0)

    start(loop, loop.new_lane("dizzy"), spin())
    with pytest.raises(SimulationError, match="dizzy runs in circles"):
        loop.advance(1_000_000)
    loop.close()


def test_what_callbacks_raise_is_kept(loop):
    loop.call_soon(int, "x")
    loop.advance(1)
    assert "invalid literal" in loop.errors[0]


def test_there_are_no_threads(loop):
    with pytest.raises(NotImplementedError):
        loop.run_in_executor(None, print)
