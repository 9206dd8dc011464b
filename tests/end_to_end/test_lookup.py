"""Single records and topic ids, as a broker gives them."""

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient

from framework.kafka.lookup import look_up
from framework.kafka.topics import topic_ids
from framework.records import TopicPartition
from framework.testing.brokers.traffic import create_topic

pytestmark = pytest.mark.kafka

KEYS = [f"key-{number}" for number in range(1000)]


@pytest.mark.parametrize("compression", ["none", "gzip", "lz4"])
async def test_records_are_found_by_their_offsets(compression, broker, topic, produce, read_topic):
    name = topic(3)
    produce(name, [*KEYS, None], compression=compression)
    records = {(TopicPartition(name, record.partition), record.offset): record for record in read_topic(name)}

    found = await look_up({"bootstrap_servers": broker.bootstrap_servers}, list(records)[::50], 60)

    assert found == {place: records[place] for place in list(records)[::50]}


async def test_what_is_gone_is_left_out(broker, topic, produce, read_topic):
    name = topic(2)
    produce(name, KEYS[:10], partitions=0)
    produce(name, KEYS[:10], partitions=1, transaction="abort")
    produce(name, KEYS[:10], partitions=1, transaction="commit")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    start = KafkaTopicPartition(name, 0, 5)
    admin.delete_records([start])[start].result(60)
    first, second = TopicPartition(name, 0), TopicPartition(name, 1)
    places = [(first, 4), (first, 5), (second, 9), (second, 10), (second, 11), (second, 21)]

    found = await look_up({"bootstrap_servers": broker.bootstrap_servers}, places, 60)

    assert sorted(found) == [(first, 5), (second, 9), (second, 11)]


async def test_more_partitions_than_are_looked_at_at_once(broker, topic, produce):
    name = topic(250)
    produce(name, KEYS[:250], partitions=range(250))
    places = [(TopicPartition(name, number), 0) for number in range(250)]

    found = await look_up({"bootstrap_servers": broker.bootstrap_servers}, places, 60)

    assert {place: record.key for place, record in found.items()} == {
        place: KEYS[place[0].partition].encode() for place in places
    }


async def test_a_topic_that_is_re_created_has_another_id(broker):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    name = create_topic(broker.bootstrap_servers, 1)
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
        first = await topic_ids(consumer._client, [name, "there-is-no-such-topic"])
        assert list(first) == [name]
        assert await topic_ids(consumer._client, [name]) == first
        admin.delete_topics([name])[name].result(60)
        create_topic(broker.bootstrap_servers, 1, name=name)
        second = await topic_ids(consumer._client, [name])
    assert list(second) == [name]
    assert second != first
