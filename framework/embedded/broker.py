"""The embedded broker: librdkafka's mock cluster, for trying things out. It speaks Kafka's protocol over loopback.

It keeps the last `KEPT_BYTES` of each partition in memory and drops what is older without a word.
"""

import ctypes
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from confluent_kafka import cimpl, libversion

from framework.errors import BrokerError

__all__ = [
    "EMBEDDED_SESSION_TIMEOUT_MS",
    "KEPT_BYTES",
    "PARTITIONS",
    "EmbeddedBroker",
    "PatientAssignor",
    "is_embedded",
]

KEPT_BYTES: Final = 5 * 1024 * 1024
"""How many bytes of record batches, as they go over the wire, the broker keeps of a partition."""

PARTITIONS: Final = 4
"""How many partitions each topic has. A topic appears when a client first asks for it."""

EMBEDDED_SESSION_TIMEOUT_MS: Final = 2000
"""The session timeout for workers that share an embedded broker.

Its coordinator does not look at who has joined again: each rebalance lasts the session timeout less one second.
"""

_GROUP_DELAY_MS: Final = 100
"""How long a new group waits for further members. librdkafka's default is 3 s, as on Kafka."""
_PATIENCE_SECONDS: Final = 0.2
_START_TIMEOUT_MS: Final = 10_000
_BROKERS: Final = b"1"
_PRODUCER: Final = 0
_CONF_OK: Final = 0
_ERROR_BYTES: Final = 512


class EmbeddedBroker:
    """A broker of this process alone, from its creation until `close`; a context manager.

    It is made through librdkafka's C interface: confluent-kafka gives no access to the settings of a mock cluster.

    Raises `BrokerError` if it does not start.
    """

    def __init__(self) -> None:
        self._library = library = _librdkafka()
        self._handle: int | None = _new_client(library)
        cluster = library.rd_kafka_handle_mock_cluster(self._handle)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, _GROUP_DELAY_MS)
        self.bootstrap_servers: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        text = library.rd_kafka_clusterid(self._handle, _START_TIMEOUT_MS)
        if not text:
            self.close()
            raise BrokerError(f"the embedded broker at {self.bootstrap_servers} started, but does not answer")
        self.cluster_id: str = ctypes.string_at(text).decode()
        library.rd_kafka_mem_free(self._handle, text)

    def close(self) -> None:
        """Stop the broker; all that it holds is gone."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.rd_kafka_destroy(handle)

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _librdkafka() -> Any:
    """The C library that confluent-kafka is linked with, with the types of the functions that are used here."""
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", number, (pointer, text, text, text, ctypes.c_size_t)),
        ("rd_kafka_conf_set_log_cb", None, (pointer, pointer)),
        ("rd_kafka_conf_destroy", None, (pointer,)),
        ("rd_kafka_new", pointer, (number, pointer, text, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_clusterid", pointer, (pointer, number)),
        ("rd_kafka_mem_free", None, (pointer, pointer)),
        ("rd_kafka_handle_mock_cluster", pointer, (pointer,)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, (pointer, ctypes.c_int32)),
    ):
        function = getattr(library, name, None)
        if function is None:
            raise BrokerError(
                f"the embedded broker did not start: the librdkafka {libversion()[0]} that confluent-kafka uses has no "
                f"{name}; install confluent-kafka from its wheel, which has its own librdkafka"
            )
        function.restype, function.argtypes = result, arguments
    return library


def _new_client(library: Any) -> int:
    """A client that brings a mock cluster of one broker with it, and logs nothing."""
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set_log_cb(settings, None)
    is_set = library.rd_kafka_conf_set(settings, b"test.mock.num.brokers", _BROKERS, error, _ERROR_BYTES) == _CONF_OK
    client: int | None = library.rd_kafka_new(_PRODUCER, settings, error, _ERROR_BYTES) if is_set else None
    if client is None:
        library.rd_kafka_conf_destroy(settings)
        raise BrokerError(f"the embedded broker did not start: {error.value.decode(errors='replace')}")
    return client


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
