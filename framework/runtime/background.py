"""Background tasks: each exception of a call is raised as an error where the task is awaited."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from framework.borders import describe, is_plugin_failure
from framework.errors import InternalError

__all__ = ["as_error", "contained"]

T = TypeVar("T")
P = ParamSpec("P")


def as_error(failure: BaseException) -> Exception:
    """Returns the failure itself if it is an `Exception`, else an `InternalError` that describes it.

    A `SystemExit`, for example, must not end the process as if the run had ended in order.
    """
    if isinstance(failure, Exception):
        return failure
    error = InternalError(f"{describe(failure)} was raised in a call that must not end or cancel the run")
    error.__cause__ = failure
    return error


async def contained(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make the call, in a task of its own, and raise its failure as an `Exception`.

    In a task, a `SystemExit` would end the event loop at once, and a `CancelledError` would look like a cancellation of
    the task.
    """
    try:
        return await call(*args, **kwargs)
    except BaseException as failure:
        if isinstance(failure, Exception) or not is_plugin_failure(failure):
            raise
        raise as_error(failure) from failure
