"""What `out.send` is told of topic, partition and timestamp, on a broker."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framework.testing.brokers import Broker
from tests.end_to_end.worker import exported, framework

PLUGIN = """
from framework import Processor


class Placing(Processor):
    api_version = 1
    value_format = "json"

    def process(self, record, state, out):
        state[record.key] = record.value
        out.send(key=record.key, **record.value)
"""

Run = Callable[..., Any]


@pytest.fixture
def run(broker: Broker, topic: Callable[..., str], produce: Callable[..., Any], tmp_path: Path) -> Run:
    """Runs a plugin that sends an output for each record, with what the record's value tells, to the end of a topic."""
    (tmp_path / "placing.py").write_text(PLUGIN)

    def run(*sent: dict[str, Any], arguments: tuple[str, ...] = ()) -> Any:
        name = topic()
        produce(name, [f"key-{number}" for number in range(len(sent))], [json.dumps(each) for each in sent])
        servers = ("--bootstrap-servers", broker.bootstrap_servers)
        return framework(
            "run", "--plugin", "placing.py", "--topic", name, *servers, "--stop-at-end", *arguments, cwd=tmp_path
        )

    return run


def test_outputs_go_to_their_partition_with_their_timestamp(run, topic, read_topic):
    outputs = topic()
    now = round(time.time() * 1000)  # the topic's retention deletes records that are old
    places = [(partition, timestamp) for partition in range(4) for timestamp in (now - 60_000, now - 7)]
    sent = [{"topic": outputs, "value": "v", "partition": at, "timestamp": timestamp} for at, timestamp in places]
    done = run(*sent)
    assert done.returncode == 0, done.stderr
    assert sorted((record.partition, record.timestamp) for record in read_topic(outputs)) == places


def test_a_partition_that_the_topic_does_not_have_is_told_with_the_count(run, topic, tmp_path):
    outputs = topic()
    failed = run({"topic": outputs, "value": "v", "partition": 4})
    assert failed.returncode == 1, failed.stderr
    assert f"an output to topic {outputs} was not taken: it is for partition 4" in failed.stderr
    assert "has 4 partitions, 0 to 3" in failed.stderr
    assert exported(tmp_path, "placing") == {}


def test_a_bad_partition_or_timestamp_is_the_failure_of_its_record(run, topic, read_topic, tmp_path):
    outputs = topic()
    bad: list[dict[str, Any]] = [
        {"partition": -1},
        {"partition": "0"},
        {"timestamp": 1.5},
        {"timestamp": -1},
        {"timestamp": 2**63},
    ]
    sent = [{"topic": outputs, "value": "v", **each} for each in (*bad, {"partition": 2})]
    done = run(*sent, arguments=("--on-error", "skip"))
    assert done.returncode == 0, done.stderr
    assert [record.partition for record in read_topic(outputs)] == [2]
    assert [key for _, key in exported(tmp_path, "placing")] == ["key-5"]


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_told_within_the_connect_timeout(run, tmp_path):
    outputs = "no-topic-for-outputs"
    failed = run({"topic": outputs, "value": "v"}, arguments=("--connect-timeout", "2s"))
    assert failed.returncode == 1, failed.stderr
    assert f"an output to topic {outputs} was not taken: the broker has not told of such a topic" in failed.stderr
    assert "within 2 s (--connect-timeout); create the topic" in failed.stderr
    assert exported(tmp_path, "placing") == {}


def test_outputs_are_written_in_the_formats_that_are_chosen(run, topic, read_topic, tmp_path):
    outputs, others = topic(), topic()
    sent: list[dict[str, Any]] = [
        {"topic": outputs, "value": 5, "partition": 0},
        {"topic": outputs, "value": "text", "partition": 0},
        {"topic": outputs, "value": 7, "value_format": "int32", "partition": 0},
        {"topic": others, "value": {"a": 1, "b": "x"}},
        {"topic": others, "value": [1], "value_format": "avro"},
        {"topic": others, "value": "v"},
    ]
    chosen = ("--output-format", f"{outputs}=int64", "--output-format", f"{others}=csv")
    options = ("--output-format-option", f"{others}.columns=a,b")
    done = run(*sent, arguments=(*chosen, *options, "--on-error", "skip"))
    assert done.returncode == 0, done.stderr
    written = {record.value for record in read_topic(outputs)}  # the order is that of each source partition
    assert written == {(5).to_bytes(8, "big"), (7).to_bytes(4, "big")}
    assert [record.value for record in read_topic(others)] == [b"1,x"]
    assert sorted(key for _, key in exported(tmp_path, "placing")) == ["key-0", "key-2", "key-3"]
    assert "cannot send 'text' as int64" in done.stderr


def test_an_option_for_a_topic_without_a_format_is_refused(run):
    done = run({"topic": "t", "value": "v"}, arguments=("--output-format-option", "other.columns=a"))
    assert done.returncode == 2
    assert "--output-format-option other.columns: no --output-format names the topic" in done.stderr
