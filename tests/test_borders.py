"""What comes out of a plugin: whose failure it is, and texts of it."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.borders import describe, is_plugin_failure, located, message_of, shown
from framework.output import checked_output


def raises(error: BaseException) -> Callable[[], None]:
    """A plugin's function that raises this."""

    def plugin() -> None:
        raise error

    return plugin


def verdict(plugin: Callable[[], Any]) -> bool:
    try:
        plugin()
    except BaseException as error:
        return is_plugin_failure(error)
    raise AssertionError("nothing was raised")


async def verdict_of_awaiting(plugin: Callable[[], Any], verdicts: list[bool]) -> None:
    """As the runtime awaits a plugin; what is not the plugin's failure is raised on."""
    try:
        await plugin()
    except BaseException as error:
        verdicts.append(is_plugin_failure(error))
        if not verdicts[-1]:
            raise


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        MemoryError(),
        AssertionError(),
        SystemExit(0),
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseException(),
    ],
)
def test_what_a_sync_plugin_raises_is_its_failure(error):
    assert verdict(raises(error))


async def test_it_is_its_failure_inside_an_event_loop_too():
    assert all(verdict(raises(error)) for error in (SystemExit(0), asyncio.CancelledError(), GeneratorExit()))


def test_a_keyboard_interrupt_is_raised_on():
    assert not verdict(raises(KeyboardInterrupt()))


def test_sys_exit_is_the_plugins_failure():
    assert verdict(lambda: sys.exit("no more"))


async def test_a_plugin_that_raises_cancelled_by_itself_has_failed():
    async def plugin() -> None:
        raise asyncio.CancelledError

    verdicts: list[bool] = []
    await verdict_of_awaiting(plugin, verdicts)
    assert verdicts == [True]


async def test_a_plugin_that_awaits_what_was_cancelled_has_failed():
    async def plugin() -> None:
        forever = asyncio.get_running_loop().create_future()
        forever.cancel()
        await forever

    verdicts: list[bool] = []
    await verdict_of_awaiting(plugin, verdicts)
    assert verdicts == [True]


async def test_a_task_that_is_cancelled_while_it_awaits_a_plugin_is_cancelled():
    verdicts: list[bool] = []
    waiting = asyncio.Event()

    async def plugin() -> None:
        waiting.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(verdict_of_awaiting(plugin, verdicts))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert verdicts == [False]


async def test_a_time_limit_of_the_plugins_own_is_its_failure():
    async def plugin() -> None:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()

    verdicts: list[bool] = []
    await verdict_of_awaiting(plugin, verdicts)
    assert verdicts == [True]


class Pause:
    """Suspends who awaits it, also where no event loop runs."""

    def __await__(self) -> Any:
        yield


def test_a_coroutine_that_is_closed_while_it_awaits_a_plugin_is_closed():
    async def plugin() -> None:
        await Pause()

    verdicts: list[bool] = []
    coroutine = verdict_of_awaiting(plugin, verdicts)
    coroutine.send(None)
    coroutine.close()
    assert verdicts == [False]


def test_a_coroutine_that_raises_generator_exit_by_itself_has_failed():
    async def plugin() -> None:
        await Pause()
        raise GeneratorExit

    verdicts: list[bool] = []
    coroutine = verdict_of_awaiting(plugin, verdicts)
    coroutine.send(None)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert verdicts == [True]


# Texts


