"""Background tasks: whatever a call raises in one, it comes out where the task is awaited, as an error."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from framework.borders import describe, is_plugin_failure
from framework.errors import InternalError

__all__ = ["as_error", "contained"]

T = TypeVar("T")
P = ParamSpec("P")


def as_error(failure: BaseException) -> Exception:
    """The failure itself; of a `SystemExit` and its like, an error: it must not end the process as if wanted."""
    if isinstance(failure, Exception):
        return failure
    error = InternalError(f"{describe(failure)} came out of a call where nothing should end or be cancelled")
    error.__cause__ = failure
    return error


async def contained(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Makes the call, for a task of its own.

    There, a `SystemExit` would end the event loop at once, and a `CancelledError` look as if the task were cancelled.
    """
    try:
        return await call(*args, **kwargs)
    except BaseException as failure:
        if isinstance(failure, Exception) or not is_plugin_failure(failure):
            raise
        raise as_error(failure) from failure
