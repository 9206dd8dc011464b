"""The life of processors: made, opened, and always closed."""

import asyncio
import logging
from typing import Any

import pytest

from framework import PluginError, Processor
from framework.event_time import NO_EVENT_TIME
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.timers import UnitTimers
from tests.runtime.played import KINDS, UNIT, Count, definition_of, until


class Told(Count):
    """Tells what is called."""

    def __init__(self, options: Any, partition: Any) -> None:
        super().__init__(options, partition)
        self.calls: list[str] = []
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def open(self):
        self.calls.append("open")

    async def close(self):
        await self.may_close.wait()
        self.calls.append("close")


@pytest.fixture
async def lifecycle() -> Lifecycle:
    return Lifecycle()


def make(lifecycle: Lifecycle, processor: type[Processor] = Told) -> Any:
    return lifecycle.make(UNIT, definition_of(processor), UnitTimers(), NO_EVENT_TIME)


async def test_makes_with_options_and_partition(lifecycle):
    made = make(lifecycle)
    assert isinstance(made, Told)
    assert (made.options, made.partition) == (None, UNIT.topic_partition)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_constructor_that_fails_is_the_plugins_error(lifecycle, kind):
    class Fails(Count):
        def __init__(self, options: Any, partition: Any) -> None:
            raise kind

    with pytest.raises(PluginError, match=f"plugin count on topic-0 could not be made: {kind.__name__}"):
        make(lifecycle, Fails)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_open_that_fails_is_the_plugins_error_and_may_be_tried_again(lifecycle, kind):
    class Fails(Told):
        async def open(self):
            await super().open()
            if len(self.calls) == 1:
                raise kind

    made = make(lifecycle, Fails)
    name = "RuntimeError" if kind is StopIteration else kind.__name__
    with pytest.raises(PluginError, match=f"plugin count on topic-0 could not be opened: {name}"):
        await lifecycle.open(UNIT, made)
    await lifecycle.open(UNIT, made)
    assert made.calls == ["open", "open"]


async def test_interrupts_are_raised_on(lifecycle):
    class Interrupted(Count):
        async def open(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await lifecycle.open(UNIT, make(lifecycle, Interrupted))


async def test_opens_once(lifecycle):
    made = make(lifecycle)
    await lifecycle.open(UNIT, made)
    await lifecycle.open(UNIT, made)
    assert made.calls == ["open"]


async def test_closes_in_the_background_and_finish_waits_for_it(lifecycle):
    made = make(lifecycle)
    made.may_close.clear()
    lifecycle.retire(UNIT, made)
    finishing = asyncio.create_task(lifecycle.finish())
    await asyncio.sleep(0)
    assert not finishing.done()
    made.may_close.set()
    await finishing
    assert made.calls == ["close"]


async def test_the_next_one_is_opened_when_the_one_before_is_closed(lifecycle):
    first, second = make(lifecycle), make(lifecycle)
    first.may_close.clear()
    lifecycle.retire(UNIT, first)
    opening = asyncio.create_task(lifecycle.open(UNIT, second))
    await asyncio.sleep(0)
    assert second.calls == []
    first.may_close.set()
    await opening
    assert (first.calls, second.calls) == (["close"], ["open"])


async def test_those_of_a_unit_are_closed_in_order(lifecycle):
    first, second = make(lifecycle), make(lifecycle)
    first.may_close.clear()
    lifecycle.retire(UNIT, first)
    lifecycle.retire(UNIT, second)
    await asyncio.sleep(0)
    assert second.calls == []
    first.may_close.set()
    await lifecycle.finish()
    assert first.calls == second.calls == ["close"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_close_that_fails_is_logged_and_nothing_else(lifecycle, kind, caplog):
    class Fails(Told):
        async def close(self):
            raise kind

    first, second = make(lifecycle, Fails), make(lifecycle)
    with caplog.at_level(logging.ERROR, "framework"):
        lifecycle.retire(UNIT, first)
        lifecycle.retire(UNIT, second)
        await lifecycle.finish()
    name = "RuntimeError" if kind is StopIteration else kind.__name__
    assert f"plugin count on topic-0 failed to close: {name}" in caplog.text
    assert second.calls == ["close"]


async def test_who_waits_for_a_close_may_be_cancelled_and_the_close_goes_on(lifecycle):
    first, second = make(lifecycle), make(lifecycle)
    first.may_close.clear()
    lifecycle.retire(UNIT, first)
    opening = asyncio.create_task(lifecycle.open(UNIT, second))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    first.may_close.set()
    await until(lambda: first.calls)
    await lifecycle.finish()
    assert second.calls == []


async def test_a_close_that_never_returns_holds_up_the_next_open_and_the_end_alone(lifecycle):
    """The watchdog and the shutdown tell of it, and end it."""
    first, other = make(lifecycle), make(lifecycle)
    first.may_close.clear()
    lifecycle.retire(UNIT, first)
    another = lifecycle.open(UNIT.__class__("group", "other", "topic", 0), other)
    await another
    assert other.calls == ["open"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lifecycle.finish(), 0.001)
    first.may_close.set()
    await lifecycle.finish()
