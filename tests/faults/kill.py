"""Workers killed at random, while others join and records flow.

python -m tests.faults.kill --minutes 5 [--store sqlite|file] [--seed 1] [--restart-broker] [--cut]

prints the figures of docs/reliability.md, and stops at the first difference.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import click

from framework.testing.brokers import KafkaJars
from tests.faults.aim import wait_for_write
from tests.faults.application import Application
from tests.faults.proxy import Proxy

__all__ = ["Storm"]

_MOST_WORKERS = 3
_LONGEST_PAUSE = 1.5
_CHECK_EVERY = 10.0
"""Seconds between two checks of what is stored, for which all workers are killed."""


@dataclass
class Storm:
    """What happened."""

    kills: int = 0
    aimed: int = 0
    """How many of the kills came while something was written to the store."""
    checks: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """How often each other fault was made."""

    def blow(
        self,
        application: Application,
        seconds: float,
        chance: random.Random,
        others: Mapping[str, Callable[[], None]] = MappingProxyType({}),
    ) -> None:
        """Start and kill workers for a while, each step at random; now and then make one of the other faults."""
        end = time.monotonic() + seconds
        next_check = time.monotonic() + _CHECK_EVERY
        while time.monotonic() < end:
            application.check_workers()
            workers = application.workers
            if time.monotonic() > next_check:
                self._kill_all(application)
                application.check_stored()
                self.checks += 1
                next_check = time.monotonic() + _CHECK_EVERY
            elif others and chance.random() < 0.1:
                name = chance.choice(list(others))
                others[name]()
                self.others[name] += 1
            elif len(workers) < _MOST_WORKERS and chance.random() < (0.6 if workers else 1):
                application.start()
            else:
                if chance.random() < 0.5:
                    self.aimed += wait_for_write(application.directory / "state")
                application.kill(chance.choice(workers))
                self.kills += 1
            time.sleep(chance.uniform(0, _LONGEST_PAUSE))
        self._kill_all(application)

    def _kill_all(self, application: Application) -> None:
        for worker in list(application.workers):
            application.kill(worker)
            self.kills += 1


@click.command()
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--store", type=click.Choice(["sqlite", "file"]), default="sqlite", show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--restart-broker", is_flag=True, help="Stop, or kill, and start the broker, too.")
@click.option("--cut", is_flag=True, help="Cut, delay and stall connections, too.")
def main(minutes: float, store: str, seed: int, restart_broker: bool, cut: bool) -> None:
    """Kill workers at random on a broker of one's own."""
    chance, storm = random.Random(seed), Storm()
    others: dict[str, Callable[[], None]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = stack.enter_context(Proxy(seed)) if cut else None
        advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"} if proxy else {}
        kafka = stack.enter_context(KafkaJars(directory, advertised))
        if proxy is not None:
            proxy.target = int(kafka.bootstrap_servers.rpartition(":")[2])
            others |= disturbances(proxy, chance)
        if restart_broker:
            others |= outages(kafka, chance)
        application = stack.enter_context(Application(kafka.bootstrap_servers, directory, store=store, seed=seed))
        storm.blow(application, minutes * 60, chance, others)
        if proxy is not None:
            proxy.delay = 0
        application.finish()
        click.echo(f"store {store}, seed {seed}: {storm.kills} workers killed, {storm.aimed} of them at a write")
        for name, count in sorted(storm.others.items()):
            click.echo(f"{name}: {count} times")
        click.echo(
            f"{application.assignments} assignments; {application.oracle.read():,} records, "
            f"{application.oracle.deleted:,} of them deleted behind the state; {application.repeats:,} outputs sent "
            f"again; {storm.checks + 1} checks, 0 differences"
        )


def outages(kafka: KafkaJars, chance: random.Random) -> dict[str, Callable[[], None]]:
    """The broker goes away, in peace or not, for a while that may be longer than the session timeout."""

    def away(end: Callable[[], None]) -> None:
        end()
        time.sleep(chance.uniform(0, 4))
        kafka.start()

    return {"broker stopped": lambda: away(kafka.stop), "broker killed": lambda: away(kafka.kill)}


def disturbances(proxy: Proxy, chance: random.Random) -> dict[str, Callable[[], None]]:
    """Connections are cut, are slow, or are open and dead for a while."""

    def slow() -> None:
        proxy.delay = chance.choice([0, 0.05, 0.3])

    def stall() -> None:
        proxy.stall()
        time.sleep(chance.uniform(0.5, 4))
        proxy.flow()

    return {
        "all connections cut": proxy.cut,
        "some connections cut": lambda: proxy.cut(0.3),
        "delay changed": slow,
        "connections stalled": stall,
    }


if __name__ == "__main__":
    sys.exit(main())
