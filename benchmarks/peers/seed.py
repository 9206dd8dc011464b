"""aiokafka's example "local state and storing offsets outside of Kafka", in its own structure, without its print.

Written anew. It stops by itself, and begins at the earliest record, since it does not start on "none".
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from benchmarks.peers.loads import KINDS, loads
from benchmarks.protocol import read_task, report

Tally: TypeAlias = "Counter[str]"
"""A number for each key: how many records it has, or the sum of their amounts."""


class LocalState:
    """Counts and last offset of each partition, in a JSON file each. They may be sums, of numbers of any type."""

    def __init__(self, directory: Path, number: Callable[[Any], Any]) -> None:
        self._directory = directory
        self._number = number
        self.counts: dict[TopicPartition, Tally] = {}
        self._offsets: dict[TopicPartition, int] = {}

    def dump(self) -> None:
        for tp, counts in self.counts.items():
            with self._file(tp).open("w") as file:
                json.dump({"last_offset": self._offsets[tp], "counts": dict(counts)}, file, default=str)

    def load(self, partitions: Iterable[TopicPartition]) -> None:
        self.counts.clear()
        self._offsets.clear()
        for tp in partitions:
            stored: dict[str, Any] = {"last_offset": -1, "counts": {}}
            with suppress(FileNotFoundError, json.JSONDecodeError):
                stored = json.loads(self._file(tp).read_text())
            self.counts[tp] = Counter({key: self._number(count) for key, count in stored["counts"].items()})
            self._offsets[tp] = stored["last_offset"]

    def add(self, tp: TopicPartition, counts: Tally, last_offset: int) -> None:
        self.counts[tp] += counts
        self._offsets[tp] = last_offset

    def last_offset(self, tp: TopicPartition) -> int:
        return self._offsets[tp]

    def _file(self, tp: TopicPartition) -> Path:
        return self._directory / f"partition-state-{tp.topic}-{tp.partition}.json"


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Writes the state's files when partitions are revoked, and seeks to the stored offsets when they are assigned."""

    def __init__(self, consumer: AIOKafkaConsumer, state: LocalState) -> None:
        self._consumer = consumer
        self._state = state
        self.assigned_at = 0.0

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._state.dump()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._state.load(assigned)
        for tp in assigned:
            if (last_offset := self._state.last_offset(tp)) < 0:
                await self._consumer.seek_to_beginning(tp)
            else:
                self._consumer.seek(tp, last_offset + 1)
        self.assigned_at = time.time()


async def dump_every_second(state: LocalState) -> None:
    """As the example does: on the event loop, whatever the size."""
    while True:
        await asyncio.sleep(1)
        state.dump()


def count(records: Sequence[Any]) -> Tally:
    """The number of records of each key."""
    counts: Tally = Counter()
    for record in records:
        counts[record.key] += 1
    return counts


def adding_up(amounts: str) -> Callable[[Sequence[Any]], Tally]:
    """The function for the sum of each key, with values parsed in this way."""
    parse = loads(amounts)

    def add_up(records: Sequence[Any]) -> Tally:
        sums: Tally = Counter()
        for record in records:
            sums[record.key] += parse(record.value)["amount"]
        return sums

    return add_up


async def consume() -> None:
    """Count all records of the task, or sum their amounts."""
    task = read_task()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap_servers,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        key_deserializer=lambda key: key.decode("utf-8") if key else "",
    )
    await consumer.start()
    amounts: str | None = task.options.get("amounts")
    tally = count if amounts is None else adding_up(amounts)
    state = LocalState(task.directory, int if amounts is None else KINDS[amounts])
    listener = Listener(consumer, state)
    consumer.subscribe(topics=[task.topic], listener=listener)
    dumping = asyncio.create_task(dump_every_second(state))
    left = task.records
    while left:
        batches = await consumer.getmany(timeout_ms=1000)
        for tp, records in batches.items():
            state.add(tp, tally(records), records[-1].offset)
            left -= len(records)
    state.dump()
    last = time.time()
    dumping.cancel()
    await consumer.stop()
    tallies = list(state.counts.values())
    total, keys = sum(one.total() for one in tallies), sum(map(len, tallies))
    if amounts is None:
        report(total, keys, listener.assigned_at, last)
    else:
        report(task.records - left, keys, listener.assigned_at, last, total=total)


if __name__ == "__main__":
    asyncio.run(consume())
