"""How a run is shown: on a terminal, elsewhere, and at its end."""

import asyncio
import fcntl
import io
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from rich.console import Console

from framework.cli.logs import configure
from framework.cli.status import Status, StatusText, log_summary, stderr_console
from framework.embedded.inputs import Input
from framework.runtime.figures import Figures, Summary

FIGURES = Figures(
    at=100.0,
    applied=0,
    failed=0,
    late=0,
    failed_timers=0,
    is_assigned=True,
    partitions=4,
    loading=0,
    loaded=None,
    lag=1234,
    saved_at=99.0,
    session_timeout=10.0,
)

# ---- in words


def text(*readings: Figures | None, source: Any = None, window: int = 10) -> str:
    """The text of the last of these readings."""
    status = StatusText(cast(Input, source), window)
    return [status.of(reading) for reading in readings][-1]


def at(seconds: float, **changed: Any) -> Figures:
    return replace(FIGURES, at=FIGURES.at + seconds, **changed)


def test_it_tells_rate_lag_checkpoint_and_how_much_is_applied():
    assert text(at(0), at(2, applied=5000)) == "2,500 records/s · lag 1,234 · checkpoint 3 s ago · 5,000 applied"


def test_the_rate_is_that_of_the_last_readings():
    readings = [at(0), at(1, applied=1000), at(2, applied=1000)]
    assert text(*readings).startswith("500 records/s")
    assert text(*readings, window=2).startswith("0 records/s")


def test_records_that_are_applied_again_make_no_negative_rate():
    assert text(at(0, applied=500), at(1, applied=100)).startswith("0 records/s")


def test_a_single_reading_has_no_rate():
    assert text(at(0, applied=500)).startswith("0 records/s")


def test_what_is_not_known_is_said_so():
    assert text(None) == "connecting to the broker"
    assert "lag not known yet · no checkpoint yet" in text(replace(FIGURES, lag=None, saved_at=None))


def test_a_wait_for_the_group_tells_how_long_a_dead_member_can_delay_it():
    waiting = [at(seconds, is_assigned=False, partitions=0) for seconds in (0, 4)]
    assert text(*waiting) == "waiting for the group: 4 s so far; a member that has died keeps its place for up to 10 s"
    assert text(*waiting, at(5), at(6, is_assigned=False)).startswith("waiting for the group: 0 s")


def test_a_worker_without_partitions_says_so():
    assert text(at(0, partitions=0, applied=7)) == "no partition is assigned to this worker · 7 applied"


def test_a_load_tells_how_far_it_is():
    loading = at(0, loading=3, loaded=(500_000, 2_000_000))
    assert text(loading).startswith("loading the state of 3 of 4 partitions: 25% of 2.0 MB · ")
    assert text(replace(loading, loaded=None)).startswith("loading the state of 3 of 4 partitions · ")


def test_records_that_failed_are_told():
    assert text(at(0, failed=1200)).endswith(" · 1,200 failed")


def test_a_file_that_is_fed_tells_how_far_it_is():
    assert text(at(0), source=SimpleNamespace(size=1000, bytes_read=420)).endswith(" · input: 42% of 1.0 kB")
    for size, done in ((1000, 1000), (None, 420), (0, 0)):
        assert text(at(0), source=SimpleNamespace(size=size, bytes_read=done)) == text(at(0))


# ---- where it is shown


