"""Several processes on one store, all at once."""

import multiprocessing
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from threading import Barrier
from typing import Any

from framework.stores import SAVED
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import UNIT, Owner, state_rows
from tests.stores.on_disk import DiskStore

ROUNDS = 6
CLAIMS = 5
WORKERS = 3


@dataclass
class Saved:
    """That a save succeeded: the store's word on who was the owner then."""

    group: str
    epoch: int
    version: int


def work(store_type: type[DiskStore], directory: Path, barrier: Barrier, results: "Queue[Any]") -> None:
    """Rounds of claims and saves, each round in a new group that all processes open at the same moment."""
    claims, saved = [], []
    try:
        with closing(store_type(directory)) as store:
            for number in range(ROUNDS):
                unit = replace(UNIT, group=f"group-{number}")
                barrier.wait(30)
                for _ in range(CLAIMS):
                    owner = Owner(store, unit)
                    claims.append((unit.group, owner.epoch))
                    outcome = owner.try_save(owner.checkpoint(b"%d" % owner.version))
                    if outcome == SAVED:
                        saved.append(Saved(unit.group, owner.epoch, owner.version))
                    elif outcome.kind != "fenced":
                        raise AssertionError(outcome)
        results.put((claims, saved))
    except BaseException as error:
        barrier.abort()
        results.put(error)


def test_each_epoch_has_one_owner_and_each_version_one_save(store_type: type[DiskStore], directory: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(WORKERS), context.Queue()
    workers = [
        context.Process(target=work, args=(store_type, directory, barrier, results), daemon=True)
        for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    claims, saved = [], []
    for outcome in [results.get(timeout=60) for _ in workers]:
        if isinstance(outcome, BaseException):
            raise outcome
        claims += outcome[0]
        saved += outcome[1]
    for worker in workers:
        worker.join(30)
    results.close()

    with closing(store_type(directory, read_only=True)) as store:
        for number in range(ROUNDS):
            unit = replace(UNIT, group=f"group-{number}")
            assert sorted(epoch for group, epoch in claims if group == unit.group) == [*range(1, WORKERS * CLAIMS + 1)]
            mine = sorted((each for each in saved if each.group == unit.group), key=lambda each: each.epoch)
            assert [each.version for each in mine] == [*range(1, len(mine) + 1)]
            [stored] = store.stored(unit.group)
            assert (stored.epoch, stored.version) == (WORKERS * CLAIMS, len(mine))
            rows = [b"%d" % number for number in range(len(mine))]
            assert state_rows(store, unit) == (rows if store.keeps_rows else rows[-1:])


def read(directory: Path, reading: Any, written: Any, results: "Queue[Any]") -> None:
    try:
        with closing(SqliteStore(directory, read_only=True)) as store:
            reading.set()
            lengths, ended = [], False
            while not ended:
                ended = written.is_set()
                rows = state_rows(store)
                assert rows == [b"%d" % number for number in range(len(rows))]
                [stored] = store.stored()
                assert stored.version >= len(rows)
                lengths.append(len(rows))
        results.put(lengths)
    except BaseException as error:
        results.put(error)


def test_a_reader_in_another_process_sees_whole_checkpoints(directory: Path) -> None:
    context = multiprocessing.get_context("spawn")
    reading, written, results = context.Event(), context.Event(), context.Queue()
    with closing(SqliteStore(directory)) as store:
        owner = Owner(store)
        reader = context.Process(target=read, args=(directory, reading, written, results), daemon=True)
        reader.start()
        assert reading.wait(30)
        for number in range(200):
            owner.save(b"%d" % number)
        written.set()
        lengths = results.get(timeout=60)
        reader.join(30)
        results.close()

    assert not isinstance(lengths, BaseException), lengths
    assert lengths == sorted(lengths)
    assert lengths[-1] == 200
