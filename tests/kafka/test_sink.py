"""The sink, with a producer that the test plays."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
)

from framework.errors import OutputError
from framework.kafka import patience, sink
from framework.kafka.sink import KafkaSink
from framework.output import OutputRecord

CLIENT = {"bootstrap_servers": "broker:9092"}


class Producer:
    """Keeps what was sent until the test acknowledges it."""

    made: "list[Producer]"
    start_errors: list[BaseException]
    topics: "dict[str, int | BaseException]"
    """How many partitions each topic has, or what asking for it raises; others never come."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.sent: list[bytes | None] = []
        self.places: list[tuple[int | None, int | None]] = []
        """The partition and the timestamp of each."""
        self.under_way: list[asyncio.Future[Any]] = []
        self.errors: dict[bytes | None, BaseException] = {}
        """What `send` raises, by value."""
        self.stopped = False
        self.made.append(self)

    async def start(self) -> None:
        if self.start_errors:
            raise self.start_errors.pop(0)

    async def stop(self) -> None:
        self.stopped = True

    async def partitions_for(self, topic: str) -> set[int]:
        if topic not in self.topics:
            await asyncio.Event().wait()
        if isinstance(found := self.topics[topic], BaseException):
            raise found
        return set(range(found))

    def create_batch(self) -> "Batch":
        return Batch()

    async def send_batch(self, batch: "Batch", topic: str, *, partition: int) -> "asyncio.Future[Any]":
        [record] = batch.records
        return await self.send(topic, record["value"], partition=partition, timestamp_ms=record["timestamp"])

    async def send(
        self, topic: str, value: bytes | None, *, partition: int | None, timestamp_ms: int | None, **_: Any
    ) -> "asyncio.Future[Any]":
        if value in self.errors:
            raise self.errors[value]
        self.places.append((partition, timestamp_ms))
        delivery = asyncio.get_running_loop().create_future()
        self.sent.append(value)
        self.under_way.append(delivery)
        return delivery

    def forget(self) -> None:
        self.sent.clear()
        self.places.clear()

    def acknowledge(self, count: int | None = None) -> None:
        done, self.under_way[:count] = self.under_way[:count], []
        for delivery in done:
            delivery.set_result(None)


