"""Topic ids, which tell a topic from one of the same name that was there before. aiokafka does not ask for them."""

import uuid
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

__all__ = ["topic_ids"]

_METADATA: Final = 3
_VERSION: Final = 10
_NO_ID: Final = uuid.UUID(int=0)


async def topic_ids(client: Any, topics: Collection[str]) -> dict[str, str]:
    """The ids of topics, as the brokers of aiokafka's `client` tell; none where they are older than 2.8.

    Raises aiokafka's `KafkaError` where no broker answers.
    """
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    for node_id in nodes[:-1]:
        with suppress(KafkaError):
            return await _ask(client, node_id, topics)
    return await _ask(client, nodes[-1], topics) if nodes else {}


async def _ask(client: Any, node_id: int, topics: Collection[str]) -> dict[str, str]:
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

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        return request_struct_class([(_NO_ID, topic, {}) for topic in self._topics], False, False, False, {})
