"""aiokafka's example "local state and storing offsets outside of Kafka", in its own structure, without its print.

Written anew. It stops by itself, and begins at the earliest record, since it does not start on "none".
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from benchmarks.protocol import read_task, report


class LocalState:
    """Counts and last offset of each partition, in a JSON file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.counts: dict[TopicPartition, Counter[str]] = {}
        self._offsets: dict[TopicPartition, int] = {}

    def dump(self) -> None:
        for tp, counts in self.counts.items():
            with self._file(tp).open("w") as file:
                json.dump({"last_offset": self._offsets[tp], "counts": dict(counts)}, file)

    def load(self, partitions: Iterable[TopicPartition]) -> None:
        self.counts.clear()
        self._offsets.clear()
        for tp in partitions:
            stored: dict[str, Any] = {"last_offset": -1, "counts": {}}
            with suppress(FileNotFoundError, json.JSONDecodeError):
                stored = json.loads(self._file(tp).read_text())
            self.counts[tp] = Counter(stored["counts"])
            self._offsets[tp] = stored["last_offset"]

    def add(self, tp: TopicPartition, counts: Counter[str], last_offset: int) -> None:
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


async def consume() -> None:
    """Count all records of the task."""
    task = read_task()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap_servers,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        key_deserializer=lambda key: key.decode("utf-8") if key else "",
    )
    await consumer.start()
    state = LocalState(task.directory)
    listener = Listener(consumer, state)
    consumer.subscribe(topics=[task.topic], listener=listener)
    dumping = asyncio.create_task(dump_every_second(state))
    left = task.records
    while left:
        batches = await consumer.getmany(timeout_ms=1000)
        for tp, records in batches.items():
            counts: Counter[str] = Counter()
            for record in records:
                counts[record.key] += 1
            state.add(tp, counts, record.offset)
            left -= len(records)
    state.dump()
    last = time.time()
    dumping.cancel()
    await consumer.stop()
    counted = list(state.counts.values())
    report(sum(counts.total() for counts in counted), sum(map(len, counted)), listener.assigned_at, last)


if __name__ == "__main__":
    asyncio.run(consume())
