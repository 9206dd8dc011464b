"""`framework demo`: kills workers on the embedded broker, and shows that the counts stay right."""

import asyncio
import os
import signal
import sys
import tempfile
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from framework.cli.audit import Audit, Ledger
from framework.cli.options import DURATION, Command, framework_option, log_options
from framework.cli.workers import Workers
from framework.embedded.broker import PARTITIONS, EmbeddedBroker
from framework.embedded.feed import Feed
from framework.embedded.traffic import generate
from framework.errors import FrameworkError
from framework.plugins import load

__all__ = ["demo"]

_PLUGIN: Final = "keycount"
_TOPIC: Final = "generated"
_GROUP: Final = "framework-demo"
_WORKERS: Final = 2
_HOTTEST: Final = 10
_TICK_SECONDS: Final = 0.25
_CATCH_UP_SECONDS: Final = 60.0
_NEWS: Final = 6
"""Messages below the table."""


@click.command(cls=Command)
@framework_option(
    "--rate", type=click.IntRange(1), default=2000, show_default=True, metavar="N", help="Records a second."
)
@framework_option(
    "--kill-every",
    type=DURATION,
    default="5s",
    show_default=True,
    help="Time between two kills. 0 kills a worker only when you press k, on a terminal.",
)
@framework_option("--kills", type=click.IntRange(1), metavar="N", help="End after N kills. By default, Ctrl-C ends it.")
@log_options
def demo(rate: int, kill_every: float, kills: int | None) -> None:
    """Kill workers again and again, and compare their counts with an independent count.

    Two workers run the plugin keycount on generated records, on the embedded broker. One of them is killed with SIGKILL
    every few seconds, and started again. The sender of the records counts them, too. The stored counts are always
    compared with its counts, and once more at the end. The exit status is 1 if they ever differ.

    \b
    Examples:
      framework demo
      framework demo --kill-every 2s --kills 5
    """
    load([_PLUGIN])  # it may not be installed, which the workers would tell less clearly
    asyncio.run(_demonstrate(rate, kill_every, kills))


async def _demonstrate(rate: int, kill_every: float, kills: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="framework-demo-") as folder, EmbeddedBroker() as broker:
        servers, location = broker.bootstrap_servers, f"sqlite:{folder}/state"
        arguments = ["--plugin", _PLUGIN, "--topic", _TOPIC, "--bootstrap-servers", servers, "--group", _GROUP]
        arguments += ["--store", location, "--checkpoint-interval", "500ms"]
        arguments += ["--on-stall", "stop"]  # so that they do not outlive a demo that is killed itself
        ledger = Ledger(generate(rate=rate), PARTITIONS)
        audit = Audit(location, _GROUP, ledger)
        feed = Feed(_TOPIC, {"bootstrap_servers": servers}, embedded=True, applied=audit.applied)
        with Workers(arguments, _WORKERS, Path(folder)) as workers, _View() as view:
            await _Demo(workers, ledger, audit, feed, view).run(kill_every, kills)
    _conclude(workers, ledger, audit)


