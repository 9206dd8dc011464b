"""The failure log: every failed record is counted in a warning, and no second has more than one."""

import heapq
from collections.abc import Callable
from itertools import count

import pytest

from framework import ProcessingError, RecordError, TopicPartition
from framework.runtime.failure_log import FailureLog

ONE, TWO = TopicPartition("orders", 0), TopicPartition("orders", 1)


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """An event loop's timers, which go off as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = count()
        self._due: list[tuple[float, int, Timer, Callable[[], None]]] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), timer, call))
        return timer

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            self.now, _, timer, call = heapq.heappop(self._due)
            if not timer.cancelled:
                call()
        self.now = until

    @property
    def waits(self) -> bool:
        return any(not timer.cancelled for _, _, timer, _ in self._due)


def errors(*offsets: int) -> dict[int, ProcessingError]:
    return {offset: RecordError(f"no good: {offset}") for offset in offsets}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failures(clock) -> FailureLog:
    return FailureLog("skipped", clock.call_later)


def test_the_first_failure_is_told_at_once(failures, caplog):
    failures.add(ONE, errors(7))
    assert caplog.messages == ["1 record of orders-0 skipped; the first: no good: 7"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_follows_within_a_second_is_summed_up_with_its_first_error(failures, clock, caplog):
    failures.add(ONE, errors(7))
    failures.add(TWO, errors(1, 2))
    clock.advance(0.9)
    failures.add(ONE, errors(8))
    assert len(caplog.messages) == 1
    clock.advance(0.1)
    assert caplog.messages[1:] == ["3 records of orders-0, orders-1 skipped; the first: no good: 1"]


def test_a_flood_is_one_warning_a_second_and_every_record_is_counted(failures, clock, caplog):
    for number in range(1000):
        failures.add(ONE, errors(number, number + 1))
        clock.advance(0.01)
    failures.close()
    assert 10 <= len(caplog.messages) <= 12
    assert sum(int(message.split()[0]) for message in caplog.messages) == 2000


def test_the_last_sum_is_told_at_the_end(failures, clock, caplog):
    failures.add(ONE, errors(7))
    failures.add(ONE, errors(8))
    failures.close()
    assert caplog.messages[1:] == ["1 record of orders-0 skipped; the first: no good: 8"]
    assert not clock.waits
    clock.advance(10)
    assert len(caplog.messages) == 2


def test_after_a_quiet_second_nothing_is_told_and_the_next_failure_is_told_at_once(failures, clock, caplog):
    failures.add(ONE, errors(7))
    clock.advance(5)
    assert len(caplog.messages) == 1
    assert not clock.waits
    failures.add(ONE, errors(8))
    assert len(caplog.messages) == 2


def test_without_failures_the_end_says_nothing(failures, caplog):
    failures.close()
    assert caplog.messages == []


def test_many_partitions_are_counted_not_named(failures, clock, caplog):
    failures.add(ONE, errors(7))
    for number in range(5):
        failures.add(TopicPartition("orders", number), errors(1))
    failures.close()
    assert caplog.messages[1:] == ["5 records of 5 partitions skipped; the first: no good: 1"]
