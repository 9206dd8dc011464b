"""`framework demo`: the main job to watch, on the embedded broker."""

import asyncio
import heapq
import logging
from contextlib import suppress
from operator import itemgetter

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from framework.cli.options import Command, framework_option, log_options
from framework.cli.status import StatusText
from framework.embedded.traffic import generate
from framework.plugins import load
from framework.runner import Runner, RunSettings

__all__ = ["demo"]

_HOTTEST = 10
_REFRESH_SECONDS = 0.5
_WINDOW = 4
"""Readings over which the rate is taken."""


@click.command(cls=Command)
@framework_option(
    "--rate", type=click.IntRange(1), default=2000, show_default=True, metavar="N", help="Records a second."
)
@log_options
def demo(rate: int) -> None:
    """Run the plugin keycount on generated records, on the embedded broker, and show its counts until Ctrl-C.

    \b
    Example:
      framework demo --rate 5000
    """
    logging.getLogger("framework").setLevel(logging.WARNING)  # the table says it all
    runner = Runner(
        RunSettings(
            plugins=load(["keycount"]),
            topics=["generated"],
            bootstrap_servers=None,
            group="framework-demo",
            store="memory",
            records=generate(rate=rate),
        )
    )
    asyncio.run(_watch(runner))


async def _watch(runner: Runner) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        showing = asyncio.create_task(_show(runner, live))
        try:
            await runner.run()
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing


async def _show(runner: Runner, live: Live) -> None:
    text = StatusText(None, _WINDOW)
    while True:
        live.update(_picture(runner, f"{text.of(runner.figures())} · Ctrl-C stops"), refresh=True)
        await asyncio.sleep(_REFRESH_SECONDS)


def _picture(runner: Runner, status: str) -> RenderableType:
    table = Table("key", "count", "partition", title="keycount · generated traffic on the embedded broker")
    table.columns[1].justify = "right"
    entries = (
        (key, count, task.partition) for task in runner.tasks if task.applier for key, count in task.view().items()
    )
    for key, count, partition in heapq.nlargest(_HOTTEST, entries, key=itemgetter(1)):
        table.add_row(str(key), f"{count:,}", str(partition))
    return Group(table, Text(status))
