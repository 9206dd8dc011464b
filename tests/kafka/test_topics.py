"""What brokers tell of topics, with answers that the test plays; `tests/end_to_end/test_lookup.py` asks a real one."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from framework.kafka.topics import TopicMetadata, ask_metadata

BROKERS = [(1, "a", 9092, None), (2, "b", 9093, "rack")]
PARTITIONS = [(0, 0, 1, [1], [1]), (5, 1, -1, [2], [])]


@pytest.mark.parametrize("error", [IncompatibleBrokerVersion(), NotImplementedError()])
async def test_an_old_broker_is_asked_in_its_own_version(error):
    asked = []

    class Connection:
        async def send(self, request: Any) -> Any:
            asked.append(request)
            if not isinstance(request, MetadataRequest):
                raise error
            topics = [(0, "orders", False, PARTITIONS), (3, "gone", False, [])]
            return SimpleNamespace(cluster_id="c", brokers=BROKERS, controller_id=1, topics=topics)

    found = await ask_metadata(Connection(), ["orders", "gone"])
    assert len(asked) == 2
    assert found.cluster_id == "c"
    assert found.brokers == {1: ("a", 9092), 2: ("b", 9093)}
    assert found.topics["orders"] == TopicMetadata("orders", None, {0: 1, 1: -1})
    assert found.topics["gone"].error is UnknownTopicOrPartitionError
    assert found.topics["orders"].allows("READ"), "such a broker does not tell what this user may do"


def test_what_a_user_may_do_is_a_bit_for_each_operation():
    topic = TopicMetadata("orders", None, {0: 1}, operations=1 << 3 | 1 << 8)
    assert topic.allows("READ")
    assert topic.allows("DESCRIBE")
    assert not topic.allows("WRITE")
    assert not TopicMetadata("orders", None, {}, operations=0).allows("READ")
