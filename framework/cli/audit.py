"""The independent count of the demo: the sender counts what it sends, and stored counts are compared with that."""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache

from aiokafka.partitioner import DefaultPartitioner

from framework.changes import fold_rows
from framework.cli.stores import open_store
from framework.embedded.inputs import InputRecord
from framework.plugins import load
from framework.records import TopicPartition
from framework.stores import STATE_TABLE, Store, StoredUnit

__all__ = ["Audit", "Ledger"]


class Ledger:
    """Counts the records that it passes on, by partition and key, until `end`.

    One thread takes the records; others may ask meanwhile.
    """

    def __init__(self, records: Iterator[InputRecord], partitions: int) -> None:
        """`records`: with keys that are text. They go to a topic that is empty and has this many partitions."""
        self._records = records
        self._is_ended = False
        self._lock = threading.Lock()
        self._ahead: list[deque[str]] = [deque() for _ in range(partitions)]
        """The keys of the records that are sent, and not counted yet."""
        self._counts: list[Counter[str]] = [Counter() for _ in range(partitions)]
        self._positions = [0] * partitions

    def __iter__(self) -> Iterator[InputRecord]:
        for record in self._records:
            if self._is_ended:
                return
            if record.key is not None:
                with self._lock:
                    self._ahead[_partition(record.key, len(self._ahead))].append(record.key.decode())
            yield record

    def end(self) -> None:
        """Send no further records."""
        self._is_ended = True

    def ends(self) -> list[int]:
        """How many records are sent to each partition: the offset of the next one."""
        with self._lock:
            return [at + len(ahead) for at, ahead in zip(self._positions, self._ahead, strict=True)]

    def sent(self) -> Counter[str]:
        """How many records are sent, by key."""
        with self._lock:
            return sum((Counter(ahead) for ahead in self._ahead), sum(self._counts, Counter()))

    def counts_before(self, partition: int, position: int) -> Counter[str]:
        """How many records are before the offset `position`, by key. It must not be less than in the last call."""
        with self._lock:
            ahead = self._ahead[partition]
            while self._positions[partition] < position and ahead:
                self._counts[partition][ahead.popleft()] += 1
                self._positions[partition] += 1
            return Counter(self._counts[partition])


@cache
def _partition(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients choose for a key."""
    numbers = list(range(partitions))
    return int(DefaultPartitioner()(key, numbers, numbers))


class Audit:
    """Compares the stored counts of each partition with the ledger's, for the records up to the stored offset.

    Such an offset is stored in one step with the counts. So both must be equal at any moment, also just after a kill.
    """

    def __init__(self, location: str, group: str, ledger: Ledger) -> None:
        """`location`: that of the store. `group`: its workers run the plugin keycount alone, on one topic."""
        self._location = location
        self._group = group
        self._ledger = ledger
        self.positions: dict[TopicPartition, int] = {}
        """The offset of the record to count next, for each partition of which something is stored."""
        self.counted: dict[int, Counter[str]] = {}
        """The stored counts by partition and key."""
        self.expected: dict[int, Counter[str]] = {}
        """The counts of the ledger, at the same positions."""
        self.comparisons = 0
        self.differences: dict[str, tuple[int, int]] = {}
        """By key, the first stored count that was wrong, and the right one."""

    def read(self) -> None:
        """Compare what is stored now. It may block for a moment."""
        with closing(open_store(self._location, {})) as store:
            for stored in store.stored(self._group):
                if stored.description is not None:
                    self._compare(store, stored)

    def _compare(self, store: Store, stored: StoredUnit) -> None:
        counts = _counts(store, stored)
        if stored not in store.stored(self._group):
            return  # a checkpoint came meanwhile: it is compared the next time
        number, position = stored.unit.partition, stored.own_progress.last_offset + 1
        expected = self._ledger.counts_before(number, position)
        self.positions[stored.unit.topic_partition] = position
        self.counted[number], self.expected[number] = counts, expected
        self.comparisons += 1
        for key in counts.keys() | expected.keys():
            if counts[key] != expected[key]:
                self.differences.setdefault(key, (counts[key], expected[key]))

    def totals(self) -> tuple[Counter[str], Counter[str]]:
        """The stored counts by key, and those of the ledger, at the same positions."""
        return sum(self.counted.values(), Counter()), sum(self.expected.values(), Counter())

    def has_reached(self, ends: list[int]) -> bool:
        """Whether all records before these offsets, by partition, are in the stored counts."""
        reached = {partition.partition: position for partition, position in self.positions.items()}
        return all(reached.get(number, 0) >= end for number, end in enumerate(ends))

    async def applied(self) -> Mapping[TopicPartition, int]:
        """The positions, for what sends records."""
        return self.positions


def _counts(store: Store, stored: StoredUnit) -> Counter[str]:
    if stored.description is None:
        return Counter()
    codec = load([]).codec(stored.description.codec)()
    return Counter(fold_rows(codec, (row for table, row in store.load(stored.unit) if table == STATE_TABLE)))
