"""The sink, which sends outputs to Kafka."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from framework.borders import is_plugin_failure
from framework.errors import OutputError
from framework.kafka.errors import explain, not_authorized
from framework.kafka.patience import patiently
from framework.output import OutputRecord

__all__ = ["KafkaSink"]

_TURN: Final = 0.005
"""Seconds of sending after which the event loop gets a turn."""
_LINGER_MS: Final = 5
"""How long an output waits for others to share a request, unless the user says otherwise."""


class KafkaSink:
    """A sink over aiokafka's idempotent producer, which connects when the first output comes.

    An output to a topic that does not exist, or to a partition that the topic does not have, is refused.
    Acknowledgements are counted, not kept, so memory holds only outputs that are not acknowledged. Once the producer or
    the broker refuses an output, every later `send` and `flushed` raises that error until the sink is stopped. So every
    caller that waits for outputs learns of the loss.
    """

    def __init__(self, client: Mapping[str, Any], patience: float = 30.0) -> None:
        """`client`: keyword arguments for aiokafka's producer, such as `bootstrap_servers`.

        `patience`: seconds to wait for the broker before the first output, and for a topic before its first one.
        """
        self._client = dict(client)
        self._patience = patience
        self._partitions: dict[str, int] = {}
        """Number of partitions of each topic that an output was sent to."""
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._deliveries = _Deliveries()

    async def send(self, records: Sequence[OutputRecord]) -> None:
        """Hand these records to the producer, in order; wait while too many are not acknowledged.

        The event loop gets a turn at least every 5 ms. Raises `OutputError` if a record, or an earlier one, is
        refused. If this raises or is cancelled, some of the records were not handed over.
        """
        deliveries = self._deliveries  # they stay those of this call, also if the sink is stopped meanwhile
        deliveries.check()
        try:
            await self._send(await self._started(), records, deliveries)
        except OutputError as error:
            deliveries.fail(error)
            raise

    async def _send(
        self, producer: AIOKafkaProducer, records: Sequence[OutputRecord], deliveries: "_Deliveries"
    ) -> None:
        now = asyncio.get_running_loop().time
        turn_ends = now() + _TURN
        for record in records:
            count = self._partitions.get(record.topic) or await self._find(producer, record.topic)
            if record.partition is not None and record.partition >= count:
                count = await self._find(producer, record.topic)  # it may have more by now
                _check_partition(record, count)
            deliveries.expect(record.topic, await _handed_over(producer, record, count))
            if now() >= turn_ends:
                await asyncio.sleep(0)
                deliveries.check()
                turn_ends = now() + _TURN

    async def _find(self, producer: AIOKafkaProducer, topic: str) -> int:
        """Number of partitions of the topic. The embedded broker creates a topic when it is asked for it."""
        try:
            async with asyncio.timeout(self._patience):
                partitions = await producer.partitions_for(topic)
        except (TimeoutError, UnknownTopicOrPartitionError) as error:
            raise OutputError(
                f"an output to topic {topic} was not taken: the broker has not told of such a topic within "
                f"{self._patience:g} s (--connect-timeout); create the topic, or check its name; "
                "no checkpoint covers the output, so a restart sends it again"
            ) from error
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise _not_taken(topic, error) from error
        self._partitions[topic] = len(partitions)
        return len(partitions)

    def flushed(self) -> Awaitable[None]:
        """An awaitable that is done when all outputs handed over before this call are acknowledged.

        It does not wait for outputs that are handed over after this call, even if it is awaited later. Several
        tasks may await it. Awaiting raises `OutputError` if any output was refused by then, or if the sink was stopped
        before all were acknowledged.
        """
        return self._deliveries.cut()

    async def stop(self) -> None:
        """Close the connection. Raises nothing for outputs that are not acknowledged yet."""
        producer, self._producer = self._producer, None
        self._partitions = {}
        deliveries, self._deliveries = self._deliveries, _Deliveries()
        try:
            if producer is not None:
                await producer.stop()
        finally:
            deliveries.abandon()

    async def _started(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                try:
                    self._producer = await patiently(self._connected, self._patience, "no broker to send outputs to")
                except BaseException as error:
                    if not is_plugin_failure(error):
                        raise
                    raise OutputError(f"cannot connect to send outputs: {explain(error)}") from error
            return self._producer

    async def _connected(self) -> AIOKafkaProducer:
        settings = {"linger_ms": _LINGER_MS, **self._client, "acks": "all", "enable_idempotence": True}
        producer = AIOKafkaProducer(**settings)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer


class _Round:
    """The outputs between two calls of `flushed`."""

    __slots__ = ("done", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.done = asyncio.Event()
        """Set when all outputs of this round and of earlier rounds are acknowledged or refused."""


class _Deliveries:
    """Counts outputs that are handed over and not acknowledged yet, in rounds that end in order."""

    def __init__(self) -> None:
        self._rounds = deque([_Round()])
        """The last is the current round; the rounds before it are not done."""
        self._refusal: OutputError | None = None
        """The first one."""

    def check(self) -> None:
        """Raises `OutputError` if an output was refused."""
        if self._refusal is not None:
            raise OutputError(str(self._refusal)) from self._refusal

    def fail(self, error: OutputError) -> None:
        """Remember that an output was refused."""
        self._refusal = self._refusal or error

    def expect(self, topic: str, delivery: "asyncio.Future[Any]") -> None:
        """Count an output to `topic` as under way until its delivery is done."""
        current = self._rounds[-1]
        current.under_way += 1
        delivery.add_done_callback(partial(self._acknowledged, current, topic))

    def _acknowledged(self, its_round: _Round, topic: str, delivery: "asyncio.Future[Any]") -> None:
        error = asyncio.CancelledError() if delivery.cancelled() else delivery.exception()
        if error is not None:
            refusal = _not_taken(topic, error)
            refusal.__cause__ = error
            self.fail(refusal)
        its_round.under_way -= 1
        self._end_rounds()

    def cut(self) -> "_Flushed":
        """End the current round."""
        ending = self._rounds[-1]
        self._rounds.append(_Round())
        self._end_rounds()
        return _Flushed(self, ending)

    def _end_rounds(self) -> None:
        while len(self._rounds) > 1 and not self._rounds[0].under_way:
            self._rounds.popleft().done.set()

    def abandon(self) -> None:
        """Expect no more acknowledgements; outputs that are under way count as refused."""
        if any(its_round.under_way for its_round in self._rounds):
            self.fail(
                OutputError("the sink was stopped before all outputs were acknowledged; a restart sends them again")
            )
        for its_round in self._rounds:
            its_round.done.set()


class _Flushed(Awaitable[None]):
    """Done when a round and all earlier rounds are done."""

    def __init__(self, deliveries: _Deliveries, its_round: _Round) -> None:
        self._deliveries = deliveries
        self._round = its_round

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._round.done.wait().__await__()
        self._deliveries.check()


def _check_partition(record: OutputRecord, count: int) -> None:
    if record.partition is not None and record.partition >= count:
        raise OutputError(
            f"an output to topic {record.topic} was not taken: it is for partition {record.partition}, but the topic "
            f"has {count} partitions, 0 to {count - 1}; no checkpoint covers it, so a restart sends it again"
        )


async def _handed_over(producer: AIOKafkaProducer, record: OutputRecord, partitions: int) -> "asyncio.Future[Any]":
    """The delivery of a record to its topic, which has this number of partitions."""
    try:
        if record.key is None and record.value is None:
            return await _null_handed_over(producer, record, partitions)
        delivery: asyncio.Future[Any] = await producer.send(
            record.topic,
            record.value,
            key=record.key,
            partition=record.partition,
            timestamp_ms=record.timestamp,
            headers=list(record.headers),
        )
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise _not_taken(record.topic, error) from error
    return delivery


async def _null_handed_over(producer: AIOKafkaProducer, record: OutputRecord, partitions: int) -> "asyncio.Future[Any]":
    """Kafka takes a record with a null key and a null value; the producer takes it only in a batch made by hand."""
    batch = producer.create_batch()
    batch.append(timestamp=record.timestamp, key=None, value=None, headers=list(record.headers))
    partition = random.randrange(partitions) if record.partition is None else record.partition  # noqa: S311
    delivery: asyncio.Future[Any] = await producer.send_batch(batch, record.topic, partition=partition)
    return delivery


def _not_taken(topic: str, error: BaseException) -> OutputError:
    match error:
        case TopicAuthorizationFailedError():
            reason = not_authorized("WRITE", "topic", topic)
        case NotLeaderForPartitionError() | KafkaTimeoutError():  # the producer has given up
            reason = (
                "its partition took nothing for as long as request_timeout_ms says; check that the topic was not "
                f"deleted, and that the brokers of its replicas run ({type(error).__name__})"
            )
        case _:
            reason = explain(error)
    return OutputError(
        f"an output to topic {topic} was not taken: {reason}; no checkpoint covers it, so a restart sends it again"
    )
