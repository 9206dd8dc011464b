"""`framework run`: the main job."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import click
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from click.core import ParameterSource

from framework.cli.entries import entries_of, entry_line, entry_rows, ordered
from framework.cli.formats import format_choice, format_options
from framework.cli.inputs import input_text_options
from framework.cli.options import (
    DURATION,
    PATTERN,
    TIMESTAMP,
    Command,
    MappingOption,
    aiokafka_arguments,
    codec_option,
    framework_option,
    group_option,
    kafka_options,
    log_options,
    store_options,
)
from framework.cli.reload import print_report, supervise
from framework.cli.status import Status, log_summary
from framework.cli.stores import store_location
from framework.cli.tables import print_table
from framework.cli.times import time_choice, time_options
from framework.embedded.inputs import INPUT_FORMATS, Input, InputRecord
from framework.embedded.traffic import generate
from framework.errors import UsageError
from framework.plugins import load
from framework.runner import Runner, RunSettings

__all__ = ["run"]

_GENERATED: Final = 100_000
"""Records of generated traffic after which a run that stops at the end does so."""
_GENERATED_RATE: Final = 1000
"""Records a second of generated traffic, where the run goes on."""
_TRIAL: Final = (
    "This is a trial: GENERATED TRAFFIC on the EMBEDDED BROKER. Its records are gone when the run ends. "
    "For real work: --topic T --bootstrap-servers HOST:PORT"
)

_OF_INPUT: Final = ("input_key", "input_format", "input_delimiter", "input_encoding")
"""Options that need `--input`."""


@click.command(cls=Command)
@framework_option(
    "--plugin",
    "plugins",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Plugin to run: the name of an installed one, DIST:NAME, path/to/file.py[:Class] or module:Class. Repeatable.",
)
@framework_option("--topic", "topics", multiple=True, metavar="T", help="Topic to read. Repeatable.")
@framework_option(
    "--topic-pattern",
    type=PATTERN,
    help="Read all topics whose whole name matches, including topics that are created later.",
)
@kafka_options
@partial(
    group_option,
    help="Consumer group that owns the state. The default is framework-PLUGIN, with the first plugin that runs.",
)
@store_options
@codec_option
@framework_option(
    "--checkpoint-interval", type=DURATION, default="1s", show_default=True, help="Time between two checkpoints."
)
@framework_option(
    "--start",
    type=TIMESTAMP,
    default="earliest",
    show_default=True,
    help="Position at which a partition without state begins: earliest, latest, a time such as "
    "2024-05-01T12:00:00Z, or milliseconds since the epoch.",
)
@framework_option(
    "--on-out-of-range",
    type=click.Choice(["stop", "rebuild", "continue"]),
    default="stop",
    show_default=True,
    help="If the log no longer holds the stored position: stop, build the state again from the log's beginning, "
    "or continue without the lost records.",
)
@framework_option(
    "--on-missing-state",
    type=click.Choice(["stop", "rebuild", "continue"]),
    default="stop",
    show_default=True,
    help="If the committed offset of a partition belongs to a newer version of its state than the store has: stop, "
    "build the state again from the log's beginning, or continue with the older state.",
)
@framework_option(
    "--on-error",
    type=click.Choice(["stop", "skip", "dead-letter"]),
    default="stop",
    show_default=True,
    help="If a record cannot be applied: stop, skip the record, or send it to the --dead-letter-topic.",
)
@framework_option(
    "--dead-letter-topic",
    metavar="T",
    help="Topic to which failed records are sent, each with its reason. --on-error dead-letter needs it.",
)
@framework_option(
    "--late-topic",
    metavar="T",
    help="Topic to which late records are sent: those that come after their windows have closed. By default, they are "
    "counted and dropped.",
)
@framework_option(
    "--retries",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Retries for a failing record before --on-error applies.",
)
@framework_option(
    "--retry-backoff",
    type=DURATION,
    default="100ms",
    show_default=True,
    help="Time before the first retry. It doubles before each further retry, up to a minute. Only the partition of "
    "the failing record waits.",
)
@framework_option(
    "--isolation-level",
    type=click.Choice(["read_committed", "read_uncommitted"]),
    default="read_committed",
    show_default=True,
    help="read_committed leaves out records of aborted transactions.",
)
@format_options
@time_options
@framework_option(
    "--option",
    "options",
    cls=MappingOption,
    help="Option of the plugin. If several plugins run, write PLUGIN.NAME=VALUE. Repeatable.",
)
@framework_option(
    "--stop-at-end",
    is_flag=True,
    help="Stop when the stored state includes all records that the topics had at the start, or all records of "
    "--input. Other workers of the group may apply some of them.",
)
@framework_option(
    "--stall-timeout",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Report a partition as stalled if it has records but makes no progress for this time.",
)
@framework_option(
    "--on-stall",
    type=click.Choice(["warn", "stop"]),
    default="warn",
    show_default=True,
    help="If a partition is stalled: warn, or stop the worker.",
)
@framework_option(
    "--shutdown-timeout",
    type=DURATION,
    default="30s",
    show_default=True,
    help="Time that a stop may take after SIGINT or SIGTERM. After this time, the run ends at once, as in a crash, "
    "with status 1.",
)
@framework_option("--embedded", is_flag=True, help="Run on the embedded broker, with generated traffic.")
@framework_option("--input", metavar="FILE", help="File to read through the embedded broker, or - for standard input.")
@framework_option("--input-key", metavar="FIELD", help="Column or field of the input that contains the key.")
@framework_option(
    "--input-format",
    type=click.Choice(INPUT_FORMATS),
    help="Format of the input. The default depends on the file's name.",
)
@input_text_options
@framework_option(
    "--reload/--no-reload",
    help="Restart from the last checkpoint when the source of a plugin changes: of a plugin file, or of a package in "
    "an editable installation. For development.",
)
@framework_option("--only-check", is_flag=True, hidden=True, help="What --reload asks before it ends the old run.")
@log_options
@framework_option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as NDJSON, one object for each key. A run prints a result only with --stop-at-end, and only "
    "on the embedded broker or with the store memory.",
)
@click.pass_context
def run(ctx: click.Context, /, *, reload: bool, only_check: bool, **given: Any) -> None:
    """Run plugins over Kafka topics, until SIGINT or SIGTERM.

    If you name no Kafka cluster, no topic and no --input, the run uses the embedded broker, with generated traffic.

    \b
    Examples:
      framework run --plugin keycount
      framework run --plugin keycount --topic orders \\
        --bootstrap-servers localhost:9092
      framework run --plugin keycount --input flights.csv \\
        --input-key dest --stop-at-end
    """
    if reload:
        if given["input"] == "-":
            raise UsageError("--reload cannot read standard input again at a restart; give --input a file")
        ctx.exit(supervise(shutdown_timeout=given["shutdown_timeout"]))
    settings, fed = _settings(ctx, **given)
    runner = Runner(settings)
    if only_check:
        print_report(store_survives=runner.store_survives, has_broker=settings.bootstrap_servers is not None)
        return
    if settings.records is not None and fed is None:
        click.echo(_TRIAL, err=True)
    try:
        asyncio.run(_run(runner, fed))
    finally:
        if runner.summary is not None:
            log_summary(runner.summary)
    shows_result = settings.records is not None or not runner.store_survives
    if settings.stop_at_end and shows_result and not runner.stopped:
        _print_result(runner, as_json=given["as_json"])


async def _run(runner: Runner, input: Input | None) -> None:  # noqa: A002 - the name of the option
    """Run to the end, and show how it goes."""
    async with Status(runner.figures, input=input):
        await runner.run()


def _settings(
    ctx: click.Context,
    *,
    plugins: Sequence[str],
    topics: Sequence[str],
    topic_pattern: re.Pattern[str] | None,
    bootstrap_servers: str | None,
    kafka: Mapping[str, Any],
    group: str | None,
    store: str,
    state_dir: Path,
    embedded: bool,
    input: str | None,  # noqa: A002 - the name of the option
    input_key: str | None,
    input_format: Any,
    input_delimiter: str | None,
    input_encoding: str | None,
    stop_at_end: bool,
    as_json: bool,
    **others: Any,
) -> tuple[RunSettings, Input | None]:
    """The settings, and the file that is fed."""
    if topics and topic_pattern is not None:
        raise UsageError("give --topic or --topic-pattern, not both (a pattern may name several topics: 'a|b')")
    loaded = load(plugins)
    if not loaded.processors:
        raise UsageError(
            f"{', '.join(plugins)} contributes no processor, so there is nothing to run; name a plugin with one, too"
        )
    wanted = topic_pattern or topics
    on_broker = _is_on_broker(ctx, bootstrap_servers, wanted, embedded or input is not None)
    if not on_broker and ctx.get_parameter_source("store") is ParameterSource.DEFAULT:
        store = "memory"
    text = {"delimiter": input_delimiter, "encoding": input_encoding}
    if input is None and (unused := [name for name in _OF_INPUT if ctx.params.get(name) is not None]):
        raise UsageError(
            f"--{unused[0].replace('_', '-')} is about the file of --input, which is not given; add --input"
        )
    fed = None if input is None else Input(input, format=input_format, key=input_key, **text)
    records: Iterator[InputRecord] | None = None
    if not on_broker:
        records = _generated(stop_at_end) if fed is None else iter(fed)
    settings = RunSettings(
        plugins=loaded,
        topics=wanted or ["input" if input else "generated"],
        bootstrap_servers=bootstrap_servers if on_broker else None,
        consumer=aiokafka_arguments(AIOKafkaConsumer, kafka),
        producer=aiokafka_arguments(AIOKafkaProducer, kafka),
        admin=aiokafka_arguments(AIOKafkaAdminClient, kafka),
        group=group or f"framework-{loaded.processors[0].name}",
        store=store_location(ctx, store, state_dir),
        stop_at_end=stop_at_end,
        records=records,
        formats=format_choice(others),
        event_time=time_choice(others),
        **others,
    )
    return settings, fed


def _is_on_broker(
    ctx: click.Context,
    bootstrap_servers: str | None,
    topics: Sequence[str] | re.Pattern[str],
    wants_embedded: bool,
) -> bool:
    """Whether the run is on a Kafka that the user named, or on the embedded broker. Raises `UsageError`."""
    named_here = ctx.get_parameter_source("bootstrap_servers") is ParameterSource.COMMANDLINE
    if wants_embedded and bootstrap_servers and named_here:
        raise UsageError(
            "--embedded and --input run on the embedded broker, --bootstrap-servers names another; leave one out "
            "(framework produce sends a file to a broker)"
        )
    if wants_embedded:
        return False
    if bootstrap_servers and not topics:
        raise UsageError(f"which topic of {bootstrap_servers} should be read? name it with --topic or --topic-pattern")
    if topics and not bootstrap_servers:
        raise UsageError(
            f"no broker is named to read {_named(topics)} from; use --bootstrap-servers HOST:PORT, the variable "
            "KAFKA_BOOTSTRAP_SERVERS or a --config file (--embedded tries things out without one)"
        )
    return bool(bootstrap_servers)


def _named(topics: Sequence[str] | re.Pattern[str]) -> str:
    return f"'{topics.pattern}'" if isinstance(topics, re.Pattern) else topics[0]


def _generated(stop_at_end: bool) -> Iterator[InputRecord]:
    return islice(generate(), _GENERATED) if stop_at_end else generate(rate=_GENERATED_RATE)


def _print_result(runner: Runner, *, as_json: bool) -> None:
    for name, tasks in groupby(sorted(runner.tasks, key=lambda task: task.unit), lambda task: task.unit.plugin):
        entries = [entry for task in tasks for entry in entries_of(task.unit, task.view(), task.definition.processor)]
        if as_json:
            for entry in entries:
                click.echo(entry_line(entry, "plugin", "topic", "partition"))
        elif entries:
            print_table(entry_rows(ordered(entries)))
        else:
            click.echo(f"the state of {name} has no keys", err=True)
