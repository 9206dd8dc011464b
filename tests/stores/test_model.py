"""Every store against a tiny model: two workers claim, save, rebase, set aside and start again, in any order."""

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from framework.errors import FencedError, InternalError
from framework.stores import Checkpoint, Store, Unit
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore
from tests.stores.units import DESCRIPTION, UNIT, Known, accept_all

WORKERS = st.sampled_from(["a", "b"])
UNITS = st.sampled_from([UNIT, replace(UNIT, partition=1)])
BODIES = st.binary(max_size=3)


class StoreMachine(RuleBasedStateMachine):
    """Owners are pairs of a worker and a unit; they know the epoch and offset that they last heard of."""

    store_type: ClassVar[type[Store]]

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        first = self.open()
        self.stores = {"a": first, "b": self.open() if self.store_type.survives else first}
        self.known: dict[Unit, Known] = {}
        self.owners: dict[tuple[str, Unit], tuple[int, int]] = {}

    def open(self, *, read_only: bool = False) -> Store:
        return self.store_type(Path(self.directory.name), read_only=read_only)

    @rule(worker=WORKERS, unit=UNITS)
    def claim(self, worker: str, unit: Unit) -> None:
        known = self.known.setdefault(unit, Known())
        claim = self.stores[worker].claim(unit, accept_all)
        assert (claim.previous.epoch if claim.previous else 0, claim.epoch) == (known.epoch, known.epoch + 1)
        known.epoch, known.new_base = claim.epoch, None
        self.owners[worker, unit] = claim.epoch, known.last_offset

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), records=st.integers(0, 3), pieces=st.lists(BODIES, max_size=2))
    def save(self, data: st.DataObject, records: int, pieces: list[bytes]) -> None:
        rows = data.draw(st.lists(BODIES, max_size=3 if self.store_type.keeps_rows else 1), "rows")
        worker, unit = data.draw(st.sampled_from(sorted(self.owners)), "owner")
        begins, ends = (data.draw(st.booleans()) and self.store_type.keeps_rows for _ in range(2))
        epoch, previous = self.owners[worker, unit]
        checkpoint = Checkpoint(
            unit=unit,
            epoch=epoch,
            previous_offset=previous,
            last_offset=previous + records,
            position=previous + records + 1,
            keys=0,
            description=DESCRIPTION,
            rows=rows,
            base=pieces if self.store_type.keeps_rows else (),
            base_begins=begins,
            base_ends=ends,
        )
        [outcome] = self.stores[worker].save([checkpoint])
        known = self.known[unit]
        if (epoch, previous) != (known.epoch, known.last_offset):
            assert isinstance(outcome, FencedError)
        elif (checkpoint.base or ends) and not begins and known.new_base is None:
            assert isinstance(outcome, InternalError)
        else:
            assert outcome is None
            known.apply(checkpoint, self.store_type.keeps_rows)
            self.owners[worker, unit] = epoch, checkpoint.last_offset

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        worker, unit = data.draw(st.sampled_from(sorted(self.owners)), "owner")
        epoch, _ = self.owners[worker, unit]
        known = self.known[unit]
        if epoch != known.epoch:
            with pytest.raises(FencedError):
                self.stores[worker].set_aside(unit, epoch)
            return
        aside = self.stores[worker].set_aside(unit, epoch)
        assert aside not in self.known
        self.known[aside] = known
        self.known[unit] = Known(epoch)
        self.owners[worker, unit] = epoch, -1

    @precondition(lambda self: self.store_type.survives)
    @rule(worker=WORKERS)
    def reopen(self, worker: str) -> None:
        self.stores[worker].close()
        self.stores[worker] = self.open()

    @invariant()
    def reads_what_was_saved(self) -> None:
        if not self.store_type.survives:
            self.check(self.stores["a"])
            return
        with closing(self.open(read_only=True)) as store:
            self.check(store)

    def check(self, store: Store) -> None:
        stored = {each.unit: (each.epoch, each.last_offset, each.bytes) for each in store.stored()}
        assert stored == {
            unit: (known.epoch, known.last_offset, sum(map(len, known.rows))) for unit, known in self.known.items()
        }
        assert {unit: list(store.rows(unit)) for unit in self.known} == {
            unit: known.rows for unit, known in self.known.items()
        }

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()
        self.directory.cleanup()


def case(store: type[Store], examples: int) -> Any:
    machine: Any = type(f"{store.__name__}Machine", (StoreMachine,), {"store_type": store})
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    return machine.TestCase


TestSqliteStore = case(SqliteStore, 25)
TestFileStore = case(FileStore, 25)
TestMemoryStore = case(MemoryStore, 100)
