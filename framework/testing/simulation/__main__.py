"""The command `framework-simulate`: histories from a seed on, and what happened in them."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

import click

from framework.testing.simulation import STORES, History, Simulation, SimulationError, StoreName

__all__ = ["main"]


@click.command(name="framework-simulate")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first history; each next one is one more.")
@click.option("--steps", type=click.IntRange(min=0), default=40, show_default=True, help="What happens in a history.")
@click.option("--histories", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--store", type=click.Choice(STORES), help="The store under test; else the seed chooses.")
@click.option("--show", is_flag=True, help="Print each history, also where nothing is wrong.")
def main(seed: int, steps: int, histories: int, store: str | None, show: bool) -> None:
    """Run the production runtime on simulated Kafka, clock and faults.

    Prints what was simulated; where a promise is broken, the history and its seed, and exits with status 1.
    """
    began, done = time.monotonic(), list[History]()
    for each in range(seed, seed + histories):
        simulation = Simulation(each, steps, store=cast("StoreName | None", store))
        try:
            done.append(simulation.run())
        except SimulationError as error:
            _summarize(done, time.monotonic() - began)
            click.echo(str(error))
            click.echo(
                f"repeat it with: framework-simulate --seed {each} --steps {steps}{f' --store {store}' * bool(store)}"
            )
            sys.exit(1)
        if show:
            click.echo(str(done[-1]))
    _summarize(done, time.monotonic() - began)


def _summarize(histories: Sequence[History], seconds: float) -> None:
    faults = sum((history.faults for history in histories), Counter[str]())
    click.echo(
        f"{len(histories)} histories kept every promise: "
        f"{sum(history.records for history in histories)} records, "
        f"{sum(history.checkpoints for history in histories)} checkpoints, "
        f"{sum(history.outputs for history in histories)} outputs, "
        f"{sum(history.handles for history in histories)} events in "
        f"{sum(history.seconds for history in histories):.0f} simulated seconds, {seconds:.1f} s"
    )
    click.echo(f"{faults.total()} faults: " + ", ".join(f"{count} {kind}" for kind, count in faults.most_common()))


if __name__ == "__main__":
    main()
