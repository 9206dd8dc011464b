"""`framework plugins`: lists the installed plugins, tells why some are broken, and describes their options."""

import inspect
import json
import re
from dataclasses import asdict
from importlib.metadata import requires
from typing import Any, Final

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from framework.cli.options import Group, framework_option
from framework.errors import UsageError
from framework.formats import FORMATS, Format
from framework.formats.json import JsonType
from framework.locate import GROUP
from framework.options.descriptions import OptionInfo, describe_options, options_schema
from framework.plugins import Found, Plugin, Plugins, ProcessorSpec, discover, load
from framework.processor import Processor

__all__ = ["plugins"]

_OWN_REQUIREMENT: Final = re.compile(r"framework(?![\w.-])")
"""Matches the requirement of framework itself, and of no package whose name begins so."""


@click.group(cls=Group)
def plugins() -> None:
    """Show which plugins are installed, and their options."""


@plugins.command("list")
@framework_option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins, with the reason if one cannot be used.

    A plugin contributes processors, codecs, stores, formats, or an observer, which is told what the runtime does.

    \b
    Example:
      framework plugins list
    """
    found = discover()
    if as_json:
        _print_json([_found_object(one) for one in found])
    elif found:
        _print_found(found)
    else:
        click.echo(f"no plugins are installed: no package here has an entry point in the group {GROUP}", err=True)


@plugins.command("formats")
@framework_option("--json", "as_json", is_flag=True, help="Print an array of objects.")
def list_formats(as_json: bool) -> None:
    """List the formats of keys and values, with their options.

    \b
    Example:
      framework plugins formats
    """
    loaded = load([])
    names = [*FORMATS, *(name for found in discover() if found.plugin for name in found.plugin.formats)]
    found = [(name, _format_class(loaded, name)) for name in dict.fromkeys(names)]
    if as_json:
        _print_json([_format_object(name, cls) for name, cls in found])
        return
    table = Table(*_columns("format", "summary", "options"), box=None, pad_edge=False)
    for name, cls in found:
        options = "; ".join(map(str, describe_options(cls.Options))) if isinstance(cls, type) else ""
        table.add_row(name, _summary(cls) if isinstance(cls, type) else Text(cls, style="red"), options)
    _console().print(table)


def _format_class(loaded: Plugins, name: str) -> type[Format] | str:
    """The class, or why it cannot be used: it may need a package that is not installed."""
    try:
        return loaded.format_class(name)
    except UsageError as error:
        return str(error)


@plugins.command()
@click.argument("name")
@framework_option("--json", "as_json", is_flag=True, help="Print an object.")
def info(name: str, as_json: bool) -> None:
    """Describe the plugin NAME: its contributions, source and options.

    With --json, the options are described by a JSON Schema, too.

    NAME is the name of an installed plugin, distribution:name, path/to/file.py, path/to/file.py:Class or
    package.module:Class.

    \b
    Example:
      framework plugins info sumbykey
    """
    (plugin,) = load([name]).plugins
    if as_json:
        _print_json(_plugin_object(plugin))
    else:
        _print_plugin(plugin)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _console() -> Console:
    """On the standard output of this call; only a terminal has a width to fold lines to."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    return console


def _columns(*names: str) -> list[Column]:
    """Columns that break long words in a narrow terminal, and cut nothing off."""
    return [Column(name, overflow="fold") for name in names]


def _found_object(found: Found) -> dict[str, Any]:
    origin, plugin = found.origin, found.plugin
    return {
        "name": origin.name,
        "distribution": origin.distribution,
        "version": origin.version,
        "processors": [spec.name for spec in plugin.processors] if plugin else [],
        "codecs": sorted(plugin.codecs) if plugin else [],
        "stores": sorted(plugin.stores) if plugin else [],
        "formats": sorted(plugin.formats) if plugin else [],
        "observers": list(plugin.observers) if plugin else [],
        "status": found.status,
        "reason": found.reason,
    }


def _print_found(found: list[Found]) -> None:
    table = Table(*_columns("plugin", "distribution", "version", "contributes", "status"), box=None, pad_edge=False)
    for one in found:
        status = Text(one.status if one.reason is None else f"{one.status}: {one.reason}")
        status.stylize("green" if one.status == "ok" else "red")
        origin = one.origin
        table.add_row(origin.name, origin.distribution, origin.version, _contributions(one.plugin), status)
    _console().print(table)


