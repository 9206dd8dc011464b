"""What a run needs to know of a Kafka cluster before it joins: that it is there, its identity, its topics."""

import asyncio
import logging
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
from framework.records import TopicPartition

__all__ = ["Cluster", "connect", "end_positions"]

log = logging.getLogger("framework")

_RETRY_SECONDS = 0.5


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
    async with _admin(client, patience) as admin:
        try:
            if not creates_topics:
                _check_topics(topics, await admin.list_topics())
            described = await admin.describe_topics(list(topics))
            cluster = await admin.describe_cluster()
        except KafkaError as error:
            raise BrokerError(f"the broker refuses to be looked at: {error!r}") from error
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    missing = [topic for topic in topics if not counts.get(topic)]
    if missing:
        raise TopicNotFoundError(f"topic {missing[0]} has no partitions that this client may read")
    return Cluster(cluster.get("cluster_id"), counts)


@asynccontextmanager
async def _admin(client: Mapping[str, Any], patience: float) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = await _connected(client, patience)
    try:
        yield admin
    finally:
        await admin.close()


async def _connected(client: Mapping[str, Any], patience: float) -> AIOKafkaAdminClient:
    servers = client["bootstrap_servers"]
    deadline = asyncio.get_running_loop().time() + patience
    waiting = False
    while True:
        admin = AIOKafkaAdminClient(**client)
        try:
            await admin.start()
            return admin
        except AuthenticationFailedError as error:
            await admin.close()
            raise BrokerError(f"the broker at {servers} refuses these credentials: {error}") from error
        except (KafkaConnectionError, OSError, ValueError) as error:
            await admin.close()
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerError(
                    f"no broker at {servers} after {patience:g} s; check --bootstrap-servers, or wait longer with "
                    "--connect-timeout"
                ) from error
        if not waiting:
            log.warning("no broker at %s yet; waiting up to %g s", servers, patience)
            waiting = True
        await asyncio.sleep(_RETRY_SECONDS)


def _check_topics(topics: Sequence[str], existing: Sequence[str]) -> None:
    for topic in topics:
        if topic not in existing:
            raise TopicNotFoundError(
                f"there is no topic {topic}{closest(topic, existing)}; create it first, or check --topic"
            )


async def end_positions(
    client: Mapping[str, Any], partitions: Sequence[TopicPartition], isolation_level: str
) -> dict[TopicPartition, int]:
    """The log's end of each partition, as a reader of that isolation level sees it. Raises `BrokerError`."""
    consumer = AIOKafkaConsumer(isolation_level=isolation_level, **client)
    try:
        await consumer.start()
        ends = await consumer.end_offsets([KafkaTopicPartition(*partition) for partition in partitions])
    except KafkaError as error:
        raise BrokerError(f"cannot read the end of the log: {error!r}") from error
    finally:
        await consumer.stop()
    return {TopicPartition(*tp): end for tp, end in ends.items()}
