"""Reading a blocking iterable without blocking the event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Generic, TypeVar

__all__ = ["ThreadedReader"]

T = TypeVar("T")

_CHUNK: Final = 500
_READ_AHEAD: Final = 4 * _CHUNK


class ThreadedReader(Generic[T]):
    """Reads an iterable a little ahead in a thread of its own, until its end or `close`."""

    def __init__(self, source: Iterable[T]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._ahead: deque[T] = deque()
        self._filled = asyncio.Event()
        self._taken = threading.Event()
        self._ended = False
        self._closed = False
        self._error: Exception | None = None
        # A daemon, because nothing can end a read that waits for standard input.
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    async def take(self, patience: float | None) -> list[T] | None:
        """The next items; an empty list if none came for `patience` seconds; None at the end.

        Raises what the iterable raises, after all items before it.
        """
        await self._wait_for_items(patience)
        ended = self._ended
        items = [self._ahead.popleft() for _ in range(min(len(self._ahead), _CHUNK))]
        self._taken.set()
        if items or not ended:
            return items
        if self._error:
            raise self._error
        return None

    def close(self) -> None:
        """Let the thread end at its next item."""
        self._closed = True
        self._taken.set()

    async def _wait_for_items(self, patience: float | None) -> None:
        await asyncio.sleep(0)
        self._filled.clear()
        if self._ahead or self._ended:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._filled.wait()

    # What follows runs in the thread.

    def _read(self) -> None:
        try:
            for item in self._source:
                self._ahead.append(item)
                if len(self._ahead) == 1:
                    self._wake()
                elif len(self._ahead) >= _READ_AHEAD:
                    self._wait_for_room()
                if self._closed:
                    return
        except Exception as error:
            self._error = error
        finally:
            self._ended = True
            self._wake()

    def _wait_for_room(self) -> None:
        self._taken.clear()
        if len(self._ahead) >= _READ_AHEAD and not self._closed:
            self._taken.wait()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._filled.set)
