"""The sink, with a producer that the test plays."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, MessageSizeTooLargeError, NotEnoughReplicasError

from framework.errors import OutputError
from framework.kafka import patience, sink
from framework.kafka.sink import KafkaSink
from framework.output import OutputRecord

CLIENT = {"bootstrap_servers": "broker:9092"}


class Producer:
    """Keeps what was sent until the test acknowledges it."""

    made: "list[Producer]"
    start_errors: list[BaseException]

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.sent: list[bytes | None] = []
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

    async def send(self, topic: str, value: bytes | None, **_: Any) -> "asyncio.Future[Any]":
        if value in self.errors:
            raise self.errors[value]
        delivery = asyncio.get_running_loop().create_future()
        self.sent.append(value)
        self.under_way.append(delivery)
        return delivery

    def acknowledge(self, count: int | None = None) -> None:
        done, self.under_way[:count] = self.under_way[:count], []
        for delivery in done:
            delivery.set_result(None)


@pytest.fixture(autouse=True)
def producers(monkeypatch) -> list[Producer]:
    """Those that were made."""
    monkeypatch.setattr(Producer, "made", [], raising=False)
    monkeypatch.setattr(Producer, "start_errors", [], raising=False)
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


async def test_a_record_of_nothing_but_null_is_refused():
    with pytest.raises(OutputError, match="totals has a null key and a null value"):
        await KafkaSink(CLIENT).send([OutputRecord("totals", None, None, ())])


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
        producer.sent.clear()
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
        producers[0].sent.clear()
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
