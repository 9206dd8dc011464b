"""How many power cuts and how much damage the stores stand. The planted bugs that would be found are tests."""

import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import click

from framework.stores.file import FileStore
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import UNIT
from tests.stores.damage import check_damaged, check_file_refused, cuts, flips, read, save_database, save_file
from tests.stores.on_disk import DiskStore
from tests.stores.power.outages import Outage, cut, fast_directory, record

TURNS = 60
POINTS = 60
"""How often the power fails in a life."""

EACH: dict[type[DiskStore], int] = {SqliteStore: 8, FileStore: 1000}
"""How many of the states that each cut may leave are tried; for `file` that is all of them."""

DAMAGE: dict[str, Callable[..., Iterator[bytes]]] = {"flipped bytes": flips, "truncations": cuts}


@click.command()
@click.option("--states", default=1000, show_default=True, help="Crash states to try for each store.")
@click.option("--step", default=1, show_default=True, help="Damage each Nth byte of a database.")
def main(states: int, step: int) -> None:
    """Cut the power of the stores, damage their files, and print what came of it; status 1 if anything was wrong."""
    breaches = [*_try_outages(SqliteStore, states), *_try_outages(FileStore, states)]
    _damage_file("json")
    _damage_file("msgpack")
    _damage_database(step)
    if breaches:
        sys.exit("\n".join(breaches))


def _try_outages(store_type: type[DiskStore], states: int) -> list[str]:
    """Gives what was wrong."""
    breaches = [str(outage) for outage in islice(_outages(store_type), states) if outage.breach]
    click.echo(f"{store_type.name}: {states:,} crash states, {len(breaches)} breaches")
    return breaches


def _outages(store_type: type[DiskStore]) -> Iterator[Outage]:
    for seed in count():
        random = Random(seed)
        with fast_directory() as disk:
            history = record(store_type, disk / "store", random, TURNS)
            points = random.sample(history.recording.points, POINTS)
            yield from cut(store_type, history, disk / "left", random, points, EACH[store_type])


def _damage_file(codec: str) -> None:
    with fast_directory() as directory:
        owner = save_file(directory, codec)
        whole = Path(owner.store.place(UNIT)).read_bytes()
        for name, damage in DAMAGE.items():
            trials = [*damage(whole)]
            for damaged in trials:
                check_file_refused(owner, damaged)
            click.echo(f"file, {codec}: {len(trials):,} {name}, all refused")


def _damage_database(step: int) -> None:
    with fast_directory() as directory:
        path = save_database(directory)
        whole, before = path.read_bytes(), read(directory)
        for name, damage in DAMAGE.items():
            refused = []
            for damaged in damage(whole, step=step):
                path.write_bytes(damaged)
                refused.append(check_damaged(directory, before) is not None)
            harmless = len(refused) - sum(refused)
            click.echo(f"sqlite: {len(refused):,} {name}, {sum(refused):,} refused, {harmless:,} read back as it was")


if __name__ == "__main__":
    main(prog_name="python -m tests.stores.figures")
