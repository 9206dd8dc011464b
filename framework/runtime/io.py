"""A thread for blocking calls, so that they do not block the event loop. It makes one call at a time, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

__all__ = ["IOThread", "RunIO"]

RunIO = Callable[..., Awaitable[Any]]
"""Calls a function with arguments in another thread. Returns its result, or raises its exception."""


class IOThread:
    """The thread that makes all calls to the store. Callable as `RunIO`."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="framework-store")

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, _call, function, args)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True)


def _call(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # a future refuses it, so that its caller would wait for ever
        raise RuntimeError(f"{function!r} raised StopIteration") from error
