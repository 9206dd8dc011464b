"""The queue of timers, against a sorted list; and its size, if timers are replaced again and again."""

import tracemalloc
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framework.runtime.timer_queue import TimerEntry, TimerQueue
from framework.runtime.timers import UnitTimers

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("delete"), KEYS, st.just(0)),
        st.tuples(st.just("take"), st.just(""), st.just(0)),
    ),
    max_size=80,
)


class Queued:
    """A timer for each key, with a queue."""

    def __init__(self, spare: int) -> None:
        self.timers: dict[Any, TimerEntry] = {}
        self.queue = TimerQueue(lambda entry: self.timers.get(entry[4]) != entry, spare=spare)
        self.numbers = count()

    def set(self, key: Any, time: int) -> None:
        number = next(self.numbers)
        self.timers[key] = entry = (time, "", number, number, key)
        self.queue.push(entry)
        self.queue.tidy(len(self.timers))

    def take(self) -> TimerEntry | None:
        while (entry := self.queue.first()) is not None:
            assert self.queue.pop() == entry
            if self.timers.get(entry[4]) == entry:
                return self.timers.pop(entry[4])
        return None


@given(steps=STEPS, spare=st.integers(0, 5))
def test_timers_leave_in_order_whatever_was_replaced(steps: list[tuple[str, str, int]], spare: int) -> None:
    queued = Queued(spare)
    for action, key, time in [*steps, *[("take", "", 0)] * len(steps)]:
        match action:
            case "set":
                queued.set(key, time)
            case "delete":
                queued.timers.pop(key, None)
            case _:
                expected = min(queued.timers.values(), default=None)
                assert queued.take() == expected
    assert len(queued.queue) == 0


def test_the_size_is_bounded_by_the_timers_that_are_set() -> None:
    queued = Queued(spare=100)
    largest = 0
    for step in range(20_000):
        queued.set(step % 50, step)
        largest = max(largest, len(queued.queue))
    assert largest < 2 * (4 * 50 + 100)


def test_a_timer_that_each_record_sets_anew_takes_the_memory_of_one() -> None:
    timers = UnitTimers()
    tracemalloc.start()
    try:
        for time in range(30_000):
            timers.set("a", time)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
    assert timers.next_time(wall=False) == 29_999
