import asyncio
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from framework.embedded.broker import KEPT_BYTES, PARTITIONS, EmbeddedBroker, PatientAssignor, is_embedded
from framework.errors import BrokerError


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def accepts_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_listens_until_it_is_closed() -> None:
    with EmbeddedBroker() as broker:
        assert accepts_connections(broker.bootstrap_servers)
    assert not accepts_connections(broker.bootstrap_servers)


def test_two_are_told_apart(embedded: EmbeddedBroker) -> None:
    with EmbeddedBroker() as other:
        assert other.bootstrap_servers != embedded.bootstrap_servers
        assert other.cluster_id != embedded.cluster_id


async def test_clients_know_it_by_its_cluster_id(embedded: EmbeddedBroker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=embedded.bootstrap_servers)
    await admin.start()
    described = await admin.describe_cluster()
    await admin.close()
    assert described["cluster_id"] == embedded.cluster_id
    assert is_embedded(embedded.cluster_id)
    assert not is_embedded("MkU3OEVBNTcwNTJENDM2Qk")
    assert not is_embedded(None)


async def test_it_keeps_what_the_constants_say(embedded: EmbeddedBroker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap_servers, max_batch_size=KEPT_BYTES)
    consumer = AIOKafkaConsumer(bootstrap_servers=embedded.bootstrap_servers)
    await producer.start()
    await consumer.start()
    partition = TopicPartition("t", 0)

    async def send(size: int) -> int:
        """Send a batch of `size` bytes on the wire, and give the partition's begin offset."""
        probe, batch = producer.create_batch(), producer.create_batch()
        probe.append(timestamp=None, key=None, value=bytes(size))
        batch.append(timestamp=None, key=None, value=bytes(2 * size - probe.size()))
        assert batch.size() == size
        await (await producer.send_batch(batch, "t", partition=0))
        begin: int = (await consumer.beginning_offsets([partition]))[partition]
        return begin

    try:
        assert len(await producer.partitions_for("t")) == PARTITIONS
        begins = [await send(KEPT_BYTES // 10) for _ in range(10)]
        assert begins == [0] * 10
        assert await send(KEPT_BYTES // 10) == 1
    finally:
        await producer.stop()
        await consumer.stop()


def test_groups_of_three_share_the_partitions(embedded: EmbeddedBroker) -> None:
    shares: dict[int, int] = {}
    shared, over = threading.Event(), threading.Event()

    async def member(number: int) -> None:
        consumer = AIOKafkaConsumer(
            "t",
            bootstrap_servers=embedded.bootstrap_servers,
            group_id="g",
            enable_auto_commit=False,
            partition_assignment_strategy=(PatientAssignor,),
        )
        await consumer.start()
        while not over.is_set():
            shares[number] = len(consumer.assignment())
            if sorted(shares.values()) == [1, 1, 2]:
                shared.set()
            await asyncio.sleep(0.01)
        await consumer.stop()

    members = [threading.Thread(target=lambda number=number: asyncio.run(member(number))) for number in range(3)]
    for thread in members:
        thread.start()
    try:
        assert shared.wait(60), shares
    finally:
        over.set()
        for thread in members:
            thread.join()


async def test_a_new_group_is_not_kept_waiting_for_further_members(embedded: EmbeddedBroker) -> None:
    async def seconds_to_join(group: str) -> float:
        consumer = AIOKafkaConsumer("t", bootstrap_servers=embedded.bootstrap_servers, group_id=group)
        began = asyncio.get_running_loop().time()
        await consumer.start()
        try:
            return asyncio.get_running_loop().time() - began
        finally:
            await consumer.stop()

    assert min([await seconds_to_join(group) for group in "abc"]) < 3, "librdkafka's own delay"


def test_closing_twice_is_closing_once() -> None:
    broker = EmbeddedBroker()
    broker.close()
    broker.close()
    assert not accepts_connections(broker.bootstrap_servers)


def test_a_broker_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.embedded.broker._BROKERS", b"many")
    with pytest.raises(BrokerError, match=r"the embedded broker did not start: .*test\.mock\.num\.brokers"):
        EmbeddedBroker()


def test_a_library_without_a_mock_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace())
    with pytest.raises(BrokerError, match=r"librdkafka [\d.]+ that confluent-kafka uses has no rd_kafka_"):
        EmbeddedBroker()


def test_it_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker() as broker:
        assert accepts_connections(broker.bootstrap_servers)
    assert capfd.readouterr() == ("", "")