def _contributions(plugin: Plugin | None) -> str:
    if plugin is None:
        return ""
    processors = (f"processor {spec.name}" for spec in plugin.processors)
    codecs = (f"codec {name}" for name in plugin.codecs)
    stores = (f"store {name}" for name in plugin.stores)
    formats = (f"format {name}" for name in plugin.formats)
    observer = [f"observer of {', '.join(plugin.observers)}"] if plugin.observers else []
    return "; ".join([*processors, *codecs, *stores, *formats, *observer])


def _print_plugin(plugin: Plugin) -> None:
    console, origin = _console(), plugin.origin
    console.print(Text(plugin.name, style="bold"))
    facts = [("from", str(origin)), ("place", origin.place), ("contributes", _contributions(plugin))]
    if needs := _needs(plugin):
        facts.append(("needs", needs))
    console.print(_facts(*facts))
    for spec in plugin.processors:
        _print_processor(console, spec)
    for kind, classes in (("store", plugin.stores), ("format", plugin.formats)):
        for name, cls in classes.items():
            console.print()
            console.print(Text.assemble(f"{kind} ", (name, "bold")))
            _print_options(console, cls.Options)


def _needs(plugin: Plugin) -> str | None:
    """The versions of framework that a plugin's package fits; None if it does not say."""
    if plugin.origin.distribution is None:
        return None
    requirements = requires(plugin.origin.distribution) or []
    return next((each for each in requirements if _OWN_REQUIREMENT.match(each)), None)


def _print_processor(console: Console, spec: ProcessorSpec) -> None:
    console.print()
    console.print(Text.assemble("processor ", (spec.name, "bold")))
    cls = spec.cls
    console.print(
        _facts(
            ("summary", _summary(cls)),
            ("state version", str(cls.state_version)),
            ("key format", _format_text(cls.key_format)),
            ("value format", _value_format(cls)),
        )
    )
    _print_options(console, cls.Options)


def _print_options(console: Console, model: type[BaseModel]) -> None:
    options = describe_options(model)
    if not options:
        console.print("  no options")
        return
    table = Table(*_columns("option", "type", "default", "help"), box=None, padding=(0, 1, 0, 2), pad_edge=True)
    for option in options:
        default = f"({option.default_text})" if option.required else option.default_text
        allowed = ", ".join(filter(None, (option.type, option.range)))
        table.add_row(*(Text(cell) for cell in (option.name, allowed, default, _help_text(option))))
    console.print(table)


def _help_text(option: OptionInfo) -> str:
    examples = f"Examples: {'; '.join(option.examples)}" if option.examples else ""
    end = "." if option.help and examples and not option.help.endswith(".") else ""
    return " ".join(filter(None, (option.help + end, examples)))


def _facts(*facts: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, fact in facts:
        table.add_row(Text(f"  {name}", style="dim"), Text(fact))
    return table


def _plugin_object(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "place": plugin.origin.place,
        "distribution": plugin.origin.distribution,
        "version": plugin.origin.version,
        "needs": _needs(plugin),
        "processors": [_processor_object(spec) for spec in plugin.processors],
        "codecs": sorted(plugin.codecs),
        "stores": [_options_object(name, cls.Options) for name, cls in plugin.stores.items()],
        "formats": [_options_object(name, cls.Options) for name, cls in plugin.formats.items()],
        "observers": list(plugin.observers),
    }


def _processor_object(spec: ProcessorSpec) -> dict[str, Any]:
    return {
        **_options_object(spec.name, spec.cls.Options),
        "summary": _summary(spec.cls),
        "state_version": spec.cls.state_version,
        "key_format": _format_text(spec.cls.key_format),
        "value_format": _format_text(spec.cls.value_format),
    }


def _options_object(name: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": name,
        "options": [_option_object(option) for option in describe_options(model)],
        "schema": options_schema(model),
    }


def _option_object(option: OptionInfo) -> dict[str, Any]:
    return {name: value for name, value in asdict(option).items() if name != "default_text"}


def _format_object(name: str, cls: type[Format] | str) -> dict[str, Any]:
    if isinstance(cls, str):
        return {"name": name, "summary": None, "options": [], "schema": None, "reason": cls}
    return {**_options_object(name, cls.Options), "summary": _summary(cls), "reason": None}


def _format_text(declared: Any) -> str:
    """A format that a processor declares: a name, or a type."""
    if isinstance(declared, str):
        return declared
    return str(declared if isinstance(declared, JsonType) else JsonType(declared))


def _value_format(cls: type[Processor]) -> str:
    chosen = cls.value_format_of.__func__ is not Processor.value_format_of.__func__  # type: ignore[attr-defined]
    return f"{_format_text(cls.value_format)}, or as the options say" if chosen else _format_text(cls.value_format)


def _summary(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
