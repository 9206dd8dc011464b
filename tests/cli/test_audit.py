from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from framework.cli.audit import Audit, Ledger
from framework.codecs.json import JsonCodec
from framework.embedded.inputs import InputRecord
from framework.plugins import load
from framework.stores import STATE_TABLE, Changes, Checkpoint, Description, Progress, Store, Unit

PARTITIONS = 4
KEYS = ["a", "b", "c", "a", "d", "e", "a", "b"]


def partition_of(key: str) -> int:
    numbers = list(range(PARTITIONS))
    return int(DefaultPartitioner()(key.encode(), numbers, numbers))


def records(keys: Iterable[str]) -> Iterator[InputRecord]:
    return (InputRecord(key.encode(), b"", line) for line, key in enumerate(keys, 1))


@pytest.fixture
def ledger() -> Ledger:
    """A ledger of which all is sent."""
    made = Ledger(records(KEYS), PARTITIONS)
    assert [record.line for record in made] == list(range(1, len(KEYS) + 1))
    return made


def test_the_ledger_counts_what_it_passes_on(ledger: Ledger) -> None:
    assert ledger.sent() == Counter(KEYS)
    assert ledger.ends() == [sum(partition_of(key) == number for key in KEYS) for number in range(PARTITIONS)]


def test_the_ledger_counts_each_partition_up_to_an_offset(ledger: Ledger) -> None:
    for number in range(PARTITIONS):
        there = [key for key in KEYS if partition_of(key) == number]
        for position in range(len(there) + 1):
            assert ledger.counts_before(number, position) == Counter(there[:position])
    assert ledger.sent() == Counter(KEYS)


def test_after_the_end_nothing_is_sent() -> None:
    ledger = Ledger(records(KEYS), PARTITIONS)
    sending = iter(ledger)
    next(sending)
    ledger.end()
    assert list(sending) == []
    assert ledger.sent() == Counter(["a"])


class Owner:
    """Stores counts, as a worker does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: Counter[int] = Counter()
        self._epochs: dict[int, int] = {}

    def claim(self, partition: int) -> None:
        [claim] = self._store.claim([Unit("g", "keycount", "t", partition)], lambda unit, stored: None)
        self._epochs[partition] = claim.epoch

    def save(self, partition: int, counts: dict[str, int], position: int) -> None:
        if partition not in self._epochs:
            self.claim(partition)
        self._versions[partition] += 1
        unit = Unit("g", "keycount", "t", partition)
        changes = Changes(len(counts), base=[JsonCodec().encode(dict(counts))], base_begins=True, base_ends=True)
        progress = {unit.topic_partition: Progress(position - 1, position)}
        described = Description("json", 1, PARTITIONS, None)
        [outcome] = self._store.save(
            [
                Checkpoint(
                    unit,
                    self._epochs[partition],
                    self._versions[partition],
                    progress,
                    described,
                    {STATE_TABLE: changes},
                )
            ]
        )
        assert outcome.is_stored


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with closing(load([]).open_store(f"sqlite:{tmp_path / 'state'}", {})) as store:
        yield Owner(store)


@pytest.fixture
def audit(ledger: Ledger, tmp_path: Path) -> Audit:
    return Audit(f"sqlite:{tmp_path / 'state'}", "g", ledger)


THERE = [key for key in KEYS if partition_of(key) == partition_of("a")]
OF_A = partition_of("a")


def test_right_counts_are_right_at_each_offset(owner: Owner, audit: Audit, ledger: Ledger) -> None:
    audit.read()
    assert (audit.comparisons, audit.positions) == (0, {})
    owner.claim(OF_A)
    audit.read()
    assert (audit.comparisons, audit.positions) == (0, {})
    for position in range(1, len(THERE) + 1):
        owner.save(OF_A, Counter(THERE[:position]), position)
        audit.read()
        assert audit.totals() == (Counter(THERE[:position]), Counter(THERE[:position]))
    assert audit.differences == {}
    assert audit.comparisons == len(THERE)
    assert {partition.partition: at for partition, at in audit.positions.items()} == {OF_A: len(THERE)}


@pytest.mark.parametrize(
    ("counts", "position", "difference"),
    [
        ({**Counter(THERE), "a": 4}, len(THERE), {"a": (4, 3)}),
        ({**Counter(THERE), "z": 1}, len(THERE), {"z": (1, 0)}),
        ({}, 1, {THERE[0]: (0, 1)}),
        ({THERE[0]: 2}, 1, {THERE[0]: (2, 1)}),
    ],
    ids=["too many", "a foreign key", "one is missing", "one is counted twice"],
)
def test_a_wrong_count_is_found_and_remembered(
    counts: dict[str, int], position: int, difference: dict[str, tuple[int, int]], owner: Owner, audit: Audit
) -> None:
    owner.save(OF_A, counts, position)
    audit.read()
    assert audit.differences == difference
    owner.save(OF_A, Counter(THERE), len(THERE))
    audit.read()
    assert audit.differences == difference


def test_what_is_reached(owner: Owner, audit: Audit, ledger: Ledger) -> None:
    assert not audit.has_reached(ledger.ends())
    assert audit.has_reached([0] * PARTITIONS)
    for number in {partition_of(key) for key in KEYS}:
        there = [key for key in KEYS if partition_of(key) == number]
        owner.save(number, Counter(there), len(there))
        assert not audit.has_reached(ledger.ends())
        audit.read()
    assert audit.has_reached(ledger.ends())
    assert not audit.has_reached([end + 1 for end in ledger.ends()])


async def test_the_positions_are_for_the_feed(owner: Owner, audit: Audit) -> None:
    owner.save(OF_A, Counter(THERE), len(THERE))
    audit.read()
    assert await audit.applied() == {Unit("g", "keycount", "t", OF_A).topic_partition: len(THERE)}