class Screen(io.StringIO):
    """What was written to a console; whoever waits for a text is told when it is there."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def write(self, text: str) -> int:
        self._loop.call_soon_threadsafe(self._news.set)
        return super().write(text)

    async def shows(self, text: str) -> None:
        while text not in self.getvalue():
            self._news.clear()
            await self._news.wait()


def console(screen: Screen, *, terminal: bool, width: int = 100) -> Console:
    return Console(file=screen, force_terminal=terminal, width=width, soft_wrap=True, color_system=None)


@pytest.mark.parametrize(
    ("isatty", "variables", "is_terminal"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "unknown"}, False),
        (False, {"TERM": "xterm"}, False),
        (False, {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_only_a_terminal_that_can_write_a_line_again_counts_as_one(monkeypatch, isatty, variables, is_terminal):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: isatty, raising=False)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert stderr_console().is_terminal == is_terminal


def test_a_process_without_stderr_has_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not stderr_console().is_terminal


async def test_a_terminal_has_a_line_that_is_gone_at_the_end(caplog):
    screen = Screen()
    async with Status(lambda: FIGURES, console=console(screen, terminal=True)):
        await screen.shows("lag 1,234")
        screen.truncate(screen.seek(0))
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K"), "the line is erased"
    assert caplog.messages == []


async def test_a_narrow_terminal_has_one_line_all_the_same():
    screen = Screen()
    async with Status(lambda: FIGURES, console=console(screen, terminal=True, width=30)):
        await screen.shows("0 records/s · lag 1,234 · che…")


async def test_the_cursor_is_shown_so_that_a_run_that_is_killed_leaves_it():
    screen = Screen()
    async with Status(lambda: FIGURES, console=console(screen, terminal=True)):
        await screen.shows("lag 1,234")
        assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")


async def test_elsewhere_there_is_a_message_now_and_then_and_nothing_else(caplog):
    screen, told = Screen(), asyncio.Event()
    readings = iter([at(0), at(60, applied=6000), at(120, applied=6600)])
    caplog.set_level(logging.INFO, "framework")

    def read() -> Figures:
        reading = next(readings, None)
        if reading is None:
            told.set()
        return reading or FIGURES

    status = Status(read, console=console(screen, terminal=False), log_seconds=0.001)
    async with status:
        await told.wait()
    assert caplog.messages[:2] == [
        "100 records/s · lag 1,234 · checkpoint 61 s ago · 6,000 applied",
        "10 records/s · lag 1,234 · checkpoint 121 s ago · 6,600 applied",
    ]
    assert screen.getvalue() == ""


async def test_elsewhere_a_wait_for_the_group_that_lasts_is_told_once(caplog):
    told = asyncio.Event()
    waiting = [at(seconds, is_assigned=False) for seconds in (0, 4, 5, 6)]
    again = [at(seconds, is_assigned=False) for seconds in (10, 14, 16)]
    readings = iter([None, *waiting, at(7), *again])
    caplog.set_level(logging.INFO, "framework")

    def read() -> Figures | None:
        reading = next(readings, FIGURES)
        if reading is FIGURES:
            told.set()
        return reading

    plain = console(Screen(), terminal=False)
    async with Status(read, console=plain, wait_seconds=5, look_seconds=0.001):
        await told.wait()
    assert caplog.messages == [
        "waiting for the group: 5 s so far; a member that has died keeps its place for up to 10 s",
        "waiting for the group: 6 s so far; a member that has died keeps its place for up to 10 s",
    ]


@pytest.mark.parametrize("terminal", [True, False])
async def test_an_error_of_the_display_is_told_and_ends_nothing_else(terminal, caplog):
    told = asyncio.Event()

    def fail() -> NoReturn:
        asyncio.get_running_loop().call_soon(told.set)
        raise ZeroDivisionError("no figures")

    async with Status(fail, console=console(Screen(), terminal=terminal)):
        await told.wait()
    assert caplog.messages == ["the status is not shown any more, the run goes on: ZeroDivisionError: no figures"]


@pytest.fixture
def _logging_as_it_was():
    root, framework, aiokafka = (logging.getLogger(name) for name in ("", "framework", "aiokafka"))
    handlers, levels = root.handlers[:], [logger.level for logger in (root, framework, aiokafka)]
    yield
    root.handlers[:] = handlers
    for logger, level in zip((root, framework, aiokafka), levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("_logging_as_it_was")
async def test_messages_stand_above_the_line_whole(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    configure("text")
    message = "a message that is longer than the terminal is wide " * 3
    async with Status(lambda: FIGURES, console=console(screen, terminal=True, width=60)):
        await screen.shows("lag 1,234")
        logging.getLogger("framework").warning("%s", message)
    before, _, after = screen.getvalue().partition(message)
    assert before.rsplit("\x1b[2K", 1)[-1].strip().endswith("warning"), "the line is erased before it"
    assert "lag 1,234" in after, "and drawn again below it"


# ---- the summary

SUMMARY = Summary(records=12_000, failed=3, seconds=4.0, keys=94, bytes=4_100)


def test_the_summary_tells_what_was_done(caplog):
    caplog.set_level(logging.INFO, "framework")
    log_summary(SUMMARY)
    assert caplog.messages == [
        "records applied: 12,000 in 4.0 s (3,000 records/s) · keys: 94 · stored: 4.1 kB · records failed: 3"
    ]


def test_the_summary_names_late_records_if_there_are_any(caplog):
    caplog.set_level(logging.INFO, "framework")
    log_summary(replace(SUMMARY, late=1_200))
    assert caplog.messages[0].endswith("records failed: 3 · late: 1,200")


def test_the_summary_names_failed_timers_if_there_are_any(caplog):
    caplog.set_level(logging.INFO, "framework")
    log_summary(replace(SUMMARY, failed_timers=2))
    assert caplog.messages[0].endswith("records failed: 3 · timers failed: 2")


def test_what_the_store_did_not_tell_is_left_out(caplog):
    caplog.set_level(logging.INFO, "framework")
    log_summary(replace(SUMMARY, keys=None, bytes=None))
    assert caplog.messages == ["records applied: 12,000 in 4.0 s (3,000 records/s) · records failed: 3"]


@pytest.mark.usefixtures("_logging_as_it_was")
def test_the_summary_has_its_figures_as_fields_of_json(capsys):
    logging.getLogger().handlers.clear()
    configure("json")
    log_summary(SUMMARY)
    entry = json.loads(capsys.readouterr().err)
    figures = {"records": 12_000, "failed": 3, "seconds": 4.0, "keys": 94, "bytes": 4_100, "records_per_second": 3000.0}
    assert figures.items() <= entry.items()


# ---- a whole run, on a terminal


class OnTerminal:
    """A `framework run` whose stderr is a terminal of 80 columns."""

    def __init__(self, *args: str, cwd: Any) -> None:
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "framework", "run", *args],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(terminal)
        self.seen = ""

    def read_until(self, is_there: Callable[[str], bool]) -> None:
        """Read what is written until that is there, or the run ends."""
        while not is_there(self.seen):
            try:
                self.seen += os.read(self._master, 65_536).decode()
            except OSError:  # nobody has the terminal open any more
                return

    def end(self) -> str:
        """Read to the end; gives what it wrote to stdout."""
        self.read_until(lambda seen: False)
        stdout, _ = self._process.communicate(timeout=60)
        os.close(self._master)
        return stdout

    def terminate(self) -> str:
        self._process.terminate()
        return self.end()


def test_a_run_on_a_terminal_shows_a_line_and_a_summary(tmp_path):
    run = OnTerminal("--plugin", "keycount", "--embedded", cwd=tmp_path)
    run.read_until(lambda seen: "applied" in seen)
    assert "records/s · " in run.seen
    assert run.terminate() == ""
    assert "records applied: " in run.seen
    summary = run.seen[run.seen.index("records applied: ") :]
    assert re.search(r" records/s\) · keys: \d+ · stored: .* · records failed: 0", summary)
