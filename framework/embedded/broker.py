"""The embedded broker: librdkafka's mock cluster, for trying things out. It speaks Kafka's protocol over loopback.

It keeps the last `KEPT_BYTES` of each partition in memory and drops what is older without a word.
"""

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from confluent_kafka import KafkaException, Producer

from framework.errors import BrokerError

__all__ = ["KEPT_BYTES", "PARTITIONS", "EmbeddedBroker", "PatientAssignor", "is_embedded"]

KEPT_BYTES: Final = 5 * 1024 * 1024
"""How many bytes of record batches, as they go over the wire, the broker keeps of a partition."""

PARTITIONS: Final = 4
"""How many partitions each topic has. A topic appears when a client first asks for it."""

_PATIENCE_SECONDS: Final = 0.2
_START_TIMEOUT_SECONDS: Final = 10.0


class EmbeddedBroker:
    """A broker of this process alone, from its creation until `close`; a context manager.

    Raises `BrokerError` if it does not start.
    """

    def __init__(self) -> None:
        quiet = logging.Logger("embedded", level=logging.CRITICAL)
        self._cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0}, logger=quiet)
        try:
            metadata = self._cluster.list_topics(timeout=_START_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise BrokerError(f"the embedded broker did not start: {error}") from error
        self.cluster_id: str = metadata.cluster_id
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())

    def close(self) -> None:
        """Stop the broker; all that it holds is gone."""
        self._cluster.close()

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def is_embedded(cluster_id: str | None) -> bool:
    """Whether the cluster of this id is an embedded broker, of this process or another."""
    return cluster_id is not None and cluster_id.startswith("mockCluster")


class PatientAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka is untyped here
    """Round robin for groups on the embedded broker, and only there.

    Its coordinator refuses a member whose SyncGroup request comes after the leader's: so the leader waits.
    """

    @classmethod
    def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Assign partitions as round robin does, after a moment in which the other members can ask for theirs."""
        time.sleep(_PATIENCE_SECONDS)
        assignment: dict[str, Any] = super().assign(cluster, members)
        return assignment
