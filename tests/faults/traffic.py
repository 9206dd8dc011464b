"""Records that keep coming, each exactly once in the log whatever happens to the broker meanwhile."""

import random
import threading
from collections.abc import Sequence
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

__all__ = ["Traffic"]

_TICK = 0.02
"""Seconds between two handfuls of records."""
_SECONDS = 60.0


class Traffic:
    """Sends records with random keys from a thread, from entering to `stop`, or to leaving."""

    def __init__(self, servers: str, topic: str, *, keys: int = 500, rate: int = 2000, seed: int = 0) -> None:
        """`rate` is in records a second."""
        self._topic = topic
        self._handful = max(1, round(rate * _TICK))
        self._random = random.Random(seed)
        self._keys: Sequence[str | None] = [None, "", *(f"key-{number}" for number in range(keys))]
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,  # so that what is sent again stands in the log once
                "message.timeout.ms": 600_000,
                "partitioner": "murmur2_random",
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self.sent = 0
        self._refused: list[KafkaError] = []
        self._more = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_SECONDS)

    def stop(self) -> int:
        """Send no more, and wait until all is in the log; gives how many records that are."""
        self.__exit__()
        assert self._producer.flush(_SECONDS) == 0, "the broker does not take all records"
        assert not self._refused, self._refused[0]
        return self.sent

    def wait_for(self, count: int) -> None:
        """Wait until that many records more are in the log."""
        with self._more:
            wanted = self.sent + count
            assert self._more.wait_for(lambda: self.sent >= wanted, _SECONDS)

    def _send(self) -> None:
        while not self._stopping.wait(_TICK):
            for key in self._random.choices(self._keys, k=self._handful):
                self._producer.produce(self._topic, key=key, value=b"", on_delivery=self._delivered)
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(error)
            return
        with self._more:
            self.sent += 1
            self._more.notify_all()
