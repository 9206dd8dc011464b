"""The border to code of others: whose failure an exception is, and texts of it that can always be made.

A plugin may raise anything, at any call. Its exceptions and values may raise again when they are turned into text.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from traceback import walk_tb
from typing import Final

__all__ = ["describe", "is_plugin_failure", "located", "message_of", "shown"]

_LONGEST_MESSAGE: Final = 1000
"""Characters of an error's text that are kept."""
_CALLERS: Final = frozenset({"framework", "pluggy", "importlib"})
"""The packages whose frames call into a plugin."""
_MOST_FRAMES: Final = 2000
"""Frames of a traceback that are looked at. It grows each time that one exception object is raised again."""


def is_plugin_failure(error: BaseException) -> bool:
    """Whether an exception that came out of a call into a plugin is the failure of that call; else raise it on.

    Ask in the `except BaseException` clause around that call, in the function that makes it::

        try:
            processor.process(record, state, out)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            ...

    `except Exception` is too narrow: a plugin may raise `SystemExit`, `CancelledError` or `GeneratorExit` as well, and
    these would end the runtime as if somebody had told it to end. Raised on are only:

    - `KeyboardInterrupt`: the user stops the run.
    - `CancelledError` while the current task is being cancelled. Without that, the plugin raised it, or awaited
      something that was cancelled.
    - `GeneratorExit` with no frame below the caller's in its traceback: the caller's own coroutine is being closed.
      Python closes the awaited coroutine first, and then raises it in the caller's frame. One that a plugin raises has
      the plugin's frames below.
    """
    match error:
        case KeyboardInterrupt():
            return False
        case asyncio.CancelledError():
            return not _is_being_cancelled()
        case GeneratorExit():
            return error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return True


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0


def describe(error: BaseException) -> str:
    """Class and text of an exception, as in `ValueError: no such day`. Raises nothing but `KeyboardInterrupt`."""
    name, text = type(error).__name__, message_of(error)
    return f"{name}: {text}" if text else name


def message_of(error: BaseException) -> str:
    """Text of an exception, at most some 1,000 characters of it; where `str` of it raises, a text that says so.

    Raises nothing but `KeyboardInterrupt`.
    """
    return _shortened(_made(str, error, "(its text cannot be shown: {})"), _LONGEST_MESSAGE)


def located(text: str, error: BaseException) -> str:
    """`text`, followed by the file and the line at which a plugin raised `error`: `KeyError: 'a' (at join.py:12)`.

    The line is the innermost one of the package that framework called; libraries that the package uses are not named.
    Where no code of a plugin was at work, it is `text` alone. Raises nothing but `KeyboardInterrupt`.
    """
    origin, called = "", None
    traceback = vars(BaseException)["__traceback__"].__get__(error)  # a subclass may redefine it
    for frame, line in islice(walk_tb(traceback), _MOST_FRAMES):
        package = _made(str, frame.f_globals.get("__name__"), "?").partition(".")[0]
        if package in _CALLERS:
            continue
        called = called or package
        if package == called:
            origin = f"{frame.f_code.co_filename}:{line}"
    return f"{text} (at {origin})" if origin else text


def shown(value: object, limit: int = 100) -> str:
    """`repr` of any value, for a message, cut to `limit` characters; where it raises, a text that says so.

    Raises nothing but `KeyboardInterrupt`.
    """
    if type(value) in (str, bytes):
        value = value[: limit + 1]  # type: ignore[index]  # a long one is not copied whole
    return _shortened(_made(repr, value, f"<{type(value).__name__} that cannot be shown: {{}}>"), limit)


def _made(make: Callable[[object], str], value: object, instead: str) -> str:
    try:
        return str.__str__(make(value))  # of a subclass of str, the plain text
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return instead.format(type(error).__name__)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
