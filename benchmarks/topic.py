"""Topics full of records that are the same in every run."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.brokers.traffic import create_topic

__all__ = ["Topic", "Traffic", "fill"]

_CHUNK: Final = 10_000
_MOST_QUEUED: Final = 200_000
_VALUES: Final = 10_000
"""Number of different values."""
_SECONDS: Final = 120.0
_SYLLABLES: Final = ("ka", "lo", "mi", "ter", "so", "ver", "ne", "du", "ra", "bel", "tis", "on", "ex", "pa", "qui", " ")


@dataclass(frozen=True, slots=True)
class Traffic:
    """The records of a topic. By default, a record takes about 105 bytes in the log."""

    records: int
    keys: int = 100_000
    """Number of keys, which are drawn uniformly."""
    value_size: int = 86
    """Size of a value in bytes. It is a JSON object with a number `n` from 100 to 999, and some text."""
    compression: str = "none"
    partitions: int = 4
    seed: int = 1

    def __str__(self) -> str:
        return (
            f"{self.records:,} records, {self.keys:,} keys, values of {self.value_size} bytes, "
            f"compression {self.compression}, {self.partitions} partitions"
        )


@dataclass(frozen=True, slots=True)
class Topic:
    """A filled topic, and the right results for it."""

    name: str
    traffic: Traffic
    keys: int
    """Number of distinct keys."""
    total: int
    """The sum of all n."""


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
    for chunk in _chunks(traffic):
        for key, number, value in chunk:
            producer.produce(name, key=b"key-%06d" % key, value=value)
            seen[key] = 1
            total += number
        while producer.poll(0) or len(producer) > _MOST_QUEUED:
            time.sleep(0.005)
    producer.flush(_SECONDS)
    if (stored := _stored(servers, name, traffic.partitions)) != traffic.records:
        raise RuntimeError(f"topic {name} should hold {traffic.records:,} records, but holds {stored:,}")
    return Topic(name, traffic, keys=seen.count(1), total=total)


def _chunks(traffic: Traffic) -> Iterator[list[tuple[int, int, bytes]]]:
    """Key, number and value of each record."""
    chance = random.Random(traffic.seed)  # noqa: S311 - repeatable from its seed
    values = [_value(chance, traffic.value_size) for _ in range(_VALUES)]
    keys = range(traffic.keys)
    for begin in range(0, traffic.records, _CHUNK):
        count = min(_CHUNK, traffic.records - begin)
        drawn = zip(chance.choices(keys, k=count), chance.choices(values, k=count), strict=True)
        yield [(key, *value) for key, value in drawn]


def _value(chance: random.Random, size: int) -> tuple[int, bytes]:
    number = chance.randint(100, 999)
    text = "".join(chance.choices(_SYLLABLES, k=size))
    frame = f'{{"n":{number},"text":""}}'
    return number, f'{frame[:-2]}{text[: size - len(frame)]}"}}'.encode()


def _stored(servers: str, topic: str, partitions: int) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "benchmarks"})
    try:
        ranges = [
            consumer.get_watermark_offsets(TopicPartition(topic, number), _SECONDS) for number in range(partitions)
        ]
        return sum(end - start for start, end in ranges)
    finally:
        consumer.close()
