"""The look at a cluster before a run joins, with servers that the test plays."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from framework.errors import BrokerError, TopicNotFoundError
from framework.kafka import cluster, patience
from framework.kafka.connection import Server
from framework.kafka.topics import Metadata, TopicMetadata

CLIENT = {"bootstrap_servers": "broker:9092"}
BROKERS = {1: ("broker", 9092), 2: ("second", 9093)}
READ, WRITE = 1 << 3, 1 << 4


class Played:
    """What the servers answer."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        """What the next questions raise, each instead of its answer."""
        self.unreachable: dict[str, Exception] = {}
        """By host."""
        self.topics: dict[str, TopicMetadata] = {"topic": TopicMetadata("topic", None, {0: 1, 1: 2})}
        self.brokers: dict[int, tuple[str, int]] = BROKERS

    async def ask(self, server: Server, client: Any, question: Callable[..., Any], patience: float) -> Any:
        if server.host in self.unreachable:
            raise self.unreachable[server.host]
        return await question(None)

    async def ask_metadata(self, connection: Any, topics: Any, *, creates_topics: bool = False) -> Metadata:
        if self.errors:
            raise self.errors.pop(0)
        unknown = {name: TopicMetadata(name, UnknownTopicOrPartitionError, {}) for name in topics or ()}
        return Metadata("cluster", self.brokers, {**unknown, **self.topics})


@pytest.fixture
def played(monkeypatch) -> Played:
    played = Played()
    monkeypatch.setattr(cluster, "ask", played.ask)
    monkeypatch.setattr(cluster, "ask_metadata", played.ask_metadata)
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    return played


async def connect(topic: str = "topic", seconds: float = 30, **options: Any) -> cluster.Cluster:
    return await cluster.connect(CLIENT, [topic], seconds, **{"creates_topics": False, **options})


async def test_a_connection_that_breaks_during_the_look_is_tried_again(played):
    played.errors += [KafkaConnectionError("closed"), KafkaTimeoutError(), ConnectionRefusedError(), TimeoutError()]
    found = await connect()
    assert not played.errors
    assert (found.cluster_id, found.partitions) == ("cluster", {"topic": 2})


async def test_it_is_not_tried_for_longer_than_told(played):
    played.errors += [ConnectionRefusedError()] * 1000
    with pytest.raises(BrokerError, match=r"no broker at broker:9092 after 0 s: the connection was refused"):
        await connect(seconds=0)


async def test_a_refusal_is_not_tried_again(played):
    played.errors += [ClusterAuthorizationFailedError(), KafkaConnectionError("closed")]
    with pytest.raises(BrokerError, match="refused to describe the cluster: this user is not authorized"):
        await connect()
    assert len(played.errors) == 1


async def test_what_lasts_is_raised_as_it_is(played):
    played.errors += [BrokerError("wrong password"), KafkaConnectionError("closed")]
    with pytest.raises(BrokerError, match=r"^wrong password$"):
        await connect()
    assert len(played.errors) == 1


async def test_each_server_is_asked_until_one_answers(played, monkeypatch):
    played.unreachable["first"] = ConnectionRefusedError()
    found = await cluster.connect({"bootstrap_servers": "first:1,broker:9092"}, ["topic"], 0, creates_topics=False)
    assert found.partitions == {"topic": 2}


async def test_a_server_whose_refusal_lasts_counts_only_where_no_other_answers(played, monkeypatch):
    """aiokafka asks the servers in an order of its own, so one of them must not decide now and then."""
    monkeypatch.setitem(CLIENT, "bootstrap_servers", "odd:9092,broker:9092")
    played.unreachable["odd"] = BrokerError("the broker at odd:9092 uses SSL")
    for _ in range(10):
        assert (await connect()).partitions == {"topic": 2}
    played.unreachable["broker"] = KafkaConnectionError("away")
    for _ in range(10):
        with pytest.raises(BrokerError, match="uses SSL"):
            await connect()


async def test_a_topic_that_is_not_there_is_told_with_those_that_it_may_be(played):
    with pytest.raises(TopicNotFoundError, match=r"there is no topic topics \(did you mean topic\?\)"):
        await connect("topics")


async def test_a_topic_that_this_user_may_not_describe_is_not_said_to_be_missing(played):
    played.topics["topic"] = TopicMetadata("topic", TopicAuthorizationFailedError, {})
    with pytest.raises(BrokerError, match="not authorized to describe topic topic; needs the ACL operation WRITE"):
        await connect(operation="WRITE")


@pytest.mark.parametrize(("operation", "doing"), [("READ", "read"), ("WRITE", "write to")])
async def test_a_topic_that_this_user_may_not_use_names_the_missing_acl(played, operation, doing):
    allowed = {"READ": WRITE, "WRITE": READ}[operation]
    played.topics["topic"] = TopicMetadata("topic", None, {0: 1}, operations=allowed)
    with pytest.raises(
        BrokerError, match=f"not authorized to {doing} topic topic; needs the ACL operation {operation}"
    ):
        await connect(operation=operation)
    played.topics["topic"] = TopicMetadata("topic", None, {0: 1}, operations=READ | WRITE)
    await connect(operation=operation)


async def test_an_impossible_name_of_a_topic_is_refused(played):
    played.topics["a b"] = TopicMetadata("a b", InvalidTopicError, {})
    with pytest.raises(BrokerError, match="topic 'a b' cannot be used: this is not a valid topic name"):
        await connect("a b")


async def test_a_topic_without_leaders_is_waited_for(played):
    played.topics["topic"] = TopicMetadata("topic", LeaderNotAvailableError, {})
    with pytest.raises(BrokerError, match="the partition has no leader at the moment"):
        await connect(seconds=0)


async def test_a_topic_that_is_made_by_asking_is_waited_for(played):
    with pytest.raises(BrokerError, match="the topic or the partition does not exist"):
        await connect("new", seconds=0, creates_topics=True)


async def test_an_advertised_address_that_cannot_be_reached_is_named(played):
    played.brokers = {1: ("inside", 9092), 2: ("inside", 9092)}
    played.unreachable["inside"] = OSError("no route")
    with pytest.raises(BrokerError, match=r"the broker at broker:9092 advertises inside:9092, which .*no route") as e:
        await connect(seconds=0)
    assert "advertised.listeners" in str(e.value)


async def test_the_wait_for_an_advertised_address_names_it_in_words(played, caplog):
    played.brokers = {1: ("inside", 9092)}
    played.unreachable["inside"] = OSError("no route")
    with pytest.raises(BrokerError), caplog.at_level(logging.WARNING):
        await connect(seconds=0.01)
    assert "yet: the broker at broker:9092 advertises inside:9092, which cannot be reached" in caplog.text
    assert "UnreachableBrokerError" not in caplog.text


async def test_one_broker_of_several_that_cannot_be_reached_is_a_warning(played, caplog):
    played.unreachable["second"] = ConnectionRefusedError()
    with caplog.at_level(logging.WARNING):
        assert (await connect()).partitions == {"topic": 2}
    assert "the broker at second:9093 cannot be reached: the connection was refused" in caplog.text


async def test_brokers_that_lead_none_of_the_topics_need_not_be_reached(played, caplog):
    played.topics["topic"] = TopicMetadata("topic", None, {0: 1, 1: 1})
    played.unreachable["second"] = ConnectionRefusedError()
    await connect()
    assert not caplog.records
