"""What a run needs to know of a Kafka cluster before it joins: that it is there, its identity, its topics."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError, KafkaError

from framework._closest import closest
from framework.errors import BrokerError, TopicNotFoundError
from framework.kafka.patience import patiently
from framework.records import TopicPartition

__all__ = ["Cluster", "connect", "end_positions"]


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
    client: Mapping[str, Any], topics: Sequence[str], patience: float, *, creates_topics: bool
) -> Cluster:
    """Wait for the broker, up to `patience` seconds, and look at it.

    `creates_topics`: asking for a topic is enough to make it, as on the embedded broker.
    Raises `BrokerError`, and `TopicNotFoundError` for a topic that is not there.
    """
    servers = client["bootstrap_servers"]
    try:
        return await patiently(lambda: _look(client, topics, creates_topics), patience, f"no broker at {servers} yet")
    except AuthenticationFailedError as error:
        raise BrokerError(f"the broker at {servers} refuses these credentials: {error}") from error
    except (OSError, KafkaConnectionError) as error:
        raise BrokerError(
            f"no broker at {servers} after {patience:g} s; check --bootstrap-servers, or wait longer with "
            "--connect-timeout"
        ) from error
    except (KafkaError, ValueError) as error:
        raise BrokerError(f"what answers at {servers} refuses to be looked at: {error!r}") from error


async def _look(client: Mapping[str, Any], topics: Sequence[str], creates_topics: bool) -> Cluster:
    """One try; raises aiokafka's errors as they come."""
    async with _admin(client) as admin:
        if not creates_topics:
            _check_topics(topics, await admin.list_topics())
        described = await admin.describe_topics(list(topics))
        cluster = await admin.describe_cluster()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    missing = [topic for topic in topics if not counts.get(topic)]
    if missing:
        raise TopicNotFoundError(f"topic {missing[0]} has no partitions that this client may read")
    return Cluster(cluster.get("cluster_id"), counts)


@asynccontextmanager
async def _admin(client: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def _check_topics(topics: Sequence[str], existing: Sequence[str]) -> None:
    for topic in topics:
        if topic not in existing:
            raise TopicNotFoundError(
                f"there is no topic {topic}{closest(topic, existing)}; create it first, or check the name"
            )


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
        raise BrokerError(f"cannot read the end of the log: {error!r}") from error
