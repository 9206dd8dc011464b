"""`framework run` on the embedded broker: what is fed comes out exactly, or the run fails."""

import asyncio
import json
import random
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from framework import Processor, RecordsLostError
from framework import runner as runner_module
from framework.embedded.feed import Feed
from framework.embedded.inputs import InputRecord
from framework.plugins import load
from framework.runner import Runner, RunSettings
from framework.stores.memory import MemoryStore
from tests.end_to_end.worker import framework

FLIGHTS = Path(__file__).parents[2] / "examples" / "data" / "flights-2013-01.csv"


def by_key(stdout: str) -> dict[str | None, Any]:
    return {entry["key"]: entry["value"] for entry in map(json.loads, stdout.splitlines())}


def test_a_real_data_set_counts_as_sort_and_uniq_do(tmp_path):
    pipeline = f"tail -n +2 {FLIGHTS} | cut -d, -f14 | sort | uniq -c"
    uniq = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, check=True)
    expected = {key: int(count) for count, key in map(str.split, uniq.stdout.splitlines())}
    args = ["run", "--plugin", "keycount", "--input", FLIGHTS, "--input-key", "dest", "--stop-at-end"]
    done = framework(*args, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert by_key(done.stdout) == expected
    assert len(expected) == 94
    assert not (tmp_path / "state").exists()
    table = framework(*args, cwd=tmp_path).stdout.splitlines()
    assert [line.split() for line in table[:2]] == [
        ["key", "value"],
        [max(expected, key=lambda key: expected[key]), str(max(expected.values()))],
    ]


@pytest.mark.slow
def test_a_file_of_some_hundred_megabytes_comes_out_exactly(tmp_path):
    chance = random.Random(5)
    expected: Counter[str] = Counter()
    with (tmp_path / "large.tsv").open("w") as file:
        for _ in range(150_000):
            key = f"key-{chance.randrange(5000)}"
            expected[key] += 1
            file.write(f"{key}\t{'x' * chance.randrange(1000, 3000)}\n")
    assert (tmp_path / "large.tsv").stat().st_size > 250_000_000
    done = framework("run", "--plugin", "keycount", "--input", "large.tsv", "--stop-at-end", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert by_key(done.stdout) == expected


def test_a_file_with_another_delimiter_and_encoding(tmp_path):
    (tmp_path / "a.csv").write_text("stadt\tgröße\nKöln\t1\n", encoding="cp1252")
    args = ["run", "--plugin", "keycount", "--input", "a.csv", "--input-key", "stadt", "--stop-at-end", "--json"]
    done = framework(*args, "--input-encoding", "cp1252", cwd=tmp_path)
    assert done.returncode == 2
    assert "try --input-delimiter tab" in done.stderr
    done = framework(*args, "--input-encoding", "cp1252", "--input-delimiter", "tab", cwd=tmp_path)
    assert (done.returncode, by_key(done.stdout)) == (0, {"Köln": 1}), done.stderr


def test_a_large_field_is_limited_by_the_size_of_a_record(tmp_path):
    args = ["run", "--plugin", "keycount", "--input", "a.csv", "--input-key", "k", "--stop-at-end", "--json"]
    (tmp_path / "a.csv").write_text(f"k,v\na,{'x' * 500_000}\n")
    done = framework(*args, cwd=tmp_path)
    assert (done.returncode, by_key(done.stdout)) == (0, {"a": 1}), done.stderr
    (tmp_path / "a.csv").write_text(f"k,v\na,{'x' * 4_000_000}\n")
    done = framework(*args, cwd=tmp_path)
    assert done.returncode != 0
    assert "a record of 4,000," in done.stderr


def test_standard_input(tmp_path):
    lines = "a\t1\nb\t2\na\t3\nno key\n"
    args = ["run", "--plugin", "keycount", "--input", "-", "--stop-at-end", "--json"]
    done = framework(*args, cwd=tmp_path, stdin=lines)
    assert done.returncode == 0, done.stderr
    assert by_key(done.stdout) == {"a": 2, "b": 1, None: 1}


TYPED = """
import msgspec
from decimal import Decimal
from framework import Processor


class Order(msgspec.Struct):
    customer: str
    amount: Decimal


class Totals(Processor[str, Order, Decimal]):
    api_version = 1
    value_format = Order

    def process(self, record, state, out):
        state[record.value.customer] = state.get(record.value.customer, Decimal(0)) + record.value.amount
"""


def test_a_plugin_reads_values_of_a_type(tmp_path):
    (tmp_path / "totals.py").write_text(TYPED)
    (tmp_path / "in.ndjson").write_text('{"customer": "a", "amount": 1.50}\n{"customer": "a", "amount": "x"}\n')
    args = ["run", "--plugin", "totals.py", "--input", "in.ndjson", "--stop-at-end", "--json"]
    done = framework(*args, "--on-error", "skip", cwd=tmp_path)
    assert (done.returncode, by_key(done.stdout)) == (0, {"a": {"$decimal": "1.50"}}), done.stderr
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert "offset 1: the value is not json of Order: Invalid decimal string - at `$.amount`" in done.stderr


PLACES = """
from framework import Processor


class Places(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.value["b"]] = 1
"""


def test_formats_with_options(tmp_path):
    (tmp_path / "places.py").write_text(PLACES)
    (tmp_path / "in.tsv").write_text("k\t1;x\nk\t2;y\n")
    args = ["run", "--plugin", "places.py", "--input", "in.tsv", "--stop-at-end", "--json", "--value-format", "csv"]
    done = framework(
        *args, "--value-format-option", "columns=a,b", "--value-format-option", "delimiter=;", cwd=tmp_path
    )
    assert (done.returncode, by_key(done.stdout)) == (0, {"x": 1, "y": 1}), done.stderr
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert "the options of the format csv cannot be used: columns: it is required" in done.stderr


def test_an_unknown_format_is_refused_with_the_closest(tmp_path):
    done = framework("run", "--plugin", "keycount", "--value-format", "jsn", "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 2
    assert "no format named 'jsn' (did you mean json" in done.stderr


def test_an_option_of_the_input_file_needs_the_file(tmp_path):
    done = framework("run", "--plugin", "keycount", "--input-key", "user", "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 2
    assert "--input-key is about the file of --input, which is not given" in done.stderr


def test_with_nothing_named_it_says_that_it_is_a_trial(tmp_path):
    done = framework("run", "--plugin", "keycount", "--stop-at-end", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "GENERATED TRAFFIC on the EMBEDDED BROKER" in done.stderr
    assert sum(by_key(done.stdout).values()) == 100_000


def test_the_guarantee_is_printed(tmp_path):
    args = ["run", "--plugin", "keycount", "--input", FLIGHTS, "--stop-at-end", "--store", "sqlite"]
    done = framework(*args, "--on-error", "skip", cwd=tmp_path)
    assert "state: exactly once · outputs: at least once · bad record: skip" in done.stderr
    assert "store: sqlite:state" in done.stderr
    assert (tmp_path / "state").exists()


TIMED = """
from framework import Processor


class Timed(Processor):
    api_version = 1
    uses_event_time = True

    def process(self, record, state, out):
        state[record.key] = self.event_time
"""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "late record: drop · store:"),
        (["--late-topic", "too-late"], "late record: send to too-late · store:"),
        (["--idle-after", "1m"], "event time of a partition without records for 1m: by the clock · store:"),
        (["--max-future", "90m"], "time ahead of the machine's clock by more than 1h30m: bad record · store:"),
    ],
)
def test_the_guarantee_tells_of_late_records_and_of_what_a_clock_decides(tmp_path, options, shown):
    (tmp_path / "timed.py").write_text(TIMED)
    (tmp_path / "in.tsv").write_text("a\tx\n")
    done = framework("run", "--plugin", "timed.py", "--input", "in.tsv", "--stop-at-end", *options, cwd=tmp_path)
    assert shown in done.stderr, done.stderr


def test_a_run_ends_with_a_summary_and_draws_nothing_where_there_is_no_terminal(tmp_path):
    args = ["run", "--plugin", "keycount", "--input", FLIGHTS, "--input-key", "dest", "--stop-at-end"]
    lines = framework(*args, cwd=tmp_path).stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d info ", line) for line in lines), lines
    assert "records applied: 27,004 in " in lines[-1]
    assert lines[-1].endswith("records failed: 0")
    *_, last = framework(*args, "--log-format", "json", cwd=tmp_path).stderr.splitlines()
    summary = json.loads(last)
    assert (summary["records"], summary["keys"], summary["failed"]) == (27_004, 94, 0)
    assert summary["bytes"] > 0
    assert summary["records_per_second"] == pytest.approx(27_004 / summary["seconds"], rel=0.01)


PICKY = """
from framework import Processor


class Picky(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.offset % 3 == 0:
            raise ValueError("no good")
"""


def test_many_failures_are_few_warnings_that_count_each_of_them(tmp_path):
    (tmp_path / "picky.py").write_text(PICKY)
    (tmp_path / "in.tsv").write_text("\n".join(f"{number % 8}\tx" for number in range(30_000)))
    args = ["run", "--plugin", "picky.py", "--input", "in.tsv", "--stop-at-end", "--on-error", "skip"]
    began = time.monotonic()
    lines = framework(*args, cwd=tmp_path).stderr.splitlines()
    seconds = time.monotonic() - began
    warnings = [line for line in lines if " skipped; the first: " in line]
    failed = int(lines[-2].rpartition("records failed: ")[2].replace(",", ""))
    assert sum(int(line.split()[2]) for line in warnings) == failed
    assert 9_996 <= failed <= 10_004
    assert 1 <= len(warnings) <= 2 + seconds
    assert f"ValueError: no good (at {tmp_path / 'picky.py'}:10)" in warnings[0]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("sqlite:state", "sqlite:state"),
        ("sql:postgresql://host/db", "sql:postgresql://host/db"),
        ("sql:postgresql://me@host/db", "sql:postgresql://me@host/db"),
        ("sql:postgresql://me:secret@host/db", "sql:postgresql://me:***@host/db"),
        ("sql:postgresql://me:se/cr@et:@host/db", "sql:postgresql://me:***@host/db"),
    ],
)
def test_the_guarantee_does_not_show_the_password_of_a_store(location, shown):
    plugins = load([f"{__name__}:Slow"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(plugins), "store", lambda *args: MemoryStore)
        patch.setattr(MemoryStore, "survives", True)
        settings = RunSettings(plugins=plugins, topics=["t"], bootstrap_servers=None, group="g", store=location)
        assert Runner(settings).guarantee().endswith(f"store: {shown}")


def test_a_run_that_ends_with_an_error_also_has_a_summary(tmp_path):
    (tmp_path / "picky.py").write_text(PICKY.replace("% 3 == 0", "== 2"))
    (tmp_path / "in.tsv").write_text("0\tx\n" * 5)
    done = framework("run", "--plugin", "picky.py", "--input", "in.tsv", "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 1
    *_, summary, error = done.stderr.splitlines()
    assert re.search(r"records applied: 2 in .* · records failed: 0$", summary)
    assert error.startswith("error: ")


def test_a_store_that_does_not_tell_what_it_holds_leaves_that_out_of_the_summary(caplog):
    class Silent(MemoryStore):
        def stored(self, group=None):
            raise MemoryError

    plugins = load([f"{__name__}:Slow"])
    settings = RunSettings(
        plugins=plugins,
        topics=["t"],
        bootstrap_servers=None,
        group="g",
        store="memory",
        stop_at_end=True,
        records=iter([InputRecord(b"a", b"1", 1)]),
    )
    runner = Runner(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(plugins), "open_store", lambda *args: Silent())
        asyncio.run(runner.run())
    assert runner.summary is not None
    assert (runner.summary.records, runner.summary.keys, runner.summary.bytes) == (1, None, None)
    assert "the store could not be asked how much it holds: MemoryError" in caplog.text


def test_a_bad_line_of_the_input_fails_the_run(tmp_path):
    (tmp_path / "bad.ndjson").write_text('{"k": "a"}\n{"k": }\n')
    args = ["run", "--plugin", "keycount", "--input", "bad.ndjson", "--input-key", "k", "--stop-at-end"]
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.ndjson, line 2" in done.stderr
    assert done.stdout == ""


class Slow(Processor):
    api_version = 1

    def process_batch(self, batch, state, out):
        time.sleep(0.01)
        state["records"] = state.get("records", 0) + len(batch)


def test_records_that_the_embedded_broker_dropped_are_an_error(monkeypatch, tmp_path):
    """Without pacing it drops them without a word: the run must notice, not give a wrong count."""

    class Unpaced(Feed):
        def __init__(self, *args, embedded, applied, **named):
            super().__init__(*args, embedded=False, **named)

    monkeypatch.setattr(runner_module, "Feed", Unpaced)
    settings = RunSettings(
        plugins=load([f"{__name__}:Slow"]),
        topics=["t"],
        bootstrap_servers=None,
        group="g",
        store="memory",
        stop_at_end=True,
        records=iter(InputRecord(b"%d" % number, b"x" * 10_000, number) for number in range(10_000)),
    )
    with pytest.raises(RecordsLostError):
        asyncio.run(Runner(settings).run())
