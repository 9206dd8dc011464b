"""`framework state`: read stored state beside running workers, and take it over from elsewhere."""

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from framework._closest import closest
from framework.cli.entries import Entry, entries_of, entry_line, entry_rows, keys_named, ordered
from framework.cli.options import Group, framework_option, group_option, store_options
from framework.cli.stores import open_store, store_location
from framework.cli.tables import print_table, terminal_width
from framework.errors import UsageError
from framework.event_time import time_text
from framework.plugins import installed_processor
from framework.processor import Processor
from framework.reader import load_table
from framework.runtime.timers import stored_timers
from framework.stores import STATE_TABLE, TIMERS_TABLE, Store, StoredUnit, Unit

__all__ = ["state", "unit_rows"]

F = TypeVar("F", bound=Callable[..., Any])

_TERMINAL_LIMIT: Final = 100
"""The number of keys that `show` prints on a terminal by default."""


@click.group(
    cls=Group,
    lazy={"import": ("framework.cli.takeover:import_state", "Import state from aiokafka's local state example.")},
)
def state() -> None:
    """Read stored state, or import the state files of aiokafka's local state example.

    Reading does not disturb a running worker.
    """


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which stored units a command is about."""

    group: str | None
    topics: Collection[str]
    partitions: Collection[int]

    def __contains__(self, unit: Unit) -> bool:
        return (
            self.group in (None, unit.group)
            and (not self.topics or unit.topic in self.topics)
            and (not self.partitions or unit.partition in self.partitions)
        )


def _reading_options(command: F) -> F:
    """The options of all commands that read. Arguments: those of `store_options`, and `topic` and `partition`."""
    for option in (
        store_options,
        framework_option(
            "--partition",
            multiple=True,
            type=click.IntRange(0),
            metavar="N",
            help="Read only this partition. Repeatable.",
        ),
        framework_option("--topic", multiple=True, metavar="T", help="Read only this topic. Repeatable."),
    ):
        command = option(command)
    return command


_json_option = framework_option("--json", "as_json", is_flag=True, help="Print an array of objects.")


@state.command("list")
@_reading_options
@partial(group_option, help="List only the states of this consumer group. By default, all groups are listed.")
@_json_option
@click.pass_context
def list_state(
    ctx: click.Context,
    /,
    group: str | None,
    store: str,
    store_options: Mapping[str, Any],
    state_dir: Path,
    topic: Sequence[str],
    partition: Sequence[int],
    as_json: bool,
) -> None:
    """List the stored states, a row for each plugin and partition.

    A narrow terminal shows fewer columns.

    \b
    Example:
      framework state list --json
    """
    selection = _Selection(group, topic, partition)
    with closing(open_store(store_location(ctx, store, state_dir), store_options)) as opened:
        found = [stored for stored in opened.stored(group) if stored.unit in selection]
    if as_json:
        click.echo(json.dumps([_unit_object(stored) for stored in found], indent=2, ensure_ascii=False))
    elif found:
        print_table(unit_rows(found), width=terminal_width())
    else:
        click.echo(
            "nothing is stored that matches; check --state-dir and --store (./state and sqlite by default), and "
            "--group, --topic and --partition if you use them",
            err=True,
        )


@state.command()
@click.argument("plugin")
@_reading_options
@group_option
@framework_option("--key", metavar="K", help="Show only this key, written as in the table or in --json.")
@framework_option("--top", type=click.IntRange(1), metavar="N", help="Show only the N keys with the greatest values.")
@framework_option(
    "--by",
    metavar="FIELD",
    help="Field of the values to order by, such as total, a.b, or 0 for the first item of a list.",
)
@framework_option(
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help="Show at most N keys; 0 shows all. The default is 100 on a terminal, and 0 elsewhere or with --json.",
)
@framework_option("--timers", "of_timers", is_flag=True, help="Show the timers that are set, the next one first.")
@_json_option
@click.pass_context
def show(
    ctx: click.Context,
    /,
    plugin: str,
    group: str | None,
    store: str,
    store_options: Mapping[str, Any],
    state_dir: Path,
    topic: Sequence[str],
    partition: Sequence[int],
    key: str | None,
    top: int | None,
    by: str | None,
    limit: int | None,
    of_timers: bool,
    as_json: bool,
) -> None:
    """Show the state of PLUGIN, a row for each key.

    If all values are numbers, the greatest come first. Otherwise, rows are ordered by key.
    With --timers, show the timers of PLUGIN instead, in the order of their times.

    \b
    Examples:
      framework state show keycount --top 10
      framework state show keycount --key JFK
      framework state show stats --top 10 --by total
      framework state show absent --timers --limit 10
    """
    if top is not None and limit is not None:
        raise UsageError("--top and --limit both say how many keys to show; leave one out")
    if of_timers and (top is not None or by is not None):
        raise UsageError("--timers shows timers in the order of their times; use --limit, and leave --top and --by out")
    with closing(open_store(store_location(ctx, store, state_dir), store_options)) as opened:
        units = _units_of(plugin, _Selection(group, topic, partition), opened)
        processor = installed_processor(plugin)
        entries = [
            entry
            for stored in units
            for entry in _named(key, _timers(opened, stored) if of_timers else _entries(opened, stored, processor))
        ]
    if of_timers:
        rows = sorted(entries, key=lambda timer: (timer.value, timer.unit))[: _limit(limit, as_json)]
    else:
        rows = ordered(entries, top or _limit(limit, as_json), by=by, top=top is not None)
    if as_json:
        click.echo(b"[" + b",".join(b"\n  " + entry_line(entry, "topic", "partition") for entry in rows) + b"\n]")
    elif rows:
        print_table(entry_rows(rows))
    else:
        what = "timers" if of_timers else "keys yet"
        nothing = f"no {what}" if key is None else f"no {'timer of ' if of_timers else ''}key {key}"
        click.echo(f"the state of {plugin} has {nothing}", err=True)
    if top is None and len(rows) < len(entries):
        sys.stdout.flush()
        click.echo(f"… and {len(entries) - len(rows):,} more; --limit 0 shows all", err=True)


def _entries(store: Store, stored: StoredUnit, processor: type[Processor] | None) -> list[Entry]:
    """The entries of a unit as its plugin names them."""
    return entries_of(stored.unit, load_table(store, stored, STATE_TABLE), processor)


def _timers(store: Store, stored: StoredUnit) -> list[Entry]:
    """The timers of a unit. The value of each is what they are ordered by: its time in milliseconds, and its name."""
    return [
        Entry(
            stored.unit,
            timer.key,
            (timer.time, timer.name),
            {
                "key": timer.key,
                "name": timer.name,
                "time": time_text(timer.time),
                "clock": "wall" if timer.is_wall else "event",
            },
        )
        for timer in stored_timers(load_table(store, stored, TIMERS_TABLE).items())
    ]


def _named(key: str | None, entries: list[Entry]) -> list[Entry]:
    """Those of the key that is written so; all without a key."""
    if key is None:
        return entries
    named = set(keys_named((entry.key for entry in entries), key))
    return [entry for entry in entries if entry.key in named]


def _limit(limit: int | None, as_json: bool) -> int | None:
    """The number of keys to show; None for all."""
    if limit is None and not as_json and sys.stdout.isatty():
        return _TERMINAL_LIMIT
    return limit or None


@state.command()
@click.argument("plugin")
@_reading_options
@group_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    plugin: str,
    group: str | None,
    store: str,
    store_options: Mapping[str, Any],
    state_dir: Path,
    topic: Sequence[str],
    partition: Sequence[int],
) -> None:
    """Write the state of PLUGIN as NDJSON, a line for each key.

    Each line is an object with plugin, topic, partition, key and value. A value of a type that JSON lacks is written as
    an object with one key that starts with $, such as {"$tuple": [1, 2]}. The codec json stores it in the same way.

    \b
    Example:
      framework state export keycount > counts.ndjson
    """
    with closing(open_store(store_location(ctx, store, state_dir), store_options)) as opened:
        processor = installed_processor(plugin)
        for stored in _units_of(plugin, _Selection(group, topic, partition), opened):
            for entry in _entries(opened, stored, processor):
                sys.stdout.buffer.write(entry_line(entry, "plugin", "topic", "partition") + b"\n")


# Stores and what is in them


def _units_of(plugin: str, selection: _Selection, store: Store) -> list[StoredUnit]:
    """The units of a plugin, in the group that is selected or the plugin's own. Raises `UsageError` for none."""
    group = selection.group or f"framework-{plugin}"
    of_plugin = [stored for stored in store.stored(group) if stored.unit.plugin == plugin]
    found = [stored for stored in of_plugin if stored.unit in selection]
    if found:
        return found
    if of_plugin:
        there = ", ".join(f"{stored.unit.topic}-{stored.unit.partition}" for stored in of_plugin)
        raise UsageError(f"no state of {plugin} in group {group} is of this topic and partition; there is {there}")
    raise UsageError(f"no state of {plugin} in group {group}{_elsewhere(plugin, store)}")


