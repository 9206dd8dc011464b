"""`framework check`: checks that the processors of a plugin keep the contract, and tells what they break."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from framework.borders import describe, located
from framework.cli.formats import format_choice, format_options
from framework.cli.inputs import input_text_options
from framework.cli.options import DURATION, Command, MappingOption, framework_option, log_options
from framework.embedded.inputs import INPUT_FORMATS, Input, InputFormat
from framework.errors import UsageError
from framework.options import parse_options
from framework.plugins import Plugin, ProcessorSpec, load
from framework.processor import Options
from framework.records import Record
from framework.runtime.formats import FormatChoice
from framework.testing.case import Case
from framework.testing.check import Verdict, check_rules
from framework.testing.conformance import RULES
from framework.testing.inputs import input_records

__all__ = ["check"]

_COLORS: Final = {"ok": "green", "finding": "red", "not checked": "yellow"}
_WIDEST_STATUS: Final = max(map(len, _COLORS))
_WIDEST_RULE: Final = max(map(len, RULES))


@click.command(cls=Command)
@click.argument("plugin")
@framework_option(
    "--option", "options", cls=MappingOption, metavar="[PROCESSOR.]NAME=VALUE", help="Option of the plugin. Repeatable."
)
@framework_option(
    "--input", metavar="FILE", help="File with the records to check with. By default, records are made up."
)
@framework_option(
    "--input-key", metavar="FIELD", help="Column of a CSV file, or JSON field (a.b), that contains the key."
)
@framework_option(
    "--input-format", type=click.Choice(INPUT_FORMATS), help="Format of the file. The default depends on its name."
)
@input_text_options
@framework_option(
    "--records",
    "most",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="How many records of the file are used.",
)
@framework_option("--timeout", type=DURATION, default="60s", show_default=True, help="Longest time for each rule.")
@format_options
@log_options
@framework_option("--json", "as_json", is_flag=True, help="Print an object.")
@click.pass_context
def check(
    ctx: click.Context,
    /,
    plugin: str,
    options: Mapping[str, Any],
    input: str | None,  # noqa: A002 - its name in --input
    input_key: str | None,
    input_format: InputFormat | None,
    input_delimiter: str | None,
    input_encoding: str | None,
    most: int,
    timeout: float,
    as_json: bool,
    **formats: Any,
) -> None:
    """Check that the processors of PLUGIN keep the contract that exactly-once state rests on.

    PLUGIN is the name of an installed plugin, path/to/file.py, path/to/file.py:Class or package.module:Class. The
    records come from a file, or are made up as the formats of the processor allow. The exit status is 1 if the
    processor breaks a rule.

    \b
    Examples:
      framework check keycount
      framework check median.py --option field=distance --input flights.csv --input-key carrier
    """
    (loaded,) = load([plugin]).plugins
    chosen, parsed = format_choice(formats), parse_options(loaded.processors, options)
    source = None
    if input is not None:
        source = Input(input, format=input_format, key=input_key, delimiter=input_delimiter, encoding=input_encoding)
    found = {}
    for spec in loaded.processors:
        records = _records(spec, parsed[spec.name], chosen, source, most)
        case = Case(spec.cls, records, parsed[spec.name])
        try:
            found[spec.name] = list(check_rules(case, timeout))
        except UsageError as error:
            raise UsageError(f"{spec.name}: {error}{_advice(source)}") from error
        if not as_json:
            origin = "made up" if source is None else f"from {source.name}"
            click.echo(
                f"processor {spec.name}, with {len(records)} records {origin}{_refused(case, found[spec.name])}:"
            )
            _print(found[spec.name])
    if as_json:
        click.echo(json.dumps(_object(loaded, found), indent=2, ensure_ascii=False))
    elif others := _others(loaded):
        click.echo(f"not checked: {others}; framework.testing has kits for them, for tests with pytest")
    ctx.exit(any(verdict.status == "finding" for verdicts in found.values() for verdict in verdicts))


def _records(
    spec: ProcessorSpec, options: Options, chosen: FormatChoice, source: Input | None, most: int
) -> Sequence[Record]:
    if source is not None:
        records, refused = input_records(spec, options, chosen, source, most)
        if refused:
            click.echo(f"records left out: {len(refused)}, the first because of: {refused[0]}", err=True)
        if not records:
            raise UsageError(f"{source.name} has no record that {spec.name} can read; nothing can be checked")
        return records
    try:
        from framework.testing.strategies import made_up_records
    except ImportError as error:
        raise UsageError(
            f"records cannot be made up without hypothesis ({error}); name a file with --input, or run: "
            'pip install "framework[testing]"'
        ) from error
    return made_up_records(spec.cls, options)


def _refused(case: Case, verdicts: Sequence[Verdict]) -> str:
    """How many records the processor refuses, and why the first of them; nothing if it could not be run."""
    has_run = verdicts[0].status == "ok"  # the first rule looks at the result of a run
    failed = case.reference.failed if has_run else {}
    if not failed:
        return ""
    offset, error = next(iter(failed.items()))
    return f" ({len(failed)} refused, the first at offset {offset} with {located(describe(error), error)})"


def _advice(source: Input | None) -> str:
    if source is not None:
        return ""
    return "; name a file with records that the processor accepts with --input, and its options with --option"


def _print(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        status = click.style(f"{verdict.status:{_WIDEST_STATUS}}", _COLORS[verdict.status])
        click.echo(f"  {status}  {verdict.rule:{_WIDEST_RULE}}  {verdict.reason or verdict.description}")
    findings = sum(verdict.status == "finding" for verdict in verdicts)
    click.echo(f"{findings or 'no'} finding{'' if findings == 1 else 's'}")


def _others(plugin: Plugin) -> str:
    kinds = {"codec": plugin.codecs, "store": plugin.stores, "format": plugin.formats}
    return ", ".join(f"{kind} {name}" for kind, classes in kinds.items() for name in classes)


def _object(plugin: Plugin, found: Mapping[str, Sequence[Verdict]]) -> dict[str, Any]:
    return {
        "plugin": plugin.name,
        "processors": [
            {"name": name, "rules": [asdict(verdict) for verdict in verdicts]} for name, verdicts in found.items()
        ],
        "not_checked": [each for each in _others(plugin).split(", ") if each],
    }
