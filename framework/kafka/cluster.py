"""What a run needs to know of a Kafka cluster before it joins: that it is there, its identity, its topics."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import (
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from framework._closest import closest
from framework.errors import BrokerError, TopicNotFoundError
from framework.kafka.connection import Server, ask
from framework.kafka.errors import Operation, UnreachableBrokerError, explain, not_authorized, reason
from framework.kafka.patience import patiently
from framework.kafka.topics import TopicMetadata, ask_metadata
from framework.records import TopicPartition

__all__ = ["Cluster", "connect", "end_positions"]

log = logging.getLogger("framework")

T = TypeVar("T")

_SHORTEST_STEP: Final = 1.0
"""Seconds that a step of connecting may take at least, however short the patience is."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, as found."""

    cluster_id: str | None
    partitions: Mapping[str, int]
    """How many partitions each of the topics asked for has."""

    @property
    def topic_partitions(self) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic, count in self.partitions.items() for number in range(count)]


async def connect(
    client: Mapping[str, Any],
    topics: Sequence[str] | re.Pattern[str],
    patience: float,
    *,
    creates_topics: bool,
    operation: Operation = "READ",
) -> Cluster:
    """Wait for the broker, up to `patience` seconds, and check that this user may use the topics.

    `client`: keyword arguments of aiokafka's admin client. `topics`: names, or a pattern that the whole name of a topic
    matches; Kafka's own topics never do. `creates_topics`: asking for a topic is enough to make it,
    as on the embedded broker. `operation`: what is going to be done with the topics.

    Raises `BrokerError`, at once where waiting cannot help, and `TopicNotFoundError` for a topic that is not there.
    """
    look = _Look(client, topics, max(patience, _SHORTEST_STEP), creates_topics, operation)
    servers = client["bootstrap_servers"]
    try:
        return await patiently(look, patience, f"no broker at {servers} yet")
    except UnreachableBrokerError as error:
        raise BrokerError(
            f"{error.args[0]}; correct advertised.listeners of the broker, or make that address reachable from here"
        ) from error
    except (OSError, KafkaConnectionError) as error:
        raise BrokerError(
            f"no broker at {servers} after {patience:g} s: {reason(error)}; check --bootstrap-servers, or wait longer "
            "with --connect-timeout"
        ) from error
    except KafkaError as error:
        raise BrokerError(f"the broker at {servers} refused to describe the cluster: {explain(error)}") from error


class _Look:
    """One try to find the cluster. A call raises aiokafka's errors as they come, and `BrokerError` for what lasts."""

    def __init__(
        self,
        client: Mapping[str, Any],
        topics: Sequence[str] | re.Pattern[str],
        patience: float,
        creates_topics: bool,
        operation: Operation,
    ) -> None:
        self._client = client
        self._topics = topics
        self._patience = patience
        self._creates_topics = creates_topics
        self._operation = operation

    async def __call__(self) -> Cluster:
        names = None if isinstance(self._topics, re.Pattern) else self._topics
        server, metadata = await self._ask_first(
            lambda connection: ask_metadata(connection, names, creates_topics=self._creates_topics)
        )
        topics = self._wanted(metadata.topics)
        await self._check_brokers(server, metadata.brokers, topics)
        for topic in topics:
            await self._check_topic(topic)
        return Cluster(metadata.cluster_id, {topic.name: len(topic.leaders) for topic in topics})

    def _wanted(self, topics: Mapping[str, TopicMetadata]) -> list[TopicMetadata]:
        if not isinstance(self._topics, re.Pattern):
            return [topics[name] for name in self._topics]
        return [topic for name, topic in topics.items() if self._topics.fullmatch(name) and not topic.is_internal]

    async def _ask_first(self, question: Callable[[AIOKafkaConnection], Awaitable[T]]) -> tuple[Server, T]:
        """The answer of the first server that gives one; else an error, preferably one that lasts."""
        failure: Exception = KafkaConnectionError("no server is named")
        for host, port, _ in collect_hosts(self._client["bootstrap_servers"]):
            server = Server(host, port)
            try:
                return server, await ask(server, self._client, question, self._patience)
            except (KafkaError, OSError, BrokerError) as error:
                failure = failure if isinstance(failure, BrokerError) else error
        raise failure

    async def _check_topic(self, topic: TopicMetadata) -> None:
        if topic.error is None:
            if not topic.allows(self._operation):
                raise BrokerError(not_authorized(self._operation, "topic", topic.name))
            return
        error = topic.error(topic.name)
        if isinstance(error, TopicAuthorizationFailedError):
            raise BrokerError(not_authorized("DESCRIBE", "topic", topic.name, also=self._operation))
        if isinstance(error, InvalidTopicError):
            raise BrokerError(f"topic {topic.name!r} cannot be used: {explain(error)}")
        if isinstance(error, UnknownTopicOrPartitionError) and not self._creates_topics:
            raise await self._not_found(topic.name)
        raise error

    async def _not_found(self, topic: str) -> TopicNotFoundError:
        _, metadata = await self._ask_first(lambda connection: ask_metadata(connection, None))
        existing = [name for name, each in metadata.topics.items() if each.error is None]
        return TopicNotFoundError(
            f"there is no topic {topic}{closest(topic, existing)}; create it first, or check the name"
        )

    async def _check_brokers(
        self, answered: Server, brokers: Mapping[int, tuple[str, int]], topics: Sequence[TopicMetadata]
    ) -> None:
        """Whether the brokers that are needed can be reached where the cluster says; one that can is enough."""
        needed = {leader for topic in topics for leader in topic.leaders.values()}
        servers = {Server(*brokers[broker]) for broker in needed or brokers if broker in brokers}
        failures = [failure for failure in await self._failures(servers - {answered}) if failure is not None]
        if failures and len(failures) == len(servers):
            server, error = failures[0]
            raise UnreachableBrokerError(
                f"the broker at {answered} advertises {server}, which cannot be reached from here: {reason(error)}"
            ) from error
        for server, error in failures:
            log.warning("the broker at %s cannot be reached: %s", server, explain(error))

    async def _failures(self, servers: Collection[Server]) -> list[tuple[Server, Exception] | None]:
        return await asyncio.gather(*map(self._failure, servers))

    async def _failure(self, server: Server) -> tuple[Server, Exception] | None:
        try:
            await ask(server, self._client, _nothing, self._patience)
        except (KafkaError, OSError) as error:
            return server, error
        return None


async def _nothing(connection: AIOKafkaConnection) -> None:
    """To be connected is enough."""


async def end_positions(
    client: Mapping[str, Any], partitions: Sequence[TopicPartition], isolation_level: str, patience: float
) -> dict[TopicPartition, int]:
    """The log's end of each partition, as a reader of that isolation level sees it. Raises `BrokerError`."""

    async def attempt() -> dict[TopicPartition, int]:
        consumer = AIOKafkaConsumer(isolation_level=isolation_level, **client)
        try:
            await consumer.start()
            ends = await consumer.end_offsets([KafkaTopicPartition(*partition) for partition in partitions])
        finally:
            await consumer.stop()
        return {TopicPartition(*tp): end for tp, end in ends.items()}

    try:
        return await patiently(attempt, patience, "the end of the log is not known yet")
    except (KafkaError, OSError) as error:
        raise BrokerError(f"the ends of the topics cannot be read: {explain(error)}") from error
