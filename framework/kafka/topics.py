"""What the brokers tell of topics. aiokafka does not ask for topic ids, and for what this user may do."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NoError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from framework.kafka.errors import Operation

__all__ = ["Metadata", "TopicMetadata", "ask_metadata", "topic_ids"]

_METADATA: Final = 3
_VERSION: Final = 10
_NO_ID: Final = uuid.UUID(int=0)
_OPERATIONS_UNKNOWN: Final = -(2**31)
_OPERATION_CODES: Final[Mapping[Operation, int]] = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8}


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """One topic, as a broker tells of it."""

    name: str
    error: type[KafkaError] | None
    """Why there is nothing more to tell."""
    leaders: Mapping[int, int]
    """Partition → the broker that leads it, -1 where none does."""
    operations: int = _OPERATIONS_UNKNOWN
    """What this user may do, a bit for each code of an operation."""
    is_internal: bool = False
    """Whether it is Kafka's own, such as `__consumer_offsets`."""

    def allows(self, operation: Operation) -> bool:
        """Whether this user may do that; True where the broker does not tell."""
        return self.operations == _OPERATIONS_UNKNOWN or bool(self.operations >> _OPERATION_CODES[operation] & 1)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a broker tells of its cluster."""

    cluster_id: str | None
    brokers: Mapping[int, tuple[str, int]]
    """Host and port that each broker advertises."""
    topics: Mapping[str, TopicMetadata]


async def ask_metadata(connection: Any, topics: Collection[str] | None, *, creates_topics: bool = False) -> Metadata:
    """Ask a broker, over one of aiokafka's connections, for these topics, or for all that this user may describe.

    `creates_topics`: the broker may create those that it does not have. Raises aiokafka's `KafkaError`, and
    `TimeoutError`.
    """
    try:
        return _with_operations(await connection.send(_Metadata(topics, creates_topics, with_operations=True)))
    except (IncompatibleBrokerVersion, NotImplementedError):  # older than 2.8
        names = None if topics is None else list(topics)
        return _without_operations(await connection.send(MetadataRequest(names, creates_topics)))


def _with_operations(response: Any) -> Metadata:
    return Metadata(
        response.cluster_id,
        _brokers(response.brokers),
        {
            name: TopicMetadata(name, _error(code), _leaders(partitions), operations, is_internal)
            for code, name, _, is_internal, partitions, operations, _ in response.topics
        },
    )


def _without_operations(response: Any) -> Metadata:
    return Metadata(
        getattr(response, "cluster_id", None),
        _brokers(response.brokers),
        {name: TopicMetadata(name, _error(code), _leaders(rest[-1])) for code, name, *rest in response.topics},
    )


def _brokers(rows: Iterable[Any]) -> dict[int, tuple[str, int]]:
    return {node_id: (host, port) for node_id, host, port, *_ in rows}


def _leaders(rows: Iterable[Any]) -> dict[int, int]:
    return {partition: leader for _, partition, leader, *_ in rows}


def _error(code: int) -> type[KafkaError] | None:
    error: type[KafkaError] = for_code(code)
    return None if error is NoError else error


async def topic_ids(client: Any, topics: Collection[str]) -> dict[str, str]:
    """The ids of topics, as the brokers of aiokafka's `client` tell; none where they are older than 2.8.

    Raises aiokafka's `KafkaError` where no broker answers.
    """
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    for node_id in nodes[:-1]:
        with suppress(KafkaError):
            return await _ask_ids(client, node_id, topics)
    return await _ask_ids(client, nodes[-1], topics) if nodes else {}


async def _ask_ids(client: Any, node_id: int, topics: Collection[str]) -> dict[str, str]:
    try:
        response = await client.send(node_id, _Metadata(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    found = ((name, topic_id) for error, name, topic_id, *_ in response.topics if not error)
    return {name: str(topic_id) for name, topic_id in found if topic_id != _NO_ID}


class _Uuid(AbstractType):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


_TEXT: Final = CompactString("utf-8")
_TAGS: Final = ("tags", TaggedFields)
_BROKERS: Final = CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)
_PARTITIONS: Final = CompactArray(
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    _TAGS,
)
_TOPICS: Final = CompactArray(
    ("error_code", Int16),
    ("name", _TEXT),
    ("topic_id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", _PARTITIONS),
    ("authorized_operations", Int32),
    _TAGS,
)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = _METADATA
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", _BROKERS),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        ("topics", _TOPICS),
        ("authorized_operations", Int32),
        _TAGS,
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = _METADATA
    API_VERSION = _VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _Metadata(Request[_MetadataRequest]):  # type: ignore[misc]
    API_KEY = _METADATA

    def __init__(
        self, topics: Collection[str] | None, creates_topics: bool = False, with_operations: bool = False
    ) -> None:
        self._topics = topics
        self._creates_topics = creates_topics
        self._with_operations = with_operations

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        topics: Any = None if self._topics is None else [(_NO_ID, topic, {}) for topic in self._topics]
        return request_struct_class(topics, self._creates_topics, False, self._with_operations, {})
