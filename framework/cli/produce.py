"""`framework produce`: sends the records of a file to a topic."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import click
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from framework.cli.inputs import input_text_options
from framework.cli.options import Command, aiokafka_arguments, framework_option, kafka_options, log_options
from framework.cli.status import stderr_console
from framework.embedded.broker import PARTITIONS, is_embedded
from framework.embedded.feed import Applied, Feed
from framework.embedded.inputs import INPUT_FORMATS, Input, InputFormat
from framework.errors import BrokerError, UsageError
from framework.kafka.cluster import Cluster, connect
from framework.kafka.errors import explain, not_authorized
from framework.records import TopicPartition

__all__ = ["produce"]


@click.command(cls=Command)
@click.argument("file")
@framework_option("--topic", required=True, metavar="T", help="Topic to send to.")
@framework_option("--key", metavar="FIELD", help="Column of a CSV file, or JSON field (a.b), that contains the key.")
@framework_option("--format", type=click.Choice(INPUT_FORMATS), help="Format of FILE. The default depends on its name.")
@input_text_options
@framework_option(
    "--group", metavar="G", help="On the embedded broker: do not send faster than this group applies the records."
)
@framework_option(
    "--create",
    type=click.IntRange(min=1),
    metavar="PARTITIONS",
    help="Create the topic with this many partitions if it does not exist.",
)
@kafka_options
@log_options
@framework_option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object.")
def produce(
    file: str,
    topic: str,
    key: str | None,
    format: InputFormat | None,  # noqa: A002 - its name in --format
    input_delimiter: str | None,
    input_encoding: str | None,
    group: str | None,
    create: int | None,
    bootstrap_servers: str | None,
    kafka: Mapping[str, Any],
    connect_timeout: float,
    as_json: bool,
) -> None:
    """Send the records of FILE (- is standard input) to a topic.

    FILE is CSV with a header line, NDJSON, or lines of key<TAB>value. It may be compressed, with a name that ends in
    .gz.

    \b
    Example:
      framework produce clicks.csv --topic clicks --key user \\
        --bootstrap-servers localhost:9092
    """
    if bootstrap_servers is None:
        raise UsageError(
            f"no broker is named to send {topic} to; use --bootstrap-servers HOST:PORT or the variable "
            "KAFKA_BOOTSTRAP_SERVERS (framework broker starts one to try things out)"
        )
    source = Input(file, format=format, key=key, delimiter=input_delimiter, encoding=input_encoding)
    servers = {"bootstrap_servers": bootstrap_servers}
    admin = {**servers, **aiokafka_arguments(AIOKafkaAdminClient, kafka)}
    producer = {**servers, **aiokafka_arguments(AIOKafkaProducer, kafka)}
    feed = asyncio.run(_send(source, topic, group, create, admin, producer, connect_timeout))
    if as_json:
        ends = {str(partition): end for (_, partition), end in sorted(feed.sent.items())}
        click.echo(json.dumps({"topic": topic, "records": feed.records, "bytes": feed.bytes, "end_offsets": ends}))


async def _send(
    source: Input,
    topic: str,
    group: str | None,
    create: int | None,
    admin: Mapping[str, Any],
    producer: Mapping[str, Any],
    connect_timeout: float,
) -> Feed:
    found = await connect(admin, [], connect_timeout, creates_topics=True)
    embedded = is_embedded(found.cluster_id)
    async with _admin_client(admin) as client:
        if create is not None:
            await _create_topic(client, topic, create, embedded)
        cluster = await connect(admin, [topic], connect_timeout, creates_topics=embedded, operation="WRITE")
        click.echo(
            f"sending {source.name} to topic {topic}, {cluster.partitions[topic]} partitions, at "
            f"{'the embedded broker ' if embedded else ''}{admin['bootstrap_servers']}"
            f"{f', no faster than group {group} applies it' if embedded and group else ''}",
            err=True,
        )
        applied = None if group is None else _committed_by(client, group, cluster)
        feed = Feed(topic, producer, embedded=embedded, applied=applied)
        try:
            await _run(feed, source)
        finally:
            click.echo(f"sent {feed.records:,} records, {feed.bytes:,} bytes, to topic {topic}", err=True)
    return feed


async def _run(feed: Feed, source: Input) -> None:
    console = stderr_console()
    columns = (TextColumn("{task.fields[records]:,} records"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=source.size, records=0)
        await feed.run(
            source,
            lambda records: progress.update(bar, completed=source.bytes_read, total=source.size, records=records),
        )


@asynccontextmanager
async def _admin_client(settings: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**settings)
    try:
        await client.start()
        yield client
    except KafkaError as error:
        raise BrokerError(
            f"the broker at {settings['bootstrap_servers']} refused a request: {explain(error)}"
        ) from error
    finally:
        await client.close()


async def _create_topic(client: AIOKafkaAdminClient, topic: str, partitions: int, embedded: bool) -> None:
    if embedded:
        raise UsageError(
            f"the embedded broker makes each topic itself, with {PARTITIONS} partitions; leave --create out"
        )
    new = NewTopic(topic, partitions, replication_factor=1)
    new.replication_factor = -1  # the broker's default, which aiokafka sends but does not let one ask for
    response = await client.create_topics([new])
    for _, code, message in response.topic_errors:
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            raise BrokerError(not_authorized("CREATE", "topic", topic))
        if error not in (NoError, TopicAlreadyExistsError):
            raise BrokerError(f"topic {topic} was not created: {explain(error(message) if message else error())}")


def _committed_by(client: AIOKafkaAdminClient, group: str, cluster: Cluster) -> Applied:
    """How far the group has applied the topic: its workers commit that after each checkpoint."""
    partitions = list(cluster.topic_partitions)

    async def applied() -> Mapping[TopicPartition, int]:
        committed = await client.list_consumer_group_offsets(group, partitions=partitions)
        return {TopicPartition(*tp): max(0, entry.offset) for tp, entry in committed.items()}

    return applied
