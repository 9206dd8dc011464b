"""Workers with windows, killed at random: the windows and the results are those of an undisturbed run."""

import json
import random
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest

from framework.output import SOURCE_HEADERS
from tests.cli.test_run import FLIGHTS
from tests.end_to_end.test_time import WINDOW, flights_by_day, windows_by_day
from tests.end_to_end.worker import Worker, framework

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

KILLS = 6


def test_workers_killed_at_any_time_count_the_same_days(broker, topic, read_topic, tmp_path):
    name, results, chance = topic(), topic(), random.Random(13)
    on = ["--bootstrap-servers", broker.bootstrap_servers]
    run = [*WINDOW, "--option", f"output={results}", "--topic", name, *on, "--checkpoint-interval", "50ms"]
    run += ["--kafka", "max_partition_fetch_bytes=4000"]  # small fetches make it last
    *parts, last = parts_of_the_flights(tmp_path, KILLS + 1)
    for part in parts:
        before = stored(tmp_path)
        produce(part, name, on)
        with Worker(*run, cwd=tmp_path) as worker:
            while stored(tmp_path) == before:
                assert worker.runs, worker.messages
            time.sleep(chance.uniform(0, 0.2))
            worker.signal(signal.SIGKILL)
    produce(last, name, on)
    done = framework("run", *run, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = framework("state", "export", "window", cwd=tmp_path).stdout
    assert windows_by_day(exported) == flights_by_day()
    closed = {(line["key"], line["start"]): line["value"] for line in lines(exported) if not line["open"]}
    assert sent(read_topic(results)) == closed


def parts_of_the_flights(directory, count):
    """The flights in so many files, in their order."""
    head, *rows = Path(FLIGHTS).read_text().splitlines(keepends=True)
    size = -(-len(rows) // count)
    files = [directory / f"flights-{number}.csv" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text("".join([head, *rows[number * size : (number + 1) * size]]))
    return files


def produce(file, topic, on):
    produced = framework("produce", file, "--topic", topic, "--key", "carrier", *on, cwd=file.parent)
    assert produced.returncode == 0, produced.stderr


def stored(directory):
    """The number of records that the stored states have."""
    listed = framework("state", "list", "--json", cwd=directory)
    return sum(unit["last_offset"] + 1 for unit in json.loads(listed.stdout or "[]"))


def lines(text):
    return list(map(json.loads, text.splitlines()))


def sent(records):
    """The results by key and start. A result may be sent again, but then it is the same, and named the same."""
    named = defaultdict(set)
    for record in records:
        identity = tuple(value for header, value in record.headers if header in SOURCE_HEADERS)
        named[identity].add((record.key, record.value))
    assert all(len(results) == 1 for results in named.values())
    found = [json.loads(value) for ((_, value),) in named.values()]
    by_window = {(each["key"], each["start"]): each["value"] for each in found}
    assert len(by_window) == len(found), "each window has one result"
    return by_window
