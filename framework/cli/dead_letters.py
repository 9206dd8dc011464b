"""`framework dead-letters`: look at records that could not be applied, and send them again."""

import asyncio
import heapq
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import aiokafka
import click
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from framework.cli.entries import shown
from framework.cli.options import Group, aiokafka_arguments, framework_option, kafka_options, log_options
from framework.cli.tables import print_table
from framework.codecs.json import JsonCodec
from framework.dead_letters import DeadLetter
from framework.embedded.broker import is_embedded
from framework.errors import BrokerError, UsageError
from framework.kafka.cluster import Cluster, connect
from framework.kafka.errors import Operation, explain, not_authorized
from framework.kafka.sink import KafkaSink
from framework.output import OutputRecord
from framework.records import Record

__all__ = ["dead_letters"]

F = TypeVar("F", bound=Callable[..., Any])

_FETCH_WAIT_MS: Final = 200
_ERROR_WIDTH: Final = 80


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """List dead letters (records that could not be applied), or send them again."""


def _topic_options(command: F) -> F:
    """What both commands take; arguments `topic`, `bootstrap_servers`, `kafka` and `connect_timeout`."""
    topic = framework_option("--topic", required=True, metavar="T", help="Topic of the dead letters.")
    return topic(kafka_options(log_options(command)))


@dead_letters.command("list")
@_topic_options
@framework_option("--top", type=click.IntRange(1), metavar="N", help="Show only the latest N.")
@framework_option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def list_letters(*, top: int | None, as_json: bool, **broker: Any) -> None:
    """List the dead letters of a topic, each once, with the latest at the end.

    The command reads the records that are in the topic when it starts, and then ends.

    \b
    Example:
      framework dead-letters list --topic orders-bad \\
        --bootstrap-servers localhost:9092
    """
    letters = asyncio.run(_collect(_Broker(**broker), top))
    if as_json:
        lines = ",\n  ".join(JsonCodec().encode(_letter_object(letter)).decode() for letter in letters)
        click.echo(f"[\n  {lines}\n]" if lines else "[]")
    elif letters:
        print_table([_letter_row(letter) for letter in letters])


@dead_letters.command()
@_topic_options
@framework_option(
    "--to",
    metavar="T",
    help="Topic to send to; the key chooses the partition. By default, each record goes back to the topic and "
    "partition that it came from.",
)
@framework_option(
    "--replay-group",
    "group",
    default="framework-replay",
    show_default=True,
    metavar="NAME",
    help="Consumer group that stores how far the topic was replayed.",
)
@framework_option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object.")
def replay(*, to: str | None, group: str, as_json: bool, **broker: Any) -> None:
    """Send the dead letters of a topic again, and store the position that was reached.

    The command sends the dead letters that are in the topic when it starts, and then ends. The next replay begins after
    them. After an interruption, the last records may be sent twice.

    Each record is sent with its original key, value, headers and timestamp, and the header framework-replay-of.

    \b
    Example:
      framework dead-letters replay --topic orders-bad \\
        --bootstrap-servers localhost:9092
    """
    replayed = asyncio.run(_replay(_Broker(**broker), to, group))
    if as_json:
        click.echo(json.dumps(replayed.to_object()))


class _Broker:
    """The broker and the topic that a command is about."""

    def __init__(
        self, topic: str, bootstrap_servers: str | None, kafka: Mapping[str, Any], connect_timeout: float
    ) -> None:
        if bootstrap_servers is None:
            raise UsageError(
                f"no broker is named to read {topic} from; use --bootstrap-servers HOST:PORT or the variable "
                "KAFKA_BOOTSTRAP_SERVERS"
            )
        self.topic = topic
        self.patience = connect_timeout
        self._servers = {"bootstrap_servers": bootstrap_servers}
        self._kafka = kafka

    def settings(self, client: type) -> dict[str, Any]:
        """The arguments for one of aiokafka's clients."""
        return {**aiokafka_arguments(client, self._kafka), **self._servers}

    async def find(self, topic: str, operation: Operation) -> Cluster:
        """The cluster, with that topic. Raises `BrokerError`, also where this user may not do that with the topic."""
        client = self.settings(AIOKafkaAdminClient)
        return await connect(client, [topic], self.patience, creates_topics=False, operation=operation)


