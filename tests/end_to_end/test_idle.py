"""A partition without new records: with --idle-after its windows close by the clock, each once, whoever does it."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from framework.records import Record
from framework.testing.brokers import Broker
from tests.end_to_end.worker import Worker

WINDOW = ("--plugin", "window", "--option", "kind=tumbling", "--option", "size=1s", "--option", "keep=1d")
SECONDS = 120.0


@pytest.mark.timeout(300)
def test_windows_close_without_new_records(
    broker: Broker,
    topic: Callable[..., str],
    produce: Callable[..., Any],
    read_topic: Callable[..., Any],
    tmp_path: Path,
) -> None:
    records, results = topic(), topic()
    keys = [f"key-{number}" for number in range(12)]
    produce(records, keys)
    options = ("--option", f"output={results}", "--idle-after", "500ms", "--out-of-order", "200ms")
    servers = ("--topic", records, "--bootstrap-servers", broker.bootstrap_servers, "--checkpoint-interval", "30s")
    deadline = time.monotonic() + SECONDS
    with Worker(*WINDOW, *options, *servers, cwd=tmp_path) as worker:
        while len(sent(read_topic(results))) < len(keys):
            assert time.monotonic() < deadline, worker.messages
            time.sleep(0.2)  # nobody tells when outputs come
        worker.kill()
    told = "event time of a partition without records for 500ms: by the clock"
    assert any(told in message for message in worker.messages)
    deadline = time.monotonic() + SECONDS
    with Worker(*WINDOW, *options, *servers, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        produce(records, ["key-0"])
        while len(found := sent(read_topic(results))) < len(keys) + 1:
            assert time.monotonic() < deadline, worker.messages
            time.sleep(0.2)
        assert worker.terminate() == 0
    assert sorted(record["key"] for record in found.values()) == sorted([*keys, "key-0"])
    assert {window["value"] for window in found.values()} == {1}


def sent(records: Sequence[Record]) -> dict[Any, Any]:
    """The results by their source. The second worker repeats those of the first, which are equal."""
    found: dict[Any, Any] = {}
    for record in records:
        names = dict(record.headers)
        place = tuple(names[f"framework-source-{name}"] for name in ("partition", "offset", "index"))
        window = json.loads(record.value)
        assert found.setdefault(place, window) == window
    return found
