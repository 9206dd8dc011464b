"""The look at a cluster before a run joins, with an admin client that the test plays."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from framework.errors import BrokerError
from framework.kafka import cluster, patience

CLIENT = {"bootstrap_servers": "broker:9092"}


@pytest.fixture
def errors(monkeypatch) -> list[KafkaError]:
    """What the next questions raise, each instead of its answer."""
    errors: list[KafkaError] = []

    class Admin:
        def __init__(self, **_: Any) -> None:
            return

        async def start(self) -> None:
            return

        async def close(self) -> None:
            return

        async def list_topics(self) -> list[str]:
            return ["topic"]

        async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
            if errors:
                raise errors.pop(0)
            return [{"topic": topic, "partitions": [{}, {}]} for topic in topics]

        async def describe_cluster(self) -> dict[str, Any]:
            return {"cluster_id": "cluster"}

    monkeypatch.setattr(cluster, "AIOKafkaAdminClient", Admin)
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    return errors


async def test_a_connection_that_breaks_during_the_look_is_tried_again(errors):
    errors += [KafkaConnectionError("closed"), KafkaTimeoutError()]
    found = await cluster.connect(CLIENT, ["topic"], 30, creates_topics=False)
    assert not errors
    assert (found.cluster_id, found.partitions) == ("cluster", {"topic": 2})


async def test_it_is_not_tried_for_longer_than_told(errors):
    errors += [KafkaConnectionError("closed")] * 1000
    with pytest.raises(BrokerError, match="no broker at broker:9092 after 0 s"):
        await cluster.connect(CLIENT, ["topic"], 0, creates_topics=False)


async def test_a_refusal_is_not_tried_again(errors):
    errors += [TopicAuthorizationFailedError(), KafkaConnectionError("closed")]
    with pytest.raises(BrokerError, match="refuses to be looked at"):
        await cluster.connect(CLIENT, ["topic"], 30, creates_topics=False)
    assert len(errors) == 1