class _Reader:
    """Reads a topic from where a group is, or the beginning, up to the end that it had at the start."""

    def __init__(self, consumer: Any, topic: str, patience: float, ends: Mapping[aiokafka.TopicPartition, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._patience = patience
        self._ends = ends

    async def chunks(self) -> AsyncIterator[list[Record]]:
        """The records, as they come in; key and value are bytes. Raises `BrokerError`."""
        deadline = time.monotonic() + self._patience
        while not await self._is_at_end():
            fetched = await self._consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
            records = [_record(row) for tp, rows in fetched.items() for row in rows if row.offset < self._ends[tp]]
            if records:
                yield records
                deadline = time.monotonic() + self._patience
            elif time.monotonic() > deadline:
                raise BrokerError(f"the broker gave no record of topic {self._topic} for {self._patience:g} s")

    async def _is_at_end(self) -> bool:
        positions = {tp: await self._consumer.position(tp) for tp in self._ends}
        return all(positions[tp] >= end for tp, end in self._ends.items())

    async def commit(self) -> None:
        """Remember that all that was given is dealt with."""
        positions = {tp: await self._consumer.position(tp) for tp in self._ends}
        await self._consumer.commit({tp: min(position, self._ends[tp]) for tp, position in positions.items()})


@asynccontextmanager
async def _reading(broker: _Broker, group: str | None = None) -> AsyncIterator[_Reader]:
    cluster = await broker.find(broker.topic, "READ")
    consumer = AIOKafkaConsumer(
        **broker.settings(AIOKafkaConsumer),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_uncommitted" if is_embedded(cluster.cluster_id) else "read_committed",
    )
    try:
        await consumer.start()
        tps = [aiokafka.TopicPartition(*partition) for partition in cluster.topic_partitions]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        for tp, start in (await consumer.beginning_offsets(tps)).items():
            replayed = await consumer.committed(tp) if group else None
            if replayed is not None and replayed > ends[tp]:
                raise UsageError(
                    f"group {group} has replayed {tp.topic}-{tp.partition} up to offset {replayed}, but it ends at "
                    f"{ends[tp]}: the topic was re-created; name another --replay-group"
                )
            consumer.seek(tp, max(start, replayed or 0))
        yield _Reader(consumer, broker.topic, broker.patience, ends)
    except GroupAuthorizationFailedError as error:
        raise BrokerError(not_authorized("READ", "group", str(group))) from error
    except KafkaError as error:
        raise BrokerError(f"reading topic {broker.topic} failed: {explain(error)}") from error
    finally:
        await consumer.stop()


def _record(row: aiokafka.ConsumerRecord) -> Record:
    return Record(row.topic, row.partition, row.offset, row.timestamp, row.key, row.value, row.headers)


class _Sieve:
    """Lets each dead letter through once, and counts what it keeps back."""

    def __init__(self, identity: Callable[[DeadLetter], Any]) -> None:
        self.repeats = 0
        self.others = 0
        self._identity = identity
        self._seen: set[Any] = set()

    def pick(self, records: Sequence[Record]) -> list[DeadLetter]:
        picked = []
        for record in records:
            letter = DeadLetter.of(record)
            if letter is None:
                self.others += 1
            elif (identity := self._identity(letter)) in self._seen:
                self.repeats += 1
            else:
                self._seen.add(identity)
                picked.append(letter)
        return picked

    def tell(self, what: str) -> None:
        click.echo(
            f"{what}; left out: {self.repeats:,} repeats, {self.others:,} records that are no dead letters", err=True
        )


async def _collect(broker: _Broker, top: int | None) -> list[DeadLetter]:
    sieve = _Sieve(lambda letter: (letter.plugin, letter.record_identity))
    letters: list[DeadLetter] = []
    found = 0
    async with _reading(broker) as reader:
        async for records in reader.chunks():
            picked = sieve.pick(records)
            found += len(picked)
            letters += picked
            if top is not None:
                letters = heapq.nlargest(top, letters, key=_age_key)
    sieve.tell(f"{found:,} dead letters in topic {broker.topic}")
    return sorted(letters, key=_age_key)


def _age_key(letter: DeadLetter) -> tuple[str, int, int]:
    return letter.time, letter.at.partition, letter.at.offset


class _Replay:
    """Sends dead letters again, and counts them."""

    def __init__(self, broker: _Broker, to: str | None) -> None:
        self.sent: Counter[str] = Counter()
        """How many went to which topic, acknowledged."""
        self.sieve = _Sieve(lambda letter: letter.record_identity)
        self._broker = broker
        self._to = to
        self._sink = KafkaSink(broker.settings(AIOKafkaProducer), broker.patience)
        self._partitions: dict[str, int] = {}

    async def send(self, records: Sequence[Record]) -> None:
        """Send what is a dead letter, and wait until all is acknowledged."""
        outputs = [letter.to_replay(self._to) for letter in self.sieve.pick(records)]
        for output in outputs:
            await self._check(output)
        await self._sink.send(outputs)
        await self._sink.flushed()
        self.sent.update(output.topic for output in outputs)

    async def _check(self, output: OutputRecord) -> None:
        if output.topic not in self._partitions:
            self._partitions |= (await self._broker.find(output.topic, "WRITE")).partitions
        count = self._partitions[output.topic]
        if output.partition is not None and output.partition >= count:
            raise UsageError(
                f"a dead letter came from {output.topic}-{output.partition}, and that topic has {count} partitions "
                f"now; send by key instead, with --to {output.topic}"
            )

    async def stop(self) -> None:
        await self._sink.stop()

    def tell(self) -> None:
        where = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(self.sent.items())) or "none"
        self.sieve.tell(f"dead letters of topic {self._broker.topic} sent again: {where}")

    def to_object(self) -> dict[str, Any]:
        return {
            "topic": self._broker.topic,
            "sent": dict(self.sent),
            "repeats": self.sieve.repeats,
            "others": self.sieve.others,
        }


async def _replay(broker: _Broker, to: str | None, group: str) -> _Replay:
    if to is not None:
        if to == broker.topic:
            raise UsageError(f"the dead letters of {to} cannot go to {to} itself; name another topic with --to")
        await broker.find(to, "WRITE")
    replay = _Replay(broker, to)
    try:
        async with _reading(broker, group) as reader:
            async for records in reader.chunks():
                await replay.send(records)
                await reader.commit()
    finally:
        await replay.stop()
        replay.tell()
    return replay


# What is printed


def _letter_object(letter: DeadLetter) -> dict[str, Any]:
    return {
        "plugin": letter.plugin,
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
        "key": _readable(letter.at.key),
        "error": letter.error,
        "message": letter.message,
        "time": letter.time,
    }


def _letter_row(letter: DeadLetter) -> dict[str, Any]:
    error = " ".join(f"{letter.error}: {letter.message}".split())
    return {
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.offset,
        "plugin": letter.plugin,
        "time": letter.time,
        "key": shown(_readable(letter.at.key)),
        "error": error if len(error) <= _ERROR_WIDTH else f"{error[: _ERROR_WIDTH - 1]}…",
    }


def _readable(key: bytes | None) -> str | bytes | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return key
