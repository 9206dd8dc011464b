"""`framework state import`: take over state from elsewhere."""

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from aiokafka.admin import AIOKafkaAdminClient

from framework.cli.options import (
    Command,
    aiokafka_arguments,
    codec_option,
    framework_option,
    group_option,
    kafka_options,
    log_options,
    store_options,
)
from framework.cli.seed_files import SeedState, read_seed_states, save_seed_states
from framework.cli.state import unit_rows
from framework.cli.stores import open_store, store_location
from framework.cli.tables import print_table, terminal_width
from framework.errors import UsageError
from framework.kafka.cluster import Cluster, connect
from framework.plugins import Plugins, ProcessorSpec, load
from framework.stores import Description, Unit

__all__ = ["import_state"]


@click.command("import", cls=Command)
@framework_option(
    "--from-seed",
    required=True,
    metavar="'GLOB'",
    help="State files that aiokafka's local state example wrote: my-partition-state-TOPIC-PARTITION.json.",
)
@framework_option("--plugin", required=True, metavar="NAME", help="Plugin that will use the state.")
@framework_option("--topic", multiple=True, metavar="T", help="Import only this topic. Repeatable.")
@framework_option(
    "--partitions",
    type=click.IntRange(1),
    metavar="N",
    help="Number of partitions of the topic. By default, the command asks Kafka.",
)
@group_option
@store_options
@codec_option
@kafka_options
@log_options
@click.pass_context
def import_state(
    ctx: click.Context,
    /,
    from_seed: str,
    plugin: str,
    topic: Sequence[str],
    partitions: int | None,
    group: str | None,
    store: str,
    store_options: Mapping[str, Any],
    state_dir: Path,
    codec: str,
    bootstrap_servers: str | None,
    kafka: Mapping[str, Any],
    connect_timeout: float,
) -> None:
    """Import the state files of aiokafka's example "local state and storing offsets outside of Kafka".

    If one of the files cannot be imported, nothing is imported.

    \b
    Example:
      framework state import --from-seed '/tmp/my-partition-state-*.json' \\
        --plugin keycount --group my_group --bootstrap-servers localhost:9092
    """
    found = read_seed_states(from_seed, topic)
    plugins = load([plugin])
    spec, codec_class = _sole_processor(plugins), plugins.codec(codec)
    group = group or f"framework-{spec.name}"
    topics = sorted({seed.partition.topic for seed in found})
    if partitions is None:
        cluster = _ask_kafka(bootstrap_servers, kafka, connect_timeout, topics)
    else:
        cluster = Cluster(None, dict.fromkeys(topics, partitions))
    units = {Unit(group, spec.name, *seed.partition): seed for seed in _applied(found, cluster)}
    descriptions = {
        name: Description(codec, spec.cls.state_version, count, cluster.cluster_id)
        for name, count in cluster.partitions.items()
    }
    location = store_location(ctx, store, state_dir)
    with closing(open_store(location, store_options, read_only=False)) as opened:
        save_seed_states(opened, units, descriptions, codec_class())
        saved = [stored for stored in opened.stored(group) if stored.unit in units]
    print_table(unit_rows(saved), width=terminal_width())
    if any("" in seed.counts for seed in found):
        click.echo(
            "warning: the example counts records without a key as those with an empty one; "
            'what it counted stays under ""',
            err=True,
        )
    command = ["framework", "run", "--plugin", plugin, "--group", group, "--store", location, "--codec", codec]
    command += [word for name in topics for word in ("--topic", name)]
    click.echo(f"go on with: {shlex.join(command)}", err=True)


def _sole_processor(plugins: Plugins) -> ProcessorSpec:
    if len(plugins.processors) != 1:
        names = ", ".join(spec.name for spec in plugins.processors) or "none"
        raise UsageError(f"--plugin must have exactly one processor to go on with the state; it has: {names}")
    return plugins.processors[0]


def _ask_kafka(servers: str | None, kafka: Mapping[str, Any], timeout: float, topics: Sequence[str]) -> Cluster:
    if servers is None:
        raise UsageError(
            "how many partitions the topic has must be known: name your Kafka with --bootstrap-servers, "
            "or give --partitions N"
        )
    client = {**aiokafka_arguments(AIOKafkaAdminClient, kafka), "bootstrap_servers": servers}
    return asyncio.run(connect(client, topics, timeout, creates_topics=False))


def _applied(found: Sequence[SeedState], cluster: Cluster) -> list[SeedState]:
    """Those that have applied records. Raises `UsageError` for none, and for a partition that is not in the topic."""
    for seed in found:
        topic, partition = seed.partition
        count = cluster.partitions[topic]
        if partition >= count:
            raise UsageError(
                f"{seed.file} is of partition {partition}, but {topic} has {count} partitions, numbered from 0"
            )
    applied = [seed for seed in found if seed.last_offset >= 0]
    if not applied:
        raise UsageError("nothing to take over: in no file has a record been applied yet")
    return applied
