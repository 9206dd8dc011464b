"""The simulated source: what the worker sees of a consumer, with the order of events that aiokafka has."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from aiokafka.errors import IllegalStateError

from framework.errors import BrokerError
from framework.records import Batch, Record, TopicPartition
from framework.runtime.ports import Committed, Fetched, LogEnd, LogRange, OutOfRange, Place, SourceListener
from framework.testing.simulation.foreign import Foreign
from framework.testing.simulation.group import Coordinator
from framework.testing.simulation.history import Scribe
from framework.testing.simulation.log import PartitionLog
from framework.testing.simulation.loop import SimulatedLoop

__all__ = ["Broker", "SimulatedSource"]


@dataclass(slots=True)
class Broker:
    """What all clients share."""

    loop: SimulatedLoop
    random: Random
    scribe: Scribe
    logs: dict[TopicPartition, PartitionLog]
    coordinator: Coordinator
    delay: float
    """Seconds that a request takes at the most."""
    foreign: Foreign
    up: bool = True
    committed: dict[TopicPartition, Committed] = field(default_factory=dict)
    """What the group has committed."""
    waiting: "list[asyncio.Future[None]]" = field(default_factory=list)

    async def answer(self) -> None:
        """Wait as long as a request takes; while the broker is down, until it is up or patience ends.

        Raises `BrokerError`.
        """
        if self.loop.closing:
            raise asyncio.CancelledError
        self.foreign.maybe("source: a request")
        await asyncio.sleep(self.random.random() * self.delay)
        if not self.up:
            await self.news(2.0)
        if not self.up:
            raise BrokerError("the simulated broker is down")

    async def news(self, patience: float) -> None:
        """Wait until something changes: records, the broker itself."""
        waiting = self.loop.create_future()
        self.waiting.append(waiting)
        timer = self.loop.call_later(patience, _done, waiting)
        await waiting
        timer.cancel()

    def tell(self) -> None:
        """Something has changed."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            _done(each)


