"""The shutdown: signals stop a run in order, and end it as a crash would where that takes too long."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

from framework.borders import describe

__all__ = ["Shutdown", "crash"]

log = logging.getLogger("framework")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_FIRST_NEWS: Final = 5.0
"""Seconds after which a stop that goes on is told, at the latest."""
_LOG_SECONDS: Final = 1.0
"""How long a message may take: a main thread that is blocked may hold the lock of the log."""
_CRASH_STATUS: Final = 1
_HANDLED: Final = b"\0"
"""Written by the handler in the main thread; no signal has this number."""


def crash(why: str) -> NoReturn:
    """End the process at once, without a last checkpoint.

    What is stored is good, and the next start goes on from there.
    """
    try:
        _log(logging.ERROR, f"{why}: ending without a last checkpoint, as a crash would; what is stored is good")
    finally:
        os._exit(_CRASH_STATUS)


def _log(level: int, message: str) -> None:
    thread = threading.Thread(target=log.log, args=(level, "%s", message), daemon=True)
    with suppress(RuntimeError):  # there can be no more threads
        thread.start()
        thread.join(_LOG_SECONDS)


class Shutdown:
    """While it is entered, the first SIGINT or SIGTERM calls `stop` in the event loop; the next one ends the process.

    A run that has not ended `timeout` seconds after the first signal ends as in a crash, also where a plugin blocks the
    event loop. A thread sees to both: Python runs signal handlers between two instructions of the main thread, so a
    main thread that waits in C code never gets to one. Python's handler in C writes each signal's number to a socket at
    once, whatever the main thread does, and the thread reads it there. Only code that never lets go of the GIL escapes.

    To be entered in the main thread, where an event loop runs.
    """

    def __init__(self, stop: Callable[[], None], activity: Callable[[], str], *, timeout: float) -> None:
        """`activity` tells what the run is waiting for. It is called in another thread."""
        self._stop = stop
        self._activity = activity
        self._timeout = timeout
        self._is_handled = False
        """Whether the main thread has handled the first signal, so that the next one kills."""
        self._is_blocked = True
        """Whether the thread has not heard of that yet."""
        self._wakeup_fd = -1
        self._watcher = threading.Thread(target=self._watch, name="framework-shutdown", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        _entered.append(self)
        for number in _SIGNALS:
            signal.signal(number, self._handle)
        if self._is_handled:  # one came between the two
            _let_the_next_one_kill()
        self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()
        self._writer.shutdown(socket.SHUT_WR)  # closing it would not do: a forked child process has it, too
        self._watcher.join()
        self._writer.close()
        self._reader.close()
        _entered.remove(self)

    def let_go(self) -> None:
        """Give the signals back to whom they belonged before."""
        signal.set_wakeup_fd(self._wakeup_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, as soon as that runs Python. It may interrupt any line, so it takes no lock."""
        _let_the_next_one_kill()
        self._is_handled = True
        with suppress(BlockingIOError):  # full, so there is enough to read
            self._writer.send(_HANDLED)  # all that comes, where a plugin has set another wakeup fd

    # In the thread

    def _watch(self) -> None:
        if not self._next_signal(inf):
            return
        began = time.monotonic()
        self._loop.call_soon_threadsafe(self._stop)
        if self._ends(began + min(_FIRST_NEWS, self._timeout / 2)):
            return
        left = began + self._timeout - time.monotonic()
        _log(
            logging.WARNING,
            f"still stopping: it waits for {self._told()}; in {left:.0f} s it ends as in a crash (--shutdown-timeout)",
        )
        if not self._ends(began + self._timeout):
            crash(f"not stopped {self._timeout:g} s after the signal, waiting for {self._told()}")

    def _ends(self, deadline: float) -> bool:
        """Whether the run ends by then.

        A second signal comes here only where the main thread did not handle the first one in time. It ends the process,
        with the status that a shell gives for a signal.
        """
        while received := self._next_signal(deadline):
            if self._is_blocked:
                os._exit(128 + received[0])
        return received is not None

    def _next_signal(self, deadline: float) -> bytes | None:
        """The number of the next SIGINT or SIGTERM, or `_HANDLED`; empty at the run's end, None at the deadline."""
        while (left := deadline - time.monotonic()) > 0:
            self._reader.settimeout(None if left == inf else left)
            try:
                received = self._reader.recv(1)
            except TimeoutError:
                return None
            if received == _HANDLED:
                self._is_blocked = False
            if not received or received == _HANDLED or received[0] in _SIGNALS:
                return received
            if self._wakeup_fd >= 0:
                with suppress(OSError):
                    os.write(self._wakeup_fd, received)  # another signal, which the event loop handles itself
        return None

    def _told(self) -> str:
        try:
            return self._activity()
        except Exception as error:  # read while the main thread changes things
            return f"something that cannot be told ({describe(error)})"


_entered: Final[list[Shutdown]] = []


def _let_the_next_one_kill() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _let_go_in_child() -> None:
    """A child process that was forked would tell its parent of signals of its own, and take no notice of them."""
    for shutdown in _entered:
        shutdown.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
