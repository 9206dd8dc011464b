"""The feed: sends records to a topic, and never more of them than an embedded broker keeps.

The feed fills each record batch itself, so it knows the batch's partition and its exact size on the wire before it is
sent. That is what the embedded broker counts by: a batch is sent once it fits beside the batches of its partition that
are not applied yet. Any other broker gets records as fast as it takes them.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.partitioner import murmur2

from framework.embedded.inputs import InputRecord
from framework.embedded.pace import Applied, Pace
from framework.embedded.reader import ThreadedReader
from framework.errors import BrokerError, TopicNotFoundError
from framework.kafka.errors import explain
from framework.records import TopicPartition

__all__ = ["Applied", "Feed"]

_BATCH_BYTES: Final = 128 * 1024
_LINGER_SECONDS: Final = 0.05


class Feed:
    """Sends records to one topic, each to the partition that Kafka's own clients choose for its key.

    `client` holds the settings of aiokafka's producer. With `embedded`, sending waits for what `applied` tells; without
    an `applied` it ends before the broker would drop a record.
    """

    def __init__(
        self, topic: str, client: Mapping[str, Any], *, embedded: bool = False, applied: Applied | None = None
    ) -> None:
        self.sent: dict[TopicPartition, int] = {}
        """The offset after the last record sent and acknowledged, for each partition that got one."""
        self.records = 0
        """How many records are sent and acknowledged."""
        self.bytes = 0
        """The size of their batches, before any compression."""
        self._topic = topic
        self._settings = {"max_batch_size": _BATCH_BYTES, **client, "enable_idempotence": True}
        self._pace = Pace(topic, client["bootstrap_servers"], applied) if embedded else None
        self._producer: Any = None
        self._partitions = 0
        self._keyless = 0
        self._filling: dict[int, Any] = {}
        self._under_way: dict[int, _Delivery] = {}
        self._flush_at = 0.0

    async def run(self, records: Iterable[InputRecord], progress: Callable[[int], None] = lambda records: None) -> None:
        """Send all records, once, and return when all are acknowledged; `progress` hears of how many are so far.

        `records` is read in a thread, so it may block. Raises what reading it raises; `BrokerError`,
        `TopicNotFoundError`; `RecordsLostError` where the embedded broker has dropped records, or would have to.
        """
        reader = ThreadedReader(records)
        async with AsyncExitStack() as stack:
            stack.callback(reader.close)
            try:
                await self._start(stack)
                while (chunk := await reader.take(self._patience())) is not None:
                    await self._add(chunk)
                    if time.monotonic() >= self._flush_at:
                        await self._flush()
                    progress(self.records)
                await self._flush()
                progress(self.records)
                if self._pace:
                    await self._pace.check_lost()
            except UnknownTopicOrPartitionError as error:
                raise TopicNotFoundError(f"the broker has no topic {self._topic}; create it first") from error
            except KafkaError as error:
                raise BrokerError(f"sending to topic {self._topic} failed: {explain(error)}") from error

    async def _start(self, stack: AsyncExitStack) -> None:
        self._producer = AIOKafkaProducer(**self._settings)
        stack.push_async_callback(self._stop)
        await self._producer.start()
        self._partitions = len(await self._producer.partitions_for(self._topic))
        if self._pace:
            await self._pace.start(self._partitions, stack)

    async def _stop(self) -> None:
        await self._producer.stop()
        for partition in list(self._under_way):
            with suppress(KafkaError):  # what ended the feed says more
                await self._await_delivery(partition)

    async def _add(self, records: list[InputRecord]) -> None:
        for key, value, _ in records:
            partition = self._keyless if key is None else _hash(key) % self._partitions
            batch = self._filling.get(partition)
            if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
                if batch is not None:
                    await self._send(partition)
                batch = self._filling[partition] = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)

    async def _send(self, partition: int) -> None:
        batch = self._filling.pop(partition)
        size = batch.size()
        await self._await_delivery(partition)
        if self._pace:
            await self._pace.make_room(partition, size)
        done = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._under_way[partition] = _Delivery(done, batch.record_count(), size)
        if partition == self._keyless:
            self._keyless = (partition + 1) % self._partitions

    async def _await_delivery(self, partition: int) -> None:
        """Wait until the partition's last batch is acknowledged."""
        if delivery := self._under_way.pop(partition, None):
            acknowledged = await delivery.done
            end = acknowledged.offset + delivery.records
            self.sent[TopicPartition(self._topic, partition)] = end
            self.records += delivery.records
            self.bytes += delivery.size
            if self._pace:
                self._pace.add(partition, end, delivery.size)

    def _patience(self) -> float | None:
        """For how many seconds to wait for the next records."""
        return max(0.0, self._flush_at - time.monotonic()) if self._filling else None

    async def _flush(self) -> None:
        for partition in list(self._filling):
            await self._send(partition)
        for partition in list(self._under_way):
            await self._await_delivery(partition)
        self._flush_at = time.monotonic() + _LINGER_SECONDS


class _Delivery(NamedTuple):
    """A batch on its way; `done` gives where it went."""

    done: Awaitable[Any]
    records: int
    size: int


@lru_cache(2**17)
def _hash(key: bytes) -> int:
    """The hash by which Kafka's own clients choose a partition."""
    return int(murmur2(key)) & 0x7FFFFFFF