class _Demo:
    """Sends records, kills workers, and compares."""

    def __init__(self, workers: Workers, ledger: Ledger, audit: Audit, feed: Feed, view: "_View") -> None:
        self._workers = workers
        self._ledger = ledger
        self._audit = audit
        self._feed = feed
        self._view = view
        self._sending: asyncio.Task[None] | None = None
        self._killed_at: float | None = None
        """When the last worker was killed; None once what was sent until then is counted."""
        self._sent_before: list[int] = []
        self._is_asked_to_end = False

    async def run(self, kill_every: float, kills: int | None) -> None:
        """Go on until the end, and until all that was sent is counted. Raises `FrameworkError`."""
        self._sending = asyncio.create_task(self._feed.run(self._ledger))
        try:
            with self._heeding_signals(), self._view.on_key("k", self._kill):
                await self._kill_again_and_again(kill_every, kills)
                self._ledger.end()
                self._view.tell("no more records are sent; waiting until all are counted")
                await self._catch_up()
        finally:
            self._ledger.end()
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        """The first SIGINT, SIGTERM or SIGHUP ends it in order, the next one at once."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

        def end() -> None:
            self._is_asked_to_end = True
            for number in numbers:
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, end)
        try:
            yield
        finally:
            end()

    async def _kill_again_and_again(self, kill_every: float, kills: int | None) -> None:
        killed_at: float | None = None
        while not self._is_asked_to_end:
            await self._step()
            if kills is not None and self._workers.kills >= kills:
                if self._killed_at is None:
                    return
            elif kill_every and any(self._audit.positions.values()):
                killed_at = killed_at or time.monotonic()  # the first time begins once something is counted
                if time.monotonic() >= killed_at + kill_every:
                    self._kill()
                    killed_at = time.monotonic()

    async def _catch_up(self) -> None:
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while not (self._is_sent() and self._audit.has_reached(self._ledger.ends())):
            if time.monotonic() > deadline:
                raise FrameworkError(f"the workers have not counted all records within {_CATCH_UP_SECONDS:.0f} s")
            await self._step()

    async def _step(self) -> None:
        """Compare, and show it."""
        await asyncio.sleep(_TICK_SECONDS)
        self._is_sent()
        self._workers.check()
        await asyncio.to_thread(self._audit.read)
        if self._killed_at is not None and self._audit.has_reached(self._sent_before):
            took, self._killed_at = time.monotonic() - self._killed_at, None
            self._view.tell(
                f"{took:.1f} s later: the {sum(self._sent_before):,} records from before the kill are counted; "
                f"{_verdict(self._audit)}"
            )
        self._view.show(self._workers, self._ledger, self._audit)

    def _is_sent(self) -> bool:
        """Whether all records are sent. Raises what ended the sending."""
        if self._sending is None or not self._sending.done():
            return False
        self._sending.result()
        return True

    def _kill(self) -> None:
        number = self._workers.kill_next()
        self._killed_at, self._sent_before = time.monotonic(), self._ledger.ends()
        self._view.tell(f"kill {self._workers.kills}: worker {number} is killed with SIGKILL, and started again")


def _verdict(audit: Audit) -> str:
    if not audit.differences:
        return "all counts are right"
    return f"the counts of {len(audit.differences)} keys are WRONG"


def _conclude(workers: Workers, ledger: Ledger, audit: Audit) -> None:
    """Print the verdict. Raises `FrameworkError` if a count was wrong."""
    counted, _ = audit.totals()
    sent = ledger.sent()
    wrong = {key: (counted[key], sent[key]) for key in counted.keys() | sent.keys() if counted[key] != sent[key]}
    wrong = audit.differences | wrong
    if wrong:
        listed = "; ".join(f"{key}: {count:,} instead of {right:,}" for key, (count, right) in sorted(wrong.items()))
        raise FrameworkError(f"counts are wrong: {listed}; kills: {workers.kills}; please report this")
    click.echo(
        f"kills: {workers.kills} · records sent: {sent.total():,} · counted: {counted.total():,} · "
        f"the counts of all {len(sent)} keys are right, and were in all {audit.comparisons:,} comparisons"
    )


class _View:
    """A table on a terminal, and lines elsewhere, while it is entered."""

    def __init__(self) -> None:
        console = Console()
        is_terminal = sys.stdout.isatty() and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False) if is_terminal else None
        self._news: deque[str] = deque(maxlen=_NEWS)

    def __enter__(self) -> "_View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, news: str) -> None:
        """Show a message."""
        self._news.append(f"{time.strftime('%H:%M:%S')} {news}")
        if self._live is None:
            click.echo(self._news[-1])

    def show(self, workers: Workers, ledger: Ledger, audit: Audit) -> None:
        """Draw the table again, if there is one."""
        if self._live is not None:
            self._live.update(_picture(workers, ledger, audit, self._news), refresh=True)

    @contextmanager
    def on_key(self, key: str, act: Callable[[], None]) -> Iterator[None]:
        """Call `act` when this key is pressed on the terminal, if there is one."""
        if self._live is None or not sys.stdin.isatty():
            yield
            return
        loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)  # keys come at once, and are not shown
        loop.add_reader(terminal, lambda: act() if os.read(terminal, 1) == key.encode() else None)
        try:
            yield
        finally:
            loop.remove_reader(terminal)
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _picture(workers: Workers, ledger: Ledger, audit: Audit, news: Iterable[str]) -> RenderableType:
    sent = ledger.sent()
    counted, expected = audit.totals()
    table = Table(title=f"{len(workers.pids)} workers count generated records · kills: {workers.kills}")
    table.add_column("key")
    for name in ("sent", "stored count", "independent count"):
        table.add_column(name, justify="right")
    table.add_column("equal")
    for key, count in sent.most_common(_HOTTEST):
        table.add_row(key, *(f"{number:,}" for number in (count, counted[key], expected[key])), _mark(key, audit))
    table.add_section()
    table.add_row(
        f"all {len(sent)} keys", *(f"{each.total():,}" for each in (sent, counted, expected)), _mark(None, audit)
    )
    running = " · ".join(f"worker {number}: process {pid}" for number, pid in enumerate(workers.pids, 1))
    status = (
        f"The sender of the records makes the independent count, up to the stored offsets.\n{running}\n"
        f"{audit.comparisons:,} comparisons: {_verdict(audit)} · k kills a worker · Ctrl-C ends"
    )
    return Group(table, Text(status), *map(Text, news))


def _mark(key: str | None, audit: Audit) -> Text:
    """Whether a key, or all of them for None, had the right count in each comparison."""
    wrong = key in audit.differences if key is not None else bool(audit.differences)
    return Text("NO", style="bold red") if wrong else Text("yes", style="green")