class HostileError(Exception):
    """Raises from whatever makes a text of it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


class OddText(str):
    def __str__(self) -> str:
        raise ValueError

    __format__ = __len__ = __getitem__ = __str__  # type: ignore[assignment]


class OddError(Exception):
    def __str__(self) -> str:
        return OddText("odd")

    __repr__ = __str__


RAISED = [ValueError(), MemoryError(), RecursionError(), SystemExit(), asyncio.CancelledError(), GeneratorExit()]


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_texts_never_raise(raised):
    error = HostileError(raised)
    name = type(raised).__name__
    assert describe(error) == f"HostileError: (its text cannot be shown: {name})"
    assert message_of(error) == f"(its text cannot be shown: {name})"
    assert shown(error) == f"<HostileError that cannot be shown: {name}>"


def test_only_a_keyboard_interrupt_passes():
    for text in (describe, message_of, shown):
        with pytest.raises(KeyboardInterrupt):
            text(HostileError(KeyboardInterrupt()))


def test_a_text_that_is_no_plain_str_becomes_one():
    assert (describe(OddError()), message_of(OddError()), shown(OddError())) == ("OddError: odd", "odd", "odd")
    assert {type(text) for text in (message_of(OddError()), shown(OddError()))} == {str}


def test_an_error_is_described_by_class_and_text():
    assert describe(ValueError("no such day")) == "ValueError: no such day"
    assert describe(ValueError()) == "ValueError"


def test_texts_are_cut():
    assert message_of(ValueError("x" * 5000)) == "x" * 997 + "..."
    assert shown("x" * 5000, 10) == "'xxxxxx..."
    assert shown([1] * 5000, 10) == "[1, 1, ..."
    assert shown(b"12345", 8) == "b'12345'"


def test_a_number_too_long_for_repr_is_told_without_it():
    assert shown(10**5000) == "<int that cannot be shown: ValueError>"


@given(value=st.text() | st.binary() | st.integers() | st.lists(st.text()), limit=st.integers(10, 200))
def test_what_is_shown_is_the_repr_or_its_beginning(value, limit):
    text = shown(value, limit)
    beginnings = (
        repr(value),
        repr(value[: limit + 1]) if isinstance(value, str | bytes) else "",
    )  # which quotes it has
    assert text == repr(value) or (
        len(text) == limit and text.endswith("...") and any(each.startswith(text[:-3]) for each in beginnings)
    )


# Where it was raised


def raised_by(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def line_of(text: str) -> int:
    """The number of the one line of this file that has the text, and is no call of this function."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if text in line and "line_of" not in line)
    return number


def looks_up() -> None:
    counts: dict[str, int] = {}
    counts["/cart"] += 1  # looks up


def test_a_plugins_error_is_located_by_file_and_line():
    error = raised_by(looks_up)
    assert located(describe(error), error) == f"KeyError: '/cart' (at {__file__}:{line_of('# looks up')})"


def test_an_error_from_a_library_is_located_where_the_plugin_called_it():
    error = raised_by(lambda: json.loads("{"))  # calls a library
    assert located("bad", error) == f"bad (at {__file__}:{line_of('# calls a library')})"


def test_an_error_from_framework_is_located_where_the_plugin_called_it():
    error = raised_by(lambda: shown(HostileError(KeyboardInterrupt())))  # calls framework
    assert located("bad", error).endswith(f":{line_of('raise self' + '.error')})"), "the plugin's own __repr__"
    error = raised_by(lambda: checked_output("t", object(), None, ()))  # sends
    assert located("bad", error) == f"bad (at {__file__}:{line_of('# sends')})"


def test_an_error_without_a_frame_of_a_plugin_is_not_located():
    assert located("bad", ValueError("never raised")) == "bad"


def test_an_error_that_hides_its_traceback_is_located():
    class HidingError(Exception):
        @property
        def __traceback__(self) -> Any:  # type: ignore[override]
            raise ValueError

    error = raised_by(raises(HidingError()))
    assert located("bad", error) == f"bad (at {__file__}:{line_of('        raise ' + 'error')})"


def test_code_without_a_module_is_located():
    scope: dict[str, Any] = {"__name__": HostileError(ValueError())}
    exec(compile("def call():\n    return 1 / 0", "made.py", "exec"), scope)  # noqa: S102 - as a plugin file is run
    error = raised_by(scope["call"])
    while error.__traceback__ and error.__traceback__.tb_frame.f_globals is not scope:
        error.__traceback__ = error.__traceback__.tb_next  # the test's own frames
    assert located("bad", error) == "bad (at made.py:2)"


def test_an_error_that_is_raised_again_and_again_is_located_in_bounded_time():
    error = ValueError()
    for _ in range(5000):
        raised_by(raises(error))
    looked_at = 0

    def look(frame: Any, event: str, argument: Any) -> None:
        nonlocal looked_at
        looked_at += event == "call" and frame.f_code.co_name == "_made"

    sys.setprofile(look)
    try:
        located("bad", error)
    finally:
        sys.setprofile(None)
    assert looked_at == 2000
