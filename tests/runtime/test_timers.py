"""The timers of a unit, against a plain model: their order, undo, and a load from the stored table."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from framework import Timer, UsageError
from framework.event_time import EARLIEST, LATEST
from framework.runtime.timers import UnitTimers, stored_timers

KEYS = st.sampled_from(["a", "b", None, 1, ("a", 2)])
NAMES = st.sampled_from(["", "x", "y"])
TIMES = st.integers(0, 9)


def taken(timers: UnitTimers, until: int, *, wall: bool = False) -> list[Timer]:
    found = []
    while timers.is_due(until, wall=wall):
        found.append(timers.take(wall=wall))
    return found


def loaded(timers: UnitTimers) -> UnitTimers:
    """As a restart has them. The order of the keys is not kept."""
    timers.store_counters()
    data = dict(reversed(deepcopy(dict(timers.table.view())).items()))
    again, entries = UnitTimers(data), iter(list(data.items()))
    while again.index(entries, 2):
        pass
    return again


def test_they_fire_by_time_then_name_then_order_of_setting() -> None:
    timers = UnitTimers()
    for key, time, name in [("late", 9, ""), ("c", 5, "b"), ("b", 5, ""), ("a", 5, ""), ("d", 1, "z")]:
        timers.set(key, time, name=name)
    assert [timer.key for timer in taken(timers, 5)] == ["d", "b", "a", "c"]
    assert timers.next_time(wall=False) == 9
    assert timers.fired == 4


def test_a_timer_that_is_set_again_is_replaced_whole() -> None:
    timers = UnitTimers()
    timers.set("a", 5)
    timers.set("b", 3)
    timers.set("a", 3)
    assert timers.get("a") == 3
    assert [timer.key for timer in taken(timers, 9)] == ["b", "a"]
    timers.set("a", 1)
    timers.set("a", 2, wall=True)
    assert taken(timers, 9) == []
    assert taken(timers, 9, wall=True) == [Timer("a", "", 2, True)]


def test_a_timer_that_is_deleted_does_not_fire() -> None:
    timers = UnitTimers()
    timers.set("a", 5)
    timers.set("a", 6, name="x")
    timers.delete("a")
    timers.delete("nobody")
    assert timers.get("a") is None
    assert taken(timers, 9) == [Timer("a", "x", 6, False)]


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (("a", 1.5), TypeError, "is an integer, in milliseconds"),
        (("a", "1"), TypeError, "is an integer"),
        (("a", None), TypeError, "is an integer"),
        (("a", LATEST + 1), ValueError, "beyond the years"),
        (("a", EARLIEST - 1), ValueError, "beyond the years"),
        (([], 1), TypeError, "unhashable"),
        ((float("nan"), 1), ValueError, "NaN"),
    ],
)
def test_a_timer_that_cannot_be_set_is_refused(arguments: Any, error: type[Exception], reason: str) -> None:
    timers = UnitTimers()
    with pytest.raises(error, match=reason):
        timers.set(*arguments)
    with pytest.raises(TypeError, match="name of a timer is a str"):
        timers.set("a", 1, name=1)  # type: ignore[arg-type]
    assert not len(timers)
    assert not timers.is_due(LATEST, wall=False)


def test_a_processor_without_on_timer_can_set_none() -> None:
    with pytest.raises(UsageError, match="needs the method on_timer"):
        UnitTimers(can_fire=False).set("a", 1)


def test_a_time_that_has_come_already_waits_for_the_next_step() -> None:
    timers = UnitTimers(event_time=100)
    timers.set("a", 40)
    timers.set("b", 101)
    timers.set("c", 40, wall=True)
    assert (timers.get("a"), timers.get("b"), timers.get("c")) == (101, 101, 40)
    assert not timers.is_due(100, wall=False)
    assert [timer.key for timer in taken(timers, 101)] == ["a", "b"]


def test_keys_are_never_compared_also_after_undo() -> None:
    timers = UnitTimers()
    timers.begin_undo()
    timers.set(None, 5)
    timers.undo()
    timers.set("a", 5)
    timers.set(1, 5)
    assert [timer.key for timer in taken(timers, 5)] == ["a", 1]


class TimersAgainstAModel(RuleBasedStateMachine):
    """Each step is done by the timers and by a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = UnitTimers()
        self.model: dict[Any, tuple[int, int, bool]] = {}
        self.number = 0
        self.before: Any = None

    @rule(key=KEYS, name=NAMES, time=TIMES, wall=st.booleans())
    def set(self, key: Any, name: str, time: int, wall: bool) -> None:
        self.timers.set(key, time, name=name, wall=wall)
        self.number += 1
        self.model[key, name] = (time, self.number, wall)

    @rule(key=KEYS, name=NAMES)
    def delete(self, key: Any, name: str) -> None:
        self.timers.delete(key, name=name)
        self.model.pop((key, name), None)

    @rule(until=TIMES, most=st.integers(1, 3), wall=st.booleans())
    def fire(self, until: int, most: int, wall: bool) -> None:
        for _ in range(most):
            due = sorted(
                (time, name, number, repr(key), key)
                for (key, name), (time, number, is_wall) in self.model.items()
                if is_wall == wall and time <= until
            )
            assert self.timers.is_due(until, wall=wall) == bool(due)
            if not due:
                return
            time, name, _, _, key = due[0]
            assert self.timers.take(wall=wall) == Timer(key, name, time, wall)
            del self.model[key, name]

    @rule()
    def begin(self) -> None:
        self.timers.begin_undo()
        self.before = (dict(self.model), self.number, self.timers.fired)

    @rule()
    def keep(self) -> None:
        self.timers.end_undo()
        self.before = None

    @rule()
    def undo(self) -> None:
        if self.before is not None:
            self.timers.undo()
            self.model, self.number, fired = self.before
            assert self.timers.fired == fired
            self.before = None

    @rule()
    def restart(self) -> None:
        if self.before is None:
            self.timers = loaded(self.timers)

    @invariant()
    def are_the_same(self) -> None:
        expected = {Timer(key, name, time, wall) for (key, name), (time, _, wall) in self.model.items()}
        assert set(self.timers) == expected
        assert set(stored_timers(self.timers.table.view().items())) == expected
        assert len(self.timers) == len(self.model)
        for (key, name), (time, _, _) in self.model.items():
            assert self.timers.get(key, name=name) == time


TestTimersAgainstAModel = TimersAgainstAModel.TestCase
TestTimersAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
