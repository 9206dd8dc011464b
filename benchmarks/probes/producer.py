"""Sends records at a steady rate, evenly over the partitions; each value is its creation time, in nanoseconds."""

import time
from typing import Final

from confluent_kafka import Producer

from benchmarks.probes.protocol import read_task, report

__all__ = ["send_steadily"]

_TICK: Final = 0.005
_KEYS: Final = 10_000
_FLUSH_SECONDS: Final = 30.0


def send_steadily(servers: str, topic: str, *, partitions: int, rate: float, seconds: float) -> float:
    """Returns the rate that was reached."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 1, "queue.buffering.max.messages": 0})
    began = time.monotonic()
    sent, elapsed = 0, 0.0
    while elapsed < seconds:
        due = int(rate * min(elapsed, seconds))
        for number in range(sent, due):
            producer.produce(
                topic, key=b"key-%06d" % (number % _KEYS), value=b"%d" % time.time_ns(), partition=number % partitions
            )
        sent = due
        producer.poll(0)
        time.sleep(_TICK)
        elapsed = time.monotonic() - began
    producer.flush(_FLUSH_SECONDS)
    return sent / elapsed


if __name__ == "__main__":
    task = read_task()
    report(send_steadily(**task))
