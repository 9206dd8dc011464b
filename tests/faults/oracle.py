"""What is right, recomputed from the topic itself; it remembers what is deleted from the log."""

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Self, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

__all__ = ["Oracle"]

_SECONDS = 60.0
_DELETE_SECONDS = 5.0
_BATCH = 10_000
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._NOENT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}


class Oracle:
    """Reads every partition of a topic from its beginning, in a thread of its own, with a client of its own.

    It fails, and says so at the next question, if a record is gone before it was read.
    """

    def __init__(self, servers: str, topic: str) -> None:
        self._topic = topic
        client: dict[str, str | int | float | bool] = {"bootstrap.servers": servers, "reconnect.backoff.max.ms": 500}
        client["log_level"] = 0
        self._new_admin = partial(AdminClient, client)
        self._admin = self._new_admin()
        self._consumer = Consumer(
            {
                **client,
                "group.id": f"oracle-of-{topic}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
            }
        )
        self.partitions = sorted(self._consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions)
        self._offsets: dict[int, list[int]] = {partition: [] for partition in self.partitions}
        self._keys: dict[int, list[str | None]] = {partition: [] for partition in self.partitions}
        self._log_starts = dict.fromkeys(self.partitions, 0)
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in self.partitions])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_SECONDS)
        self._consumer.close()

    def _read(self) -> None:
        try:
            while not self._stopping.is_set():
                for message in self._consumer.consume(_BATCH, timeout=0.1):
                    self._remember(message)
        except BaseException as error:
            self._failure = error

    def _remember(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if not _passes(error):
                raise KafkaException(error)
            return
        partition, offset, key = cast(int, message.partition()), cast(int, message.offset()), message.key()
        offsets = self._offsets[partition]
        assert not offsets or offset > offsets[-1]
        self._keys[partition].append(None if key is None else key.decode())
        offsets.append(offset)

    def read(self) -> int:
        """How many records it has read."""
        if self._failure is not None:
            raise AssertionError("the oracle cannot read the topic") from self._failure
        return sum(map(len, self._offsets.values()))

    def wait_for(self, count: int) -> None:
        """Wait until it has read that many records."""
        deadline = time.monotonic() + _SECONDS
        while self.read() < count:
            assert time.monotonic() < deadline, f"the oracle read {self.read()} of {count} records"
            time.sleep(0.02)

    def wait_for_offset(self, partition: int, offset: int) -> None:
        """Wait until it has read the partition up to an offset."""
        deadline = time.monotonic() + _SECONDS
        while self.last_offsets()[partition] < offset:
            self.read()
            assert time.monotonic() < deadline, f"the oracle has not read partition {partition} up to {offset}"
            time.sleep(0.02)

    def keys(self, partition: int, last_offset: int | None = None) -> list[str | None]:
        """The keys of the partition's records up to an offset, in order."""
        end = None if last_offset is None else bisect_right(self._offsets[partition], last_offset)
        return self._keys[partition][:end]

    def counts(self, partition: int, last_offset: int) -> dict[str | None, int]:
        """How many records each key has, up to an offset."""
        return dict(Counter(self.keys(partition, last_offset)))

    def last_offsets(self) -> dict[int, int]:
        """The last record of each partition; -1 for none."""
        return {partition: offsets[-1] if offsets else -1 for partition, offsets in self._offsets.items()}

    def outputs(self) -> dict[tuple[int, int], tuple[str | None, int]]:
        """By partition and offset: the key, and the how manyth of that key the record is in its partition."""
        expected = {}
        for partition, offsets in self._offsets.items():
            seen: Counter[str | None] = Counter()
            for offset, key in zip(offsets, self._keys[partition], strict=True):
                seen[key] += 1
                expected[partition, offset] = key, seen[key]
        return expected

    def delete(self, up_to: Mapping[int, int]) -> None:
        """Delete records up to these offsets from the log, but none that it has not read.

        While the broker cannot be reached it does nothing.
        """
        self.read()
        starts = {}
        for partition, offset in up_to.items():
            offsets = self._offsets[partition]
            start = min(offset, offsets[-1] if offsets else -1) + 1
            if start > self._log_starts[partition]:
                starts[partition] = start
        if not starts:
            return
        wanted = [TopicPartition(self._topic, *item) for item in starts.items()]
        knows_no_leader = False
        for deleted, future in self._admin.delete_records(wanted, request_timeout=_DELETE_SECONDS).items():
            try:
                self._log_starts[deleted.partition] = future.result(_SECONDS).low_watermark
            except KafkaException as error:
                if not _passes(error.args[0]):
                    raise
                knows_no_leader |= error.args[0].code() == KafkaError._NOENT
        if knows_no_leader:  # from a broker that was starting; the client may never ask again, so another one asks
            self._admin = self._new_admin()

    def has_deleted(self, last_offsets: Mapping[int, int]) -> bool:
        """Whether no partition holds a record up to its last offset."""
        return all(self._log_starts.get(number, 0) > last for number, last in last_offsets.items())

    @property
    def deleted(self) -> int:
        """How many records it has deleted from the log."""
        return sum(self._log_starts.values())


def _passes(error: KafkaError) -> bool:
    """Whether the broker is merely away, or not itself yet."""
    return error.retriable() or error.code() in _AWAY
