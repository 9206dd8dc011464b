"""Event time and timers, as a user runs them: on the flights, against an independent computation."""

import csv
import json
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

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
            for due in [key for key, time in timers[partition].items() if time <= reached]:
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
