"""Blocking work off the event loop: one thing at a time, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

__all__ = ["IOThread", "RunIO"]

RunIO = Callable[..., Awaitable[Any]]
"""Calls a function with arguments somewhere else, and gives its result or raises what it raised."""


class IOThread:
    """The thread in which a store is used. Callable as `RunIO`."""

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
    except StopIteration as error:  # no future takes one: whoever waits for it would wait for ever
        raise RuntimeError(f"StopIteration came out of {function!r}") from error
