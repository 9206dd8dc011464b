"""How a run goes: a line on a terminal, a log message each minute elsewhere, and a summary at the end."""

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.text import Text

from framework.borders import describe
from framework.embedded.inputs import Input
from framework.runtime.figures import Figures, Summary

__all__ = ["Status", "StatusText", "log_summary", "stderr_console"]

log = logging.getLogger("framework")

_REFRESH_SECONDS: Final = 0.5
_LOG_SECONDS: Final = 60.0
_WAIT_SECONDS: Final = 5.0
"""More than a group takes that is new: Kafka lets it wait 3 s for further members."""
_LOOK_SECONDS: Final = 1.0
_WINDOW: Final = 10
"""Readings over which the line on a terminal gives the rate."""
_NO_CURSOR: Final = ("dumb", "unknown")
"""Values of TERM for terminals that cannot write a line again."""


def stderr_console() -> Console:
    """Stderr for what is drawn again and again, which is a terminal only where lines can be written again.

    rich alone also takes a pipe for a terminal where FORCE_COLOR is set, as in many CI systems.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in _NO_CURSOR
    return Console(stderr=True, soft_wrap=True, force_terminal=is_terminal)  # soft_wrap: long messages are not broken


class Status:
    """Shows how a run goes while it is entered, in the run's event loop.

    It only reads, now and then, so it slows nothing down. What it raises ends the display, with a warning, and never
    the run.
    """

    def __init__(
        self,
        read: Callable[[], Figures | None],
        *,
        input: Input | None = None,  # noqa: A002 - the name of the option
        console: Console | None = None,
        log_seconds: float = _LOG_SECONDS,
        wait_seconds: float = _WAIT_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """`read` gives the figures, None while the run connects. `input`: the file that is fed. `console`: stderr by
        default. Where the console is no terminal, `log_seconds` is the time between two messages, and `wait_seconds`
        is how long the worker waits for its group until a message says so. `look_seconds`: how often it looks.
        """
        self._console = console or stderr_console()
        self._read = read
        self._text = StatusText(input, _WINDOW if self._console.is_terminal else 2)
        self._log_seconds = log_seconds
        self._wait_seconds = wait_seconds
        self._look_seconds = look_seconds
        self._line = Text()
        self._showing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._showing = asyncio.create_task(self._show())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._showing is not None:
            self._showing.cancel()
            with suppress(asyncio.CancelledError):
                await self._showing

    async def _show(self) -> None:
        try:
            if self._console.is_terminal:
                await self._draw()
            else:
                await self._log()
        except Exception as error:
            log.warning("the status is not shown any more, the run goes on: %s", describe(error))

    async def _draw(self) -> None:
        # Live draws in a thread of its own, so a terminal that is stopped does not stop the run. It also has what is
        # written to sys.stderr meanwhile printed above the line.
        live = Live(
            get_renderable=lambda: self._line,
            console=self._console,
            refresh_per_second=1 / _REFRESH_SECONDS,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        with live:
            self._console.show_cursor()  # a run that is killed could not show it again
            while True:
                self._line = Text(self._text.of(self._read()), no_wrap=True, overflow="ellipsis")
                await asyncio.sleep(_REFRESH_SECONDS)

    async def _log(self) -> None:
        now = self._read()
        self._text.of(now)  # the first rate begins here
        looks = max(1, round(self._log_seconds / self._look_seconds))
        wait, is_told = _GroupWait(), False
        while True:
            for _ in range(looks):
                waited = wait.seconds(now)
                if now is not None and waited >= self._wait_seconds and not is_told:
                    log.info("%s", _waiting(waited, now))
                is_told = waited >= self._wait_seconds
                await asyncio.sleep(self._log_seconds / looks)
                now = self._read()
            log.info("%s", self._text.of(now))


class StatusText:
    """Puts figures into words, one reading after another."""

    def __init__(self, input: Input | None, window: int) -> None:  # noqa: A002 - as above
        """`window`: over how many readings the rate is taken."""
        self._input = input
        self._readings: deque[Figures] = deque(maxlen=window)
        self._wait = _GroupWait()

    def of(self, now: Figures | None) -> str:
        """The text of the latest reading, None where there are no figures yet."""
        if now is None:
            return "connecting to the broker"
        waited = self._wait.seconds(now)
        if not now.is_assigned:
            self._readings.clear()
            return _waiting(waited, now)
        self._readings.append(now)
        if now.partitions:
            parts = [*_loading(now), f"{self._rate():,.0f} records/s", _lag(now), _last_checkpoint(now)]
        else:
            parts = ["no partition is assigned to this worker"]
        parts.append(f"{now.applied:,} applied")
        if now.failed:
            parts.append(f"{now.failed:,} failed")
        if now.late:
            parts.append(f"{now.late:,} late")
        if now.failed_timers:
            parts.append(f"{now.failed_timers:,} timers failed")
        return " · ".join([*parts, *self._fed()])

    def _rate(self) -> float:
        """Records applied in a second; not below 0 where records are applied again after a failure."""
        first, last = self._readings[0], self._readings[-1]
        return max(0.0, (last.applied - first.applied) / (last.at - first.at)) if last.at > first.at else 0.0

    def _fed(self) -> list[str]:
        source = self._input
        if source is None or not source.size or source.bytes_read >= source.size:
            return []
        return [f"input: {_share(source.bytes_read, source.size)}"]


class _GroupWait:
    """Measures how long the group has not told this worker what to do."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, now: Figures | None) -> float:
        """The seconds since the first reading of the wait; 0 if there is no wait."""
        if now is None or now.is_assigned:
            self._since = None
            return 0.0
        self._since = now.at if self._since is None else self._since
        return now.at - self._since


def _waiting(seconds: float, now: Figures) -> str:
    return (
        f"waiting for the group: {seconds:.0f} s so far; a member that has died keeps its place for up to "
        f"{now.session_timeout:g} s"
    )


def _loading(figures: Figures) -> list[str]:
    if not figures.loading:
        return []
    loaded = f": {_share(*figures.loaded)}" if figures.loaded else ""
    return [f"loading the state of {figures.loading} of {figures.partitions} partitions{loaded}"]


def _lag(figures: Figures) -> str:
    return "lag not known yet" if figures.lag is None else f"lag {figures.lag:,}"


def _last_checkpoint(figures: Figures) -> str:
    return "no checkpoint yet" if figures.saved_at is None else f"checkpoint {figures.at - figures.saved_at:.0f} s ago"


def _share(done: int, total: int) -> str:
    return f"{done / total:.0%} of {decimal(total)}"


def log_summary(summary: Summary) -> None:
    """Log what a run has done; with `--log-format json`, each figure is a field of the message."""
    rate = summary.records_per_second
    parts = [f"records applied: {summary.records:,} in {summary.seconds:.1f} s ({rate:,.0f} records/s)"]
    if summary.keys is not None and summary.bytes is not None:
        parts.append(f"keys: {summary.keys:,} · stored: {decimal(summary.bytes)}")
    parts.append(f"records failed: {summary.failed:,}")
    if summary.late:
        parts.append(f"late: {summary.late:,}")
    if summary.failed_timers:
        parts.append(f"timers failed: {summary.failed_timers:,}")
    fields = {**asdict(summary), "seconds": round(summary.seconds, 3), "records_per_second": round(rate, 1)}
    log.info("%s", " · ".join(parts), extra=fields)
