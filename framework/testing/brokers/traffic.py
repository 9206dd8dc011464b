"""Topics and records for tests, through librdkafka: a client that the runtime does not read with.

Everything here blocks; in a test whose own tasks must run meanwhile, call it through `asyncio.to_thread`.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from framework.records import Headers, Record

__all__ = ["create_topic", "delete_topic", "make_topic_by_asking", "produce", "read_topic", "wait_for_leaders"]

_SECONDS = 60.0


def create_topic(
    servers: str, partitions: int = 4, config: Mapping[str, str] | None = None, *, name: str | None = None
) -> str:
    """Create a topic, with a name of its own if none is given, wait until it has leaders, and give its name."""
    name = name or _unique("topic")
    admin = AdminClient({"bootstrap.servers": servers})
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
    admin.create_topics([new])[name].result(_SECONDS)
    wait_for_leaders(admin, name)
    return name


def delete_topic(servers: str, name: str) -> None:
    """Delete a topic; the broker has agreed when this returns."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([name])[name].result(_SECONDS)


def make_topic_by_asking(servers: str) -> str:
    """As `create_topic`, on a broker that creates the topics that it is asked for."""
    name = _unique("topic")
    wait_for_leaders(AdminClient({"bootstrap.servers": servers}), name)
    return name


def produce(
    servers: str,
    topic: str,
    keys: Sequence[str | bytes | None],
    values: Sequence[str | bytes | None] | None = None,
    *,
    partitions: Sequence[int] | int | None = None,
    compression: str = "none",
    transaction: Literal["commit", "abort"] | None = None,
) -> list[tuple[int, int]]:
    """Send a record per key, in order, and give the partition and offset of each.

    `values` are empty without; `partitions`: one for all, or one each; without, by key as Kafka's own clients do.
    `transaction` sends them all in one transaction, which ends as told. Raises KafkaException if one was refused.
    """
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "compression.type": compression,
            "max.in.flight": 1,  # keeps the order even where a request is repeated
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 2_097_151,
            "log_level": 3,
            **({"transactional.id": _unique("transaction")} if transaction else {}),
        }
    )
    if transaction:
        producer.init_transactions(_SECONDS)
        producer.begin_transaction()
    places: list[tuple[int, int]] = [(-1, -1)] * len(keys)
    refused: list[KafkaError] = []

    def delivered(index: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)
        else:
            places[index] = message.partition() or 0, message.offset() or 0

    for index, key in enumerate(keys):
        producer.produce(
            topic,
            key=key,
            value=b"" if values is None else values[index],
            partition=_partition(partitions, index),
            on_delivery=partial(delivered, index),
        )
        producer.poll(0)
    undelivered = producer.flush(_SECONDS)
    if refused:
        raise KafkaException(refused[0])
    if undelivered:
        raise TimeoutError(f"{undelivered} of {len(keys)} records for {topic} not acknowledged in {_SECONDS:.0f} s")
    if transaction == "commit":
        producer.commit_transaction(_SECONDS)
    elif transaction == "abort":
        producer.abort_transaction(_SECONDS)
    return places


def read_topic(servers: str, topic: str, *, committed: bool = True) -> list[Record]:
    """Every record of the topic, each partition's in offset order; keys, values and headers as bytes.

    `committed`: without those of aborted and open transactions. Raises TimeoutError where the end is not reached.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": _unique("reader"),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end of a partition is told after one empty fetch
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        records = _read_to_the_end(consumer, set(partitions))
    finally:
        consumer.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def _read_to_the_end(consumer: Consumer, partitions: set[int]) -> list[Record]:
    records: list[Record] = []
    deadline = time.monotonic() + _SECONDS
    while partitions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"partitions {sorted(partitions)} not read to their end in {_SECONDS:.0f} s")
        for message in consumer.consume(10_000, timeout=0.1):
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                partitions.discard(message.partition())
            else:
                raise KafkaException(error)
    return records


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    _, timestamp = message.timestamp()
    headers = cast(Headers, tuple(message.headers() or ()))
    return Record(topic, partition, offset, timestamp, message.key(), message.value(), headers)


def _partition(partitions: Sequence[int] | int | None, index: int) -> int:
    if partitions is None:
        return -1  # librdkafka's word for: by key
    return partitions if isinstance(partitions, int) else partitions[index]


def wait_for_leaders(admin: AdminClient, topic: str) -> None:
    """Wait until every partition of a topic has a leader. Raises TimeoutError."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        described = admin.list_topics(topic, timeout=_SECONDS).topics[topic]
        leaders = [partition.leader for partition in described.partitions.values()]
        if described.error is None and leaders and min(leaders) >= 0:
            return
        time.sleep(0.02)
    raise TimeoutError(f"topic {topic} has no leaders after {_SECONDS:.0f} s")


def _unique(kind: str) -> str:
    return f"test-{kind}-{uuid.uuid4().hex[:12]}"
