"""The pace at which records may be sent to an embedded broker, which drops what nobody has read without a word."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import aiokafka
from aiokafka import AIOKafkaConsumer

from framework.embedded.broker import KEPT_BYTES
from framework.errors import BrokerError, RecordsLostError
from framework.records import TopicPartition

__all__ = ["Applied", "Pace"]

log = logging.getLogger("framework")

Applied = Callable[[], Awaitable[Mapping[TopicPartition, int]]]
"""Tells how far each partition is applied: the offset of the record to apply next. A partition not named is at 0."""

_WINDOW_BYTES: Final = KEPT_BYTES * 4 // 5
_LARGEST_BATCH_BYTES: Final = KEPT_BYTES // 2
"""A batch that pushes out all others of its partition is gone itself; two of this size fit side by side."""

_OVERHEAD_BYTES: Final = 100
"""More than a record that somebody else sent, alone in its batch, takes beside its key, value and headers."""

_POLL_SECONDS: Final = 0.01
_SILENT_WAIT_SECONDS: Final = 3.0
_BACKLOG_SECONDS: Final = 30.0


class _Window:
    """The batches that a partition holds and nobody has applied yet."""

    def __init__(self) -> None:
        self.held = 0
        self._batches: deque[tuple[int, int]] = deque()

    def add(self, end: int, size: int) -> None:
        self._batches.append((end, size))
        self.held += size

    def release(self, position: int) -> None:
        """Let go of the batches that end at or before `position`."""
        while self._batches and self._batches[0][0] <= position:
            self.held -= self._batches.popleft()[1]

    def fits(self, size: int) -> bool:
        """Whether one more batch is safe."""
        return self.held + size <= _WINDOW_BYTES


class Pace:
    """Keeps what is sent to a topic within what the embedded broker keeps of it."""

    def __init__(self, topic: str, bootstrap_servers: str, applied: Applied | None) -> None:
        self._topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._applied = applied
        self._log: Any = None
        self._windows: dict[aiokafka.TopicPartition, _Window] = {}

    async def start(self, partitions: int, stack: AsyncExitStack) -> None:
        """Begin with what the topic holds already."""
        self._windows = {aiokafka.TopicPartition(self._topic, number): _Window() for number in range(partitions)}
        self._log = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False)
        stack.push_async_callback(self._log.stop)
        await self._log.start()
        await self.check_lost()
        try:
            async with asyncio.timeout(_BACKLOG_SECONDS):
                await self._add_backlog()
        except TimeoutError as error:
            raise BrokerError(
                f"topic {self._topic}: what it holds already could not be read within {_BACKLOG_SECONDS:.0f} s"
            ) from error

    def add(self, partition: int, end: int, size: int) -> None:
        """Note a batch that the broker has taken."""
        self._windows[aiokafka.TopicPartition(self._topic, partition)].add(end, size)

    async def make_room(self, partition: int, size: int) -> None:
        """Wait until a batch of `size` bytes fits into the partition."""
        if size > _LARGEST_BATCH_BYTES:
            raise BrokerError(
                f"topic {self._topic}: a record of {size:,} bytes is too large for the embedded broker, which takes "
                f"up to {_LARGEST_BATCH_BYTES:,}; use a Kafka that allows it"
            )
        window = self._windows[aiokafka.TopicPartition(self._topic, partition)]
        tell_at = time.monotonic() + _SILENT_WAIT_SECONDS
        while not window.fits(size):
            if self._applied is None:
                raise self._full(partition)
            await self._release()
            if window.fits(size):
                return
            if time.monotonic() > tell_at:
                tell_at = math.inf
                log.info("waiting until more of %s is applied", TopicPartition(self._topic, partition))
            await asyncio.sleep(_POLL_SECONDS)

    async def check_lost(self) -> None:
        """Raise `RecordsLostError` if the broker has dropped what is not applied."""
        begins = await self._log.beginning_offsets(self._windows)
        positions = await self._positions()
        for tp, begin in begins.items():
            position = positions[tp]
            if begin > position:
                raise self._lost(tp.partition, position, begin)

    async def _add_backlog(self) -> None:
        ends = await self._log.end_offsets(self._windows)
        unread = {tp: position for tp, position in (await self._positions()).items() if position < ends[tp]}
        self._log.assign(list(unread))
        for tp, position in unread.items():
            self._log.seek(tp, position)
        while unread:
            for tp, rows in (await self._log.getmany(*unread, timeout_ms=100)).items():
                self._windows[tp].add(rows[-1].offset + 1, sum(map(_size_bound, rows)))
            unread = {tp: position for tp in unread if (position := await self._log.position(tp)) < ends[tp]}
        self._log.assign([])

    async def _positions(self) -> dict[aiokafka.TopicPartition, int]:
        applied = await self._applied() if self._applied else {}
        return {tp: applied.get(TopicPartition(*tp), 0) for tp in self._windows}

    async def _release(self) -> None:
        for tp, position in (await self._positions()).items():
            self._windows[tp].release(position)

    def _lost(self, partition: int, position: int, begin: int) -> RecordsLostError:
        what_to_do = (
            "restart the broker and send the whole input again"
            if self._applied
            else "if a group has applied them, name it (--group); else restart the broker and send everything again"
        )
        return RecordsLostError(
            f"topic {self._topic} has lost records: the embedded broker dropped those of partition {partition} from "
            f"offset {position} to {begin - 1}, and nothing shows that they were applied; {what_to_do}"
        )

    def _full(self, partition: int) -> RecordsLostError:
        return RecordsLostError(
            f"topic {self._topic}, partition {partition} is full: the embedded broker keeps about "
            f"{KEPT_BYTES // 1_000_000} MB of a partition and would drop its oldest records; "
            "start the worker first, and name its group (--group) so that sending waits for it"
        )


def _size_bound(row: Any) -> int:
    headers = sum(len(name.encode()) + len(value or b"") + 2 * 5 for name, value in row.headers)
    return len(row.key or b"") + len(row.value or b"") + headers + _OVERHEAD_BYTES