def _elsewhere(plugin: str, store: Store) -> str:
    """Tells what the store holds instead of the state that was asked for."""
    units = [stored.unit for stored in store.stored()]
    groups = sorted({unit.group for unit in units if unit.plugin == plugin})
    if len(groups) == 1:
        return f", but in group {groups[0]}; add --group {groups[0]}"
    if groups:
        return f", but in the groups {', '.join(groups)}; choose one with --group"
    plugins = sorted({unit.plugin for unit in units})
    if plugins:
        return f"{closest(plugin, plugins)}; there is state of {', '.join(plugins)}"
    return ": nothing is stored there; check --state-dir and --store (./state and sqlite by default)"


# What is printed


def _unit_object(stored: StoredUnit) -> dict[str, Any]:
    unit, saved_at = stored.unit, stored.saved_at
    return {
        "group": unit.group,
        "plugin": unit.plugin,
        "topic": unit.topic,
        "partition": unit.partition,
        "last_offset": stored.own_progress.last_offset,
        "keys": stored.keys,
        "bytes": stored.bytes,
        "codec": stored.description.codec if stored.description else None,
        "epoch": stored.epoch,
        "version": stored.version,
        "missing_offsets": stored.own_progress.missing_offsets,
        "saved_at": None if saved_at is None else datetime.fromtimestamp(saved_at, UTC).isoformat(timespec="seconds"),
    }


def unit_rows(found: Sequence[StoredUnit]) -> list[dict[str, Any]]:
    """Rows of a table of stored units, the important columns first.

    The columns for groups and for missing offsets are there only if they tell something.
    """
    columns = ["topic", "partition", "plugin", "last_offset", "keys", "bytes", "saved_at", "codec", "epoch", "version"]
    if any(stored.own_progress.missing_offsets for stored in found):
        columns.insert(columns.index("saved_at"), "missing_offsets")
    if len({stored.unit.group for stored in found}) > 1:
        columns.insert(0, "group")
    return [_unit_cells(stored, columns) for stored in found]


def _unit_cells(stored: StoredUnit, columns: Sequence[str]) -> dict[str, Any]:
    cells = _unit_object(stored)
    if stored.saved_at is not None:
        cells["saved_at"] = f"{datetime.fromtimestamp(stored.saved_at, UTC):%Y-%m-%d %H:%M:%SZ}"
    return {name.replace("_", " "): "-" if cells[name] is None else cells[name] for name in columns}
