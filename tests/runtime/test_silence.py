"""A partition is silent if the broker says so, after that long."""

from framework.runtime.ports import LogEnd
from framework.runtime.silence import Silence
from tests.runtime.played import Clock


def test_it_has_lasted_once_an_answer_comes_after_these_seconds() -> None:
    clock = Clock()
    silence = Silence(clock)
    assert not silence.has_lasted(5, 7, LogEnd(7, 1))
    clock.now += 5
    assert not silence.has_lasted(5, 7, LogEnd(7, 2))  # the answer may be from before
    assert not silence.has_lasted(5, 7, LogEnd(7, 2))
    assert silence.has_lasted(5, 7, LogEnd(7, 3))
    assert silence.has_lasted(5, 7, LogEnd(7, 3))


def test_a_record_ends_it() -> None:
    clock = Clock()
    silence = Silence(clock)
    silence.has_lasted(5, 7, LogEnd(7, 1))
    clock.now += 5
    silence.has_lasted(5, 7, LogEnd(7, 2))
    assert not silence.has_lasted(5, 7, LogEnd(8, 3))
    assert not silence.has_lasted(5, 8, LogEnd(8, 4))
    clock.now += 4.9
    assert not silence.has_lasted(5, 8, LogEnd(8, 5))


def test_without_an_answer_or_a_position_it_has_not_lasted() -> None:
    clock = Clock()
    silence = Silence(clock)
    for position, end in ((7, None), (None, LogEnd(7, 1)), (None, LogEnd(7, 2))):
        clock.now += 100
        assert not silence.has_lasted(5, position, end)
