"""The shutdown: a signal stops a run in order. If that takes too long, the process ends without a last checkpoint."""

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
"""Longest time after a signal until a message says that the run is still stopping, in seconds."""
_LOG_SECONDS: Final = 1.0
"""Time limit for logging a message, in seconds. A blocked main thread may hold the lock of the log."""
_CRASH_STATUS: Final = 1
_HANDLED: Final = b"\0"
"""Sent by the signal handler in the main thread. No signal has this number."""


def crash(why: str) -> NoReturn:
    """End the process at once, without a last checkpoint. The next start continues from the stored state.

    `why` begins the error message.
    """
    try:
        _log(logging.ERROR, f"{why}: ending without a last checkpoint; the stored state is intact")
    finally:
        os._exit(_CRASH_STATUS)


def _log(level: int, message: str) -> None:
    thread = threading.Thread(target=log.log, args=(level, "%s", message), daemon=True)
    with suppress(RuntimeError):  # no further thread can be started
        thread.start()
        thread.join(_LOG_SECONDS)


class Shutdown:
    """While it is entered, the first SIGINT or SIGTERM calls `stop` in the event loop; the next one ends the process.

    A run that has not ended `timeout` seconds after the first signal ends as by `crash`, also if a plugin blocks the
    event loop. A thread does both. The main thread cannot: Python runs signal handlers between two of its instructions,
    so a main thread that waits in C code runs none. But Python's own handler in C writes the number of each signal to a
    socket at once, and the thread reads that socket. This works as long as the blocking code releases the GIL.

    Enter it in the main thread, in a running event loop.
    """

    def __init__(self, stop: Callable[[], None], activity: Callable[[], str], *, timeout: float) -> None:
        """`activity` names the thing that the run is waiting for. It is called in another thread."""
        self._stop = stop
        self._activity = activity
        self._timeout = timeout
        self._is_handled = False
        """Whether the main thread has handled the first signal, so that the next one ends the process."""
        self._is_blocked = True
        """Whether the watching thread has not yet received `_HANDLED` from the main thread."""
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
        if self._is_handled:  # a signal came while the handlers were being set
            _let_the_next_one_kill()
        self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.let_go()
        self._writer.shutdown(socket.SHUT_WR)  # closing it is not enough if a forked child process has it, too
        self._watcher.join()
        self._writer.close()
        self._reader.close()
        _entered.remove(self)

    def let_go(self) -> None:
        """Restore the previous signal handlers and the previous wakeup fd."""
        signal.set_wakeup_fd(self._wakeup_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread. It may interrupt any line of Python code, so it takes no lock."""
        _let_the_next_one_kill()
        self._is_handled = True
        with suppress(BlockingIOError):  # the socket is full, so the thread has enough to read
            self._writer.send(_HANDLED)  # the only byte that comes if a plugin has set another wakeup fd

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
            f"still stopping, waiting for {self._told()}; in {left:.0f} s the process ends without a last checkpoint "
            "(--shutdown-timeout)",
        )
        if not self._ends(began + self._timeout):
            crash(f"not stopped {self._timeout:g} s after the signal, waiting for {self._told()}")

    def _ends(self, deadline: float) -> bool:
        """Whether the run ends before the deadline.

        A second signal is received here only if the main thread has not handled the first one. It ends the process with
        the exit status that a shell gives for a signal.
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
                    os.write(self._wakeup_fd, received)  # pass other signals on to the event loop
        return None

    def _told(self) -> str:
        try:
            return self._activity()
        except Exception as error:  # the main thread may change the objects that `activity` reads
            return f"an unknown activity ({describe(error)})"


_entered: Final[list[Shutdown]] = []


def _let_the_next_one_kill() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _let_go_in_child() -> None:
    """Restore the handlers in a forked child process. Else it would send its own signals to its parent."""
    for shutdown in _entered:
        shutdown.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
