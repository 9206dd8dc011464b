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
from framework.changes import fold_rows
from framework.cli.entries import Entry, entry_line, entry_rows, keys_named, ordered
from framework.cli.options import Group, framework_option, group_option, store_options
from framework.cli.stores import open_store, store_location
from framework.cli.tables import print_table, terminal_width
from framework.errors import StateCorruptError, StateIncompatibleError, UsageError
from framework.plugins import load
from framework.stores import STATE_TABLE, Store, StoredUnit, Unit

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
    as_json: bool,
) -> None:
    """Show the state of PLUGIN, a row for each key.

    If all values are numbers, the greatest come first. Otherwise, rows are ordered by key.

    \b
    Examples:
      framework state show keycount --top 10
      framework state show keycount --key JFK
      framework state show stats --top 10 --by total
    """
    if top is not None and limit is not None:
        raise UsageError("--top and --limit both say how many keys to show; leave one out")
    with closing(open_store(store_location(ctx, store, state_dir), store_options)) as opened:
        units = _units_of(plugin, _Selection(group, topic, partition), opened)
        entries = [entry for stored in units for entry in _entries(opened, stored, key)]
    rows = ordered(entries, top or _limit(limit, as_json), by=by, top=top is not None)
    if as_json:
        click.echo(b"[" + b",".join(b"\n  " + entry_line(entry, "topic", "partition") for entry in rows) + b"\n]")
    elif rows:
        print_table(entry_rows(rows))
    else:
        nothing = "no keys yet" if key is None else f"no key {key}"
        click.echo(f"the state of {plugin} has {nothing}", err=True)
    if top is None and len(rows) < len(entries):
        sys.stdout.flush()
        click.echo(f"… and {len(entries) - len(rows):,} more; --limit 0 shows all", err=True)


def _entries(store: Store, stored: StoredUnit, key: str | None) -> list[Entry]:
    """The entries of a unit, or only those of the key that is written so."""
    state = _load_state(store, stored)
    keys = state if key is None else keys_named(state, key)
    return [Entry(stored.unit, each, state[each]) for each in keys]


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
        for stored in _units_of(plugin, _Selection(group, topic, partition), opened):
            for item in _load_state(opened, stored).items():
                sys.stdout.buffer.write(entry_line(Entry(stored.unit, *item), "plugin", "topic", "partition") + b"\n")


# Stores and what is in them


def _load_state(store: Store, stored: StoredUnit) -> dict[Any, Any]:
    if stored.description is None:
        return {}
    try:
        codec = load([]).codec(stored.description.codec)()
    except UsageError as error:
        raise StateIncompatibleError(f"{stored.unit} cannot be read: {error}; install the plugin with it") from error
    rows = (row for table, row in store.load(stored.unit) if table == STATE_TABLE)
    try:
        return fold_rows(codec, rows)
    except StateCorruptError as error:
        raise StateCorruptError(f"{stored.unit} in {store.place(stored.unit)}: {error}") from error


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
