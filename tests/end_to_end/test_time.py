"""Event time and timers, as a user runs them: on the flights, against an independent computation."""

import csv
import json
from collections import Counter, defaultdict
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.cli.test_run import FLIGHTS
from tests.end_to_end.worker import framework

ABSENT = """
from framework import Duration, Options, Processor


class Absent(Processor):
    api_version = 1

    class Options(Options):
        after: Duration = Duration("2h")

    def process(self, record, state, out):
        self.timers.set(record.key, record.timestamp + self.options.after)

    def on_timer(self, timer, state, out):
        state[timer.key] = state.get(timer.key, 0) + 1
"""
HOUR = 3_600_000


def computed(partition_of: dict[str, int], bound: int) -> Counter[str]:
    """How often each carrier was absent for an hour, by a plain loop over each partition's records."""
    fired: Counter[str] = Counter()
    timers: dict[int, dict[str, int]] = defaultdict(dict)
    watermark: dict[int, int] = {}
    with Path(FLIGHTS).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            carrier, at = row["carrier"], int(datetime.fromisoformat(row["time_hour"]).timestamp()) * 1000
            partition = partition_of[carrier]
            reached = watermark.get(partition, -(2**63))
            timers[partition][carrier] = max(at + HOUR, reached + 1)
            watermark[partition] = reached = max(reached, at - bound)
            for due in [key for key, set_for in timers[partition].items() if set_for <= reached]:
                del timers[partition][due]
                fired[due] += 1
    return fired


def test_timers_fire_by_the_time_in_a_field(tmp_path: Path) -> None:
    (tmp_path / "absent.py").write_text(ABSENT, encoding="utf-8")
    run = ["run", "--plugin", "absent.py", "--option", "after=1h", "--input", FLIGHTS, "--input-key", "carrier"]
    keys = framework(*run[:2], "keycount", *run[5:], "--stop-at-end", "--json", cwd=tmp_path)
    partition_of = {line["key"]: line["partition"] for line in map(json.loads, keys.stdout.splitlines())}
    for bound, text in ((0, "0s"), (5 * HOUR, "5h")):
        done = framework(
            *run, "--event-time", "time_hour", "--out-of-order", text, "--stop-at-end", "--json", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        found = {line["key"]: line["value"] for line in map(json.loads, done.stdout.splitlines())}
        assert found == computed(partition_of, bound)
        assert sum(found.values()) > 100


def test_records_without_an_event_time_are_bad_records(tmp_path: Path) -> None:
    (tmp_path / "absent.py").write_text(ABSENT, encoding="utf-8")
    run = ["run", "--plugin", "absent.py", "--input", FLIGHTS, "--input-key", "carrier", "--stop-at-end"]
    done = framework(*run, "--event-time", "dep_tim", cwd=tmp_path)
    assert done.returncode == 1
    assert "offset 0: the event time cannot be read: " in done.stderr
    assert "set --event-time, or --on-error to go on without such records" in done.stderr
    done = framework(*run, "--event-time", "time_hour", "--max-future", "0s", "--on-error", "skip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = framework(*run, "--out-of-order", "soon", cwd=tmp_path)
    assert "'soon' is not a duration" in done.stderr


# ---- windows

NEW_YORK = ZoneInfo("America/New_York")
WINDOW = ["--plugin", "window", "--option", "kind=tumbling", "--option", "size=1d", "--option", "keep=1000d"]
WINDOW += ["--option", "timezone=America/New_York", "--event-time", "time_hour", "--out-of-order", "3d"]
FROM_FILE = ["--input", FLIGHTS, "--input-key", "carrier", "--stop-at-end"]


def flights_by_day() -> Counter[tuple[str, str]]:
    """The flights of each carrier on each day in New York, by a plain loop."""
    with Path(FLIGHTS).open(encoding="utf-8", newline="") as file:
        return Counter(
            (row["carrier"], datetime.fromisoformat(row["time_hour"]).astimezone(NEW_YORK).date().isoformat())
            for row in csv.DictReader(file)
        )


def windows_by_day(lines: str) -> dict[tuple[str, str], int]:
    """The printed windows, after a check that each is one day in New York."""
    found = {}
    for line in map(json.loads, lines.splitlines()):
        start, end = (datetime.fromisoformat(line[name]).astimezone(NEW_YORK) for name in ("start", "end"))
        assert (start.time(), end.time(), end.date()) == (time(), time(), start.date() + timedelta(days=1))
        assert line.keys() == {"plugin", "topic", "partition", "key", "start", "end", "value", "open"}
        found[line["key"], start.date().isoformat()] = line["value"]
    return found


def test_daily_counts_are_those_of_an_independent_computation(tmp_path: Path) -> None:
    done = framework("run", *WINDOW, *FROM_FILE, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert windows_by_day(done.stdout) == flights_by_day()


def test_stored_windows_are_exported_as_they_are_printed(tmp_path: Path) -> None:
    done = framework("run", *WINDOW, *FROM_FILE, "--json", "--store", "sqlite:state", cwd=tmp_path)
    exported = framework("state", "export", "window", cwd=tmp_path)
    assert sorted(exported.stdout.splitlines()) == sorted(done.stdout.splitlines()), exported.stderr
    shown = framework("state", "show", "window", "--key", "AA", "--limit", "2", cwd=tmp_path)
    assert shown.stdout.split()[:10] == ["key", "start", "end", "value", "open", "AA", *shown.stdout.split()[6:10]]
    assert "2013-01-01T05:00:00Z" in shown.stdout


def test_state_of_other_windows_is_refused_with_what_changed(tmp_path: Path) -> None:
    assert framework("run", *WINDOW, *FROM_FILE, "--store", "sqlite:state", cwd=tmp_path).returncode == 0
    changed = [*WINDOW, "--option", "size=2d", *FROM_FILE]
    done = framework("run", *changed, "--store", "sqlite:state", cwd=tmp_path)
    assert done.returncode == 3
    told = (
        "was built with counts in tumbling windows of 1d in America/New_York, but the plugin here has counts in "
        "tumbling windows of 2d in America/New_York; run with the earlier options, or start a new --group"
    )
    assert told in done.stderr


def test_late_records_are_counted_and_sent_on(tmp_path: Path) -> None:
    rows = [("a", "2013-01-01T00:00:00Z"), ("a", "2013-01-03T00:00:00Z"), ("a", "2013-01-01T12:00:00Z")]
    lines = "".join(json.dumps({"key": key, "at": at}) + "\n" for key, at in rows)
    (tmp_path / "late.ndjson").write_text(lines, encoding="utf-8")
    run = ["run", "--plugin", "window", "--option", "size=1d", "--option", "keep=9d", "--event-time", "at"]
    run += ["--input", "late.ndjson", "--input-key", "key", "--stop-at-end", "--json"]
    for late_topic in ([], ["--late-topic", "too-late"]):
        done = framework(*run, *late_topic, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert [(line["value"], line["open"]) for line in map(json.loads, done.stdout.splitlines())] == [
            (1, False),
            (1, True),
        ]
        assert "records applied: 2" in done.stderr
        assert "late: 1" in done.stderr