class Batch:
    """As aiokafka's, with the records as they were appended."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, **record: Any) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def producers(monkeypatch) -> list[Producer]:
    """Those that were made."""
    monkeypatch.setattr(Producer, "made", [], raising=False)
    monkeypatch.setattr(Producer, "start_errors", [], raising=False)
    monkeypatch.setattr(Producer, "topics", {"totals": 4}, raising=False)
    monkeypatch.setattr(sink, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    return Producer.made


@pytest.fixture(autouse=True)
def unretrieved(caplog, producers) -> Iterator[None]:
    """No exception of a future is left unlooked at: asyncio tells of it when the future is collected."""
    yield
    producers.clear()
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def outputs(*values: str) -> list[OutputRecord]:
    return [OutputRecord("totals", None, value.encode(), ()) for value in values]


async def is_done(flushed: "asyncio.Future[None]") -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return flushed.done()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_producer_waits_for_all_replicas_and_connects_with_the_first_output(producers):
    kafka = KafkaSink(CLIENT)
    assert producers == []
    await kafka.send(outputs("a"))
    await kafka.send(outputs("b"))
    (producer,) = producers
    assert (producer.settings["acks"], producer.settings["enable_idempotence"]) == ("all", True)
    assert producer.sent == [b"a", b"b"]
    producer.acknowledge()
    await kafka.stop()
    assert producer.stopped


async def test_settings_of_the_user_count_but_for_those_that_keep_outputs_safe(producers):
    kafka = KafkaSink({**CLIENT, "linger_ms": 50, "acks": 0, "enable_idempotence": False})
    await kafka.send(outputs("a"))
    assert producers[0].settings == {**CLIENT, "linger_ms": 50, "acks": "all", "enable_idempotence": True}


async def test_two_that_send_at_once_share_one_connection(producers):
    kafka = KafkaSink(CLIENT)
    await asyncio.gather(kafka.send(outputs("a")), kafka.send(outputs("b")))
    assert len(producers) == 1


async def test_flushed_without_outputs_is_done():
    await KafkaSink(CLIENT).flushed()


async def test_flushed_waits_for_all_that_was_handed_over_before_it_and_no_more(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a", "b"))
    flushed = asyncio.ensure_future(kafka.flushed())
    await kafka.send(outputs("c"))
    (producer,) = producers
    producer.acknowledge(1)
    assert not await is_done(flushed)
    producer.acknowledge(1)
    await flushed
    assert len(producer.under_way) == 1


async def test_the_line_is_drawn_by_the_call_and_not_when_it_is_awaited(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    flushed = kafka.flushed()
    await kafka.send(outputs("b"))
    producers[0].acknowledge(1)
    await flushed


async def test_flushed_waits_for_the_outputs_of_earlier_calls_too(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    first = asyncio.ensure_future(kafka.flushed())
    await kafka.send(outputs("b"))
    second = asyncio.ensure_future(kafka.flushed())
    producers[0].under_way.pop().set_result(None)  # that of b
    assert not await is_done(second)
    producers[0].acknowledge()
    await asyncio.gather(first, second)


async def test_several_may_await_it_and_one_may_give_up(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    flushed = kafka.flushed()

    async def wait() -> None:
        await flushed

    one, two = asyncio.create_task(wait()), asyncio.create_task(wait())
    await turns()
    one.cancel()
    await turns()
    producers[0].acknowledge()
    await two
    await flushed
    assert one.cancelled()


REFUSALS = [
    NotEnoughReplicasError(), KafkaTimeoutError(), ValueError("odd"), TypeError(), AssertionError(), MemoryError(),
    OSError(), KeyError(),
]  # fmt: skip


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_a_refused_acknowledgement_is_an_error_of_flushed_and_of_all_that_comes_later(producers, error):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a", "b", "c"))
    producers[0].under_way.pop(1).set_exception(error)
    producers[0].acknowledge()
    with pytest.raises(
        OutputError, match=f"topic totals was not taken: .*{type(error).__name__}.*a restart sends it"
    ) as e:
        await kafka.flushed()
    chain: list[BaseException | None] = [e.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__)
    assert error in chain
    for _ in range(2):
        with pytest.raises(OutputError, match="was not taken"):
            await kafka.send(outputs("d"))
        with pytest.raises(OutputError, match="was not taken"):
            await kafka.flushed()
    assert producers[0].sent == [b"a", b"b", b"c"]


@pytest.mark.parametrize("error", [NotLeaderForPartitionError, KafkaTimeoutError])
async def test_a_topic_that_was_deleted_meanwhile_is_told_as_such(producers, error):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    producers[0].under_way[0].set_exception(error())
    with pytest.raises(OutputError, match="check that the topic was not deleted") as raised:
        await kafka.flushed()
    assert "if this goes on" not in str(raised.value)


async def test_a_cancelled_acknowledgement_is_a_refusal(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    producers[0].under_way.pop().cancel()
    with pytest.raises(OutputError, match="was not taken: CancelledError"):
        await kafka.flushed()


async def test_a_refusal_that_comes_after_flushed_was_called_is_raised_by_it(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    flushed = kafka.flushed()
    producers[0].under_way.pop().set_exception(NotEnoughReplicasError())
    await turns()
    with pytest.raises(OutputError, match="was not taken"):
        await flushed


async def test_a_refusal_that_nobody_waited_for_is_raised_by_the_next_send(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    kafka.flushed()
    producers[0].under_way.pop().set_exception(NotEnoughReplicasError())
    await turns()
    with pytest.raises(OutputError, match="was not taken"):
        await kafka.send(outputs("b"))


async def test_after_a_stop_it_begins_anew_and_what_was_refused_is_still_told_to_who_waits(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    before = kafka.flushed()
    producers[0].under_way.pop().set_exception(NotEnoughReplicasError())
    await turns()
    await kafka.stop()
    await kafka.send(outputs("b"))
    producers[1].acknowledge()
    await kafka.flushed()
    with pytest.raises(OutputError, match="was not taken"):
        await before


async def test_a_stop_ends_the_wait_for_acknowledgements(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    flushed = kafka.flushed()
    await kafka.stop()
    with pytest.raises(OutputError, match="stopped before all outputs were acknowledged"):
        await flushed
    producers[0].acknowledge()


async def test_a_stop_lets_go_also_where_the_producer_fails_to(producers, monkeypatch):
    async def fails(_: Producer) -> None:
        raise AssertionError("cannot stop")

    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    flushed = kafka.flushed()
    monkeypatch.setattr(Producer, "stop", fails)
    with pytest.raises(AssertionError):
        await kafka.stop()
    with pytest.raises(OutputError):
        await flushed


@pytest.mark.parametrize(
    "error",
    [
        MessageSizeTooLargeError(), KafkaTimeoutError(), TypeError(), AssertionError(), MemoryError(),
        ValueError(), asyncio.CancelledError(), SystemExit(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_whatever_the_producer_raises_is_an_error_of_send_and_of_all_that_comes_later(producers, error):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    (producer,) = producers
    producer.errors[b"c"] = error
    with pytest.raises(OutputError, match=f"was not taken: .*{type(error).__name__}") as caught:
        await kafka.send(outputs("b", "c", "d"))
    assert caught.value.__cause__ is error
    assert producer.sent == [b"a", b"b"]
    producer.acknowledge()
    with pytest.raises(OutputError, match="was not taken"):
        await kafka.flushed()
    with pytest.raises(OutputError, match="was not taken"):
        await kafka.send(outputs("d"))


def placed(partition: int | None = None, timestamp: int | None = None, value: bytes | None = b"v") -> OutputRecord:
    return OutputRecord("totals", None, value, (), partition, timestamp)


async def test_outputs_go_to_the_partition_and_with_the_timestamp_that_they_have(producers):
    await KafkaSink(CLIENT).send([placed(), placed(3, 0), placed(0)])
    assert producers[0].places == [(None, None), (3, 0), (0, None)]


async def test_a_record_of_nothing_but_null_is_sent_to_its_partition_or_to_any(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send([placed(2, 7, value=None), *[placed(value=None)] * 9, placed(1)])
    flushed = asyncio.ensure_future(kafka.flushed())
    assert not await is_done(flushed)
    producers[0].acknowledge()
    await flushed
    assert producers[0].sent == [None] * 10 + [b"v"]
    assert producers[0].places[0] == (2, 7)
    assert {partition for partition, _ in producers[0].places[1:]} <= {0, 1, 2, 3}


async def test_a_partition_that_the_topic_does_not_have_is_refused_with_the_count(producers):
    kafka = KafkaSink(CLIENT)
    for _ in range(2):
        with pytest.raises(
            OutputError, match=r"topic totals was not taken: .*partition 4, .* has 4 partitions, 0 to 3;"
        ):
            await kafka.send([placed(3), placed(4), placed(2)])
    assert producers[0].places == [(3, None)]
    producers[0].acknowledge()


async def test_a_partition_that_was_added_meanwhile_is_found(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send([placed(3)])
    Producer.topics["totals"] = 5
    await kafka.send([placed(4)])
    assert producers[0].places == [(3, None), (4, None)]


async def test_a_topic_that_does_not_exist_is_refused_in_time():
    kafka = KafkaSink(CLIENT, patience=0.01)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"topic nowhere .* not told of such a topic within 0\.01 s .*; create"):
            await kafka.send([OutputRecord("nowhere", None, b"v", ())])


@pytest.mark.parametrize("error", [KafkaTimeoutError(), ValueError(), AssertionError(), SystemExit()])
async def test_whatever_is_raised_by_the_search_for_a_topic_is_an_output_error(error):
    Producer.topics["totals"] = error
    with pytest.raises(OutputError, match=rf"topic totals was not taken: .*{type(error).__name__}"):
        await KafkaSink(CLIENT).send(outputs("a"))


async def test_a_topic_that_the_producer_gives_up_on_is_told_like_any_that_does_not_exist():
    Producer.topics["totals"] = UnknownTopicOrPartitionError()
    with pytest.raises(OutputError, match="create the topic, or check its name"):
        await KafkaSink(CLIENT).send(outputs("a"))


async def test_a_send_that_is_cancelled_is_cancelled_and_nothing_more(producers, monkeypatch):
    forever: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def full(*_: Any, **__: Any) -> Any:
        await forever

    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    producers[0].acknowledge()
    with monkeypatch.context() as patched:
        patched.setattr(Producer, "send", full)
        sending = asyncio.create_task(kafka.send(outputs("b")))
        await turns()
        sending.cancel()
        await turns()
    assert sending.cancelled()
    await kafka.flushed()
    await kafka.send(outputs("c"))


async def test_a_broker_that_is_away_is_waited_for(producers):
    Producer.start_errors[:] = [KafkaConnectionError(), OSError()]
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("a"))
    assert [producer.stopped for producer in producers] == [True, True, False]


@pytest.mark.parametrize("error", [ValueError("no such protocol"), TypeError(), AssertionError(), SystemExit()])
async def test_a_connection_that_cannot_be_is_an_output_error(error):
    Producer.start_errors[:] = [error]
    with pytest.raises(OutputError, match=f"cannot connect to send outputs: {type(error).__name__}"):
        await KafkaSink(CLIENT).send(outputs("a"))


async def while_sending(kafka: KafkaSink, records: list[OutputRecord], each_turn: Callable[[], None]) -> int:
    """Sends, and calls `each_turn` whenever the event loop gets a turn meanwhile; gives how often it did."""
    sending = asyncio.create_task(kafka.send(records))
    count = 0
    while not sending.done():
        await asyncio.sleep(0)
        each_turn()
        count += 1
    await sending
    return count


async def test_memory_holds_what_is_under_way_and_the_loop_gets_turns(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("first"))
    (producer,) = producers
    most = 0

    def acknowledge() -> None:
        nonlocal most
        most = max(most, len(producer.under_way))
        producer.forget()
        producer.acknowledge()

    records = outputs("x") * 200_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    count = await while_sending(kafka, records, acknowledge)
    acknowledge()
    await kafka.flushed()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert count > 10
    assert most < 100_000
    assert grown < 100_000


async def test_rounds_without_end_take_no_memory(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("first"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(10_000):
        await kafka.send(outputs("x"))
        producers[0].acknowledge()
        producers[0].forget()
        await kafka.flushed()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000


async def test_a_refusal_in_the_middle_ends_a_long_send(producers):
    kafka = KafkaSink(CLIENT)
    await kafka.send(outputs("first"))
    (producer,) = producers

    def refuse() -> None:
        if producer.under_way:
            producer.under_way.pop().set_exception(NotEnoughReplicasError())
        producer.acknowledge()

    with pytest.raises(OutputError, match="was not taken: "):
        await while_sending(kafka, outputs("x") * 200_000, refuse)
    assert len(producer.sent) < 200_000
