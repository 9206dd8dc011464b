"""Observers are told; whatever they raise changes nothing."""

import asyncio
import logging
from typing import Any

import pluggy
import pytest

from framework import TopicPartition, hookimpl, hookspecs
from framework.observers import Observers

ORDERS = TopicPartition("orders", 3)
ASSIGNED: dict[str, Any] = {"plugin": "keycount", "partition": ORDERS, "last_offset": -1, "epoch": 7}


class Watching:
    """A plugin whose observers note what they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    @hookimpl
    def framework_assigned(self, plugin: str, epoch: int) -> None:
        self.told.append((plugin, epoch))

    @hookimpl
    def framework_released(self, last_offset: int) -> None:
        self.told.append(last_offset)

    @hookimpl
    def framework_checkpoint_saved(self, changes: int) -> None:
        self.told.append(changes)

    @hookimpl
    def framework_records_failed(self, errors: Any, on_error: str) -> None:
        self.told.append((errors, on_error))

    @hookimpl
    def framework_records_late(self, offsets: Any) -> None:
        self.told.append(offsets)

    @hookimpl
    def framework_gap(self, partition: TopicPartition, first: int, stop: int) -> None:
        self.told.append((partition, first, stop))


class Raising:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def framework_assigned(self) -> None:
        raise self.error


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def observers(**plugins: Any) -> Observers:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    return Observers(manager)


def test_each_observer_is_told_what_it_asks_for():
    watching = Watching()
    all_of_them = observers(watching=watching)
    unit: Any = {"plugin": "keycount", "partition": ORDERS}
    all_of_them.assigned(**unit, last_offset=-1, epoch=7)
    all_of_them.released(**unit, last_offset=5)
    all_of_them.checkpoint_saved(**unit, last_offset=5, changes=2)
    all_of_them.records_failed(**unit, errors={}, on_error="skip")
    all_of_them.records_late(**unit, offsets=[3, 5])
    all_of_them.gap(**unit, first=3, stop=5)
    assert watching.told == [("keycount", 7), 5, 2, ({}, "skip"), [3, 5], (("orders", 3), 3, 5)]


def test_every_hook_that_observes_can_be_called():
    hooks = {name.removeprefix("framework_") for name in vars(hookspecs) if name.startswith("framework_")}
    assert set(vars(observers())) == hooks - {"processors", "codecs", "stores", "formats"}


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no say"), MemoryError(), AssertionError(), SystemExit(0), asyncio.CancelledError(), GeneratorExit(),
        BaseException(), StopIteration(), UnprintableError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("debug", [False, True])
def test_whatever_one_raises_is_logged_and_the_others_are_told(caplog, error, debug):
    caplog.set_level(logging.DEBUG if debug else logging.INFO, "framework")
    first, last = Watching(), Watching()
    observers(first=first, raising=Raising(error), last=last).assigned(**ASSIGNED)
    assert first.told == last.told == [("keycount", 7)]
    told, *traceback = caplog.messages
    assert "observer framework_assigned of plugin raising failed: " in told
    assert type(error).__name__ in told
    assert len(traceback) == debug
    assert all("in framework_assigned" in text for text in traceback)


async def test_a_cancelled_error_of_an_observer_changes_nothing_also_where_the_task_is_being_cancelled():
    watching = Watching()

    async def ending() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            observers(watching=watching, raising=Raising(asyncio.CancelledError())).assigned(**ASSIGNED)
            watching.told.append("went on")

    task = asyncio.create_task(ending())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watching.told == [("keycount", 7), "went on"]


def test_an_interrupt_is_raised_on():
    with pytest.raises(KeyboardInterrupt):
        observers(raising=Raising(KeyboardInterrupt())).assigned(**ASSIGNED)


def test_a_call_with_other_arguments_than_the_hook_has_is_the_callers_error():
    incomplete = {name: value for name, value in ASSIGNED.items() if name != "epoch"}
    with pytest.raises(TypeError, match="epoch"):
        observers(watching=Watching()).assigned(**incomplete)