def _done(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class SimulatedSource:
    """A consumer: it fetches without asking its group, and learns late what the group decided."""

    def __init__(self, name: str, broker: Broker) -> None:
        self.assignment = 0
        self.member = broker.coordinator.new_member(name)
        self._name = name
        self._broker = broker
        self._random = broker.random
        self._listener: SourceListener | None = None
        self._assigned: dict[TopicPartition, PartitionLog] = {}
        """With the log that was there at the assignment: of another one, of a topic made anew, nothing comes."""
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, LogEnd] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._rejoin = asyncio.Event()

    async def start(self, listener: SourceListener) -> None:
        await self._broker.answer()
        self._listener = listener
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._belong()), loop.create_task(self._beat())]

    # ---- the group

    async def _belong(self) -> None:
        coordinator = self._broker.coordinator
        while True:
            await self._revoke()
            self._rejoin.clear()
            if self.assignment and not coordinator.knows(self.member):
                self.member = coordinator.new_member(self._name)
            partitions = await coordinator.join(self.member)
            if partitions is not None:
                self._assign(partitions)
                await self._rejoin.wait()

    async def _beat(self) -> None:
        coordinator = self._broker.coordinator
        while True:
            await asyncio.sleep(coordinator.session_timeout * (0.2 + 0.2 * self._random.random()))
            if self._broker.up and not coordinator.heartbeat(self.member):
                self._rejoin.set()

    async def _revoke(self) -> None:
        self.assignment += 1
        self._positions.clear()
        self._ends.clear()
        if self._listener is None:
            return
        if self._assigned and not self._broker.coordinator.knows(self.member):
            self._broker.scribe.fault("revoked late")
        try:
            await self._listener.on_revoked(sorted(self._assigned))
        except Exception as error:
            self._listener.on_source_failed(error)

    def _assign(self, partitions: Sequence[TopicPartition]) -> None:
        if self._listener is None:
            return
        self.assignment += 1
        self._assigned = {partition: self._broker.logs[partition] for partition in partitions}
        self._positions.clear()
        self._ends.clear()
        try:
            self._listener.on_assigned(dict.fromkeys(partitions, len(self._broker.logs)))
        except Exception as error:
            self._listener.on_source_failed(error)

    async def stop(self) -> None:
        self._listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(self._random.random() * self._broker.delay)
        self._assigned = {}
        if not self._broker.loop.closing:
            self._broker.coordinator.remove(self.member)

    # ---- records

    async def fetch(self, patience: float) -> Fetched:
        await asyncio.sleep(self._random.random() * self._broker.delay)
        self._broker.foreign.maybe("source.fetch")
        if not self._has_news():
            await self._broker.news(patience)
        if self._broker.loop.closing:
            raise asyncio.CancelledError
        if not self._broker.up:
            return Fetched((), self.assignment)
        known = [each for each in self._positions if self._assigned[each] is self._broker.logs[each]]
        lost = [partition for partition in known if not self._is_in_range(partition)]
        if lost:
            raise OutOfRange(lost)
        self._ends |= {each: LogEnd(self._assigned[each].end, self._broker.loop.time()) for each in known}
        wanted = [partition for partition in known if self._random.random() < 0.9]
        batches = [self._read(partition) for partition in wanted]
        return Fetched([batch for batch in batches if batch.end > batch.start], self.assignment)

    def _has_news(self) -> bool:
        return self._broker.up and any(
            position < self._broker.logs[partition].end for partition, position in self._positions.items()
        )

    def _is_in_range(self, partition: TopicPartition) -> bool:
        log = self._broker.logs[partition]
        return log.start <= self._positions[partition] <= log.end

    def _read(self, partition: TopicPartition) -> Batch:
        position = self._positions[partition]
        limit = self._random.choice((1, 2, 5, 30))
        records, after = self._broker.logs[partition].read(position, limit, self._random)
        self._positions[partition] = after
        return Batch(
            topic_partition=partition,
            start=position,
            end=after,
            offsets=[record.offset for record in records],
            timestamps=[record.timestamp for record in records],
            keys=[record.key for record in records],
            values=[record.value for record in records],
            headers=[()] * len(records),
        )

    def hold(self, partition: TopicPartition) -> None:
        self._broker.foreign.maybe("source.hold")
        self._positions.pop(partition, None)

    def release(self, partition: TopicPartition, position: int) -> None:
        self._broker.foreign.maybe("source.release")
        if partition not in self._assigned:
            raise IllegalStateError(f"No current assignment for partition {partition}")
        self._positions[partition] = position

    def log_ends(self) -> dict[TopicPartition, LogEnd]:
        self._broker.foreign.maybe("source.log_ends")
        return {partition: self._ends[partition] for partition in self._positions if partition in self._ends}

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        await self._broker.answer()
        logs = {partition: self._broker.logs[partition] for partition in partitions}
        ranges = {partition: LogRange(log.start, log.end, log.topic_id) for partition, log in logs.items()}
        await self._broker.answer()
        return ranges

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        await self._broker.answer()
        logs = self._broker.logs
        found = {(partition, offset): logs[partition].record(offset) for partition, offset in places}
        return {place: record for place, record in found.items() if record is not None}

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        await self._broker.answer()
        return {partition: self._position_at(self._broker.logs[partition], timestamp) for partition in partitions}

    def _position_at(self, log: PartitionLog, timestamp: int) -> int:
        later = (record.offset for record in log.written if record.timestamp >= timestamp)
        return max(log.start, next(later, log.end))

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        await self._broker.answer()
        committed = self._broker.committed
        return {partition: committed[partition] for partition in partitions if partition in committed}

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        self._broker.foreign.maybe("source.commit")
        await asyncio.sleep(self._random.random() * self._broker.delay)
        if self._broker.up and self._broker.coordinator.knows(self.member):
            self._broker.committed |= {each: offsets[each] for each in offsets if each in self._assigned}
