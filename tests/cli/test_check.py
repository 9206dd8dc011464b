"""`framework check`: verdicts on plugins that keep the contract, and on those that break it."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from framework import Processor, UsageError
from framework.cli.check import check
from framework.testing.case import Case
from framework.testing.check import check_rules
from framework.testing.conformance import RULES

FLIGHTS = str(Path(__file__).parents[2] / "examples" / "data" / "flights-2013-01.csv")

COUNTS_IN_SELF = """
from framework import Processor

class Counts(Processor):
    '''Keeps its count outside the state.'''
    api_version = 1
    count = 0

    def process(self, record, state, out):
        self.count += 1
        state[record.key] = self.count
"""


def invoke(*args: str) -> Result:
    return CliRunner().invoke(check, args, catch_exceptions=False)


@pytest.mark.parametrize(
    "args",
    [
        ["keycount"],
        ["sumbykey", "--option", "field=amount"],
        ["sumbykey", "--option", "field=distance", "--input", FLIGHTS, "--input-key", "dest", "--records", "50"],
    ],
    ids=["made up", "made up of a type", "of a file"],
)
def test_a_plugin_that_keeps_the_contract_has_no_findings(args: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"processor {args[0]}, with ")
    assert [line.split()[:2] for line in lines[1:-1]] == [["ok", name] for name in RULES]
    assert lines[-1] == "no findings"


def test_a_breach_is_told_with_status_1(tmp_path: Path) -> None:
    plugin = tmp_path / "counts.py"
    plugin.write_text(COUNTS_IN_SELF)
    result = invoke(str(plugin))
    assert result.exit_code == 1
    assert "  finding      restarts       a run with restarts, codec json: the state of key" in result.stdout
    assert result.stdout.endswith("1 finding\n")


def test_json_has_a_verdict_on_each_rule(tmp_path: Path) -> None:
    plugin = tmp_path / "counts.py"
    plugin.write_text(COUNTS_IN_SELF)
    result = invoke(str(plugin), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["plugin"] == "counts"
    (processor,) = told["processors"]
    assert {rule["rule"]: rule["status"] for rule in processor["rules"]} == {
        name: "finding" if name == "restarts" else "ok" for name in RULES
    }


def test_records_that_are_all_refused_check_nothing() -> None:
    with pytest.raises(UsageError, match=r"topk: the processor refuses each of .* name a file with records"):
        invoke("topk", "--option", "field=nowhere")


def test_values_that_are_not_in_the_format_are_left_out(tmp_path: Path) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_text('a\t{"x": 1}\na\tno json\nb\t{"x": 2}\n')
    result = invoke("sumbykey", "--option", "field=x", "--input", str(rows))
    assert result.exit_code == 0
    assert "with 2 records from" in result.stdout
    assert "records left out: 1, the first because of: test-0 offset 1: the value is not json" in result.stderr
    with pytest.raises(UsageError, match=r"rows\.tsv has no record that sumbykey can read"):
        invoke("sumbykey", "--option", "field=y", "--input", str(rows))


def test_formats_are_named_as_not_checked() -> None:
    result = invoke("schemaregistry")
    assert result.exit_code == 0
    assert "not checked: format sr-avro, format sr-json, format sr-protobuf" in result.stdout


def test_a_processor_that_blocks_is_a_finding_and_ends_the_check() -> None:
    released = threading.Event()

    class Blocks(Processor):
        """Waits for ever."""

        api_version = 1

        def process(self, record: Any, state: Any, out: Any) -> None:
            released.wait()

    try:
        first, *others = check_rules(Case(Blocks, [("a", b"")]), 0.2)
    finally:
        released.set()
    assert (first.status, first.reason.splitlines()[0]) == (
        "finding",
        "the processor blocks: it has not ended within 0.2 s",
    )
    assert "released.wait()" in first.reason
    assert {verdict.status for verdict in others} == {"not checked"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    def __init__(self, options, partition): raise OSError('no disk')", "the constructor fails with OSError"),
        ("    async def open(self): raise SystemExit(3)", "open fails with SystemExit"),
        (
            "    def process_batch(self, batch, state, out): raise ValueError('batch')",
            "process_batch fails at offsets 0",
        ),
    ],
)
def test_whatever_a_processor_raises_is_a_finding(tmp_path: Path, body: str, told: str) -> None:
    plugin = tmp_path / "raises.py"
    plugin.write_text(
        "from framework import Processor\nclass Raises(Processor):\n    '''Raises.'''\n    api_version = 1\n"
        f"    def process(self, record, state, out): state[record.key] = 1\n{body}\n"
    )
    result = invoke(str(plugin))
    assert result.exit_code == 1
    assert told in result.stdout
