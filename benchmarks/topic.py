"""Topics full of records that are the same in every run."""

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.traffic import Traffic
from framework.testing.brokers.traffic import create_topic

__all__ = ["Topic", "fill"]

_MOST_QUEUED: Final = 200_000
_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A filled topic, and the right results for it."""

    name: str
    traffic: Traffic
    keys: int
    """Number of distinct keys."""
    total: Decimal
    """The sum of the numbers in all values."""


def fill(servers: str, traffic: Traffic) -> Topic:
    """Create a topic and fill it. Raises RuntimeError if it does not hold all sent records then."""
    name = create_topic(servers, traffic.partitions, {"retention.ms": "-1"})
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "compression.type": traffic.compression,
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 2_097_151,
            "log_level": 3,  # it has to wait for a new broker
        }
    )
    seen, total = bytearray(traffic.keys), 0
    for chunk in traffic.chunks():
        for key_number, number, key, value, timestamp in chunk:
            producer.produce(name, key=key, value=value, timestamp=timestamp)
            seen[key_number] = 1
            total += number
        while producer.poll(0) or len(producer) > _MOST_QUEUED:
            time.sleep(0.005)
    producer.flush(_SECONDS)
    if (stored := _stored(servers, name, traffic.partitions)) != traffic.records:
        raise RuntimeError(f"topic {name} should hold {traffic.records:,} records, but holds {stored:,}")
    return Topic(name, traffic, keys=seen.count(1), total=Decimal(total) / traffic.unit)


def _stored(servers: str, topic: str, partitions: int) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "benchmarks"})
    try:
        ranges = [
            consumer.get_watermark_offsets(TopicPartition(topic, number), _SECONDS) for number in range(partitions)
        ]
        return sum(end - start for start, end in ranges)
    finally:
        consumer.close()
