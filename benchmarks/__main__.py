"""framework and its peers side by side.

python -m benchmarks [SUITE] [--quick] [--records N] [--runs R] [--contestant NAME]... [--list]

See benchmarks/README.md.
"""

import signal
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import chosen
from benchmarks.environments import CACHE
from benchmarks.plot import draw
from benchmarks.report import print_report, save_report
from benchmarks.session import Session, Settings
from benchmarks.suites import SUITES, contestants, suite


def _list(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_table("suite", {name: [suite(name).DESCRIPTION] for name in SUITES}, ["what it measures"]))
    for name in ("throughput", "values"):
        rows = {one.name: [one.description, one.settings()] for one in contestants(name)}
        console.print(_table(f"contestant of {name}", rows, ["what it is", "settings"]))
    ctx.exit()


def _table(first: str, rows: dict[str, list[str]], columns: list[str]) -> Table:
    table = Table(first, *columns, box=None)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _check_globs(name: str, patterns: tuple[str, ...]) -> None:
    try:
        chosen(patterns, contestants(name))
    except KeyError as error:
        raise click.UsageError(f"no contestant of {name} is called {error}; see --list") from error


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="[SUITE]", type=click.Choice(list(SUITES)), default="throughput")
@click.option("--quick", is_flag=True, help="Few contestants and records: the floors in less than two minutes.")
@click.option("--records", type=click.IntRange(1), help="The usual number; some are measured over fewer, or more.")
@click.option(
    "--runs", type=click.IntRange(1), default=3, show_default=True, help="Number of runs of each contestant, in turns."
)
@click.option("--contestant", "patterns", multiple=True, help="A name or glob; repeatable.")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the suites and contestants."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=CACHE / "results",
    help="Directory for the figures (JSON) and the plot (SVG); .cache/benchmarks/results by default.",
)
def main(name: str, quick: bool, records: int | None, runs: int, patterns: tuple[str, ...], output: Path) -> None:
    """Measure framework and its peers side by side; exit status 1 means that a floor was missed or a contestant failed.

    The suite is throughput by default; --list shows all.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all child processes are ended
    _check_globs(name, patterns)
    chosen_suite = suite(name)
    usual = records or (chosen_suite.QUICK_RECORDS if quick else chosen_suite.RECORDS)
    with Session(Settings(quick, usual, runs, patterns)) as session:
        report = chosen_suite.run(session)
    console = Console(width=None if sys.stdout.isatty() else 140)
    print_report(report, console)
    asked = {"quick": quick, "records": usual, "runs": runs, "contestants": patterns}
    console.print("figures:", str(save_report(report, output, asked)), highlight=False)
    try:
        console.print("plot:", str(draw(report, output)), highlight=False)
    except ImportError:
        console.print("no plot without matplotlib: install the dependency group benchmark")
    sys.exit(not report.passes)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
