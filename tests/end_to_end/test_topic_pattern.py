"""`--topic-pattern`: the topics that match, and those that are created later."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from framework.testing.brokers import Broker
from framework.testing.brokers.traffic import create_topic, delete_topic
from tests.end_to_end.worker import Worker, framework, listed

pytestmark = pytest.mark.kafka

Produce = Callable[..., list[tuple[int, int]]]


@pytest.fixture
def prefix() -> str:
    return f"pattern-{uuid.uuid4().hex}"


def run_arguments(broker: Broker, pattern: str, *others: object) -> Sequence[object]:
    servers = broker.bootstrap_servers
    return ["--plugin", "keycount", "--bootstrap-servers", servers, "--topic-pattern", pattern, *others]


def positions(directory: Path) -> dict[str, int]:
    """The last stored offset of each topic of one partition."""
    return {unit["topic"]: unit["last_offset"] for unit in listed(directory)}


def test_all_topics_whose_whole_name_matches_are_read(broker: Broker, prefix: str, produce: Produce, tmp_path: Path):
    for name in ("a", "b", "b-more"):
        produce(create_topic(broker.bootstrap_servers, 1, name=f"{prefix}-{name}"), ["k"] * 3, ["v"] * 3)

    done = framework("run", *run_arguments(broker, f"{prefix}-[ab]", "--stop-at-end"), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert positions(tmp_path) == {f"{prefix}-a": 2, f"{prefix}-b": 2}


def test_a_topic_that_is_created_later_is_picked_up(broker: Broker, prefix: str, produce: Produce, tmp_path: Path):
    first = create_topic(broker.bootstrap_servers, 1, name=f"{prefix}-1")
    produce(first, ["k"] * 3, ["v"] * 3)
    arguments = run_arguments(broker, f"{prefix}-.*", "--kafka", "metadata_max_age_ms=500")
    with Worker(*arguments, cwd=tmp_path) as worker:
        worker.wait_for(f"assigned: {first}-0")
        second = create_topic(broker.bootstrap_servers, 1, name=f"{prefix}-2")
        worker.wait_for(f"assigned: {first}-0, {second}-0")
        for topic in (first, second):
            produce(topic, ["k"] * 2, ["v"] * 2)
        stopping = framework("run", *arguments, "--stop-at-end", cwd=tmp_path)
        assert stopping.returncode == 0, stopping.stderr
        assert worker.terminate() == 0, worker.messages
    assert positions(tmp_path) == {first: 4, second: 1}


def test_a_run_waits_for_the_first_topic_that_matches(broker: Broker, prefix: str, tmp_path: Path):
    arguments = run_arguments(broker, f"{prefix}-.*", "--kafka", "metadata_max_age_ms=500")
    with Worker(*arguments, cwd=tmp_path) as worker:
        worker.wait_for(f"no topic matches '{prefix}-.*' yet; waiting for one")
        worker.wait_for("assigned: nothing")
        topic = create_topic(broker.bootstrap_servers, 1, name=f"{prefix}-1")
        worker.wait_for(f"assigned: {topic}-0")
        assert worker.terminate() == 0, worker.messages


def test_a_run_to_the_end_needs_a_topic_that_matches(broker: Broker, prefix: str, tmp_path: Path):
    done = framework("run", *run_arguments(broker, f"{prefix}-.*", "--stop-at-end"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"no topic matches '{prefix}-.*'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topic-pattern", "a|b", "--topic", "c"], "give --topic or --topic-pattern, not both"),
        (["--topic-pattern", "a("], "'a(' is not a regular expression"),
        (["--topic-pattern", "a{99999999999}"], "is not a regular expression: the repetition number is too large"),
        (["--topic-pattern", "(?i)a"], "write flags as in '(?i:orders)'"),
        (
            ["--topic-pattern", "a.*", "--on-error", "dead-letter", "--dead-letter-topic", "a-letters"],
            "dead letters cannot go to a-letters",
        ),
    ],
    ids=["beside --topic", "no expression", "too many repetitions", "global flags", "that matches the dead letters"],
)
def test_a_pattern_that_cannot_be_used_is_refused_at_once(arguments, message, tmp_path):
    servers = ["--bootstrap-servers", "localhost:1"]
    done = framework("run", "--plugin", "keycount", *servers, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


def test_a_pattern_needs_a_kafka(tmp_path):
    done = framework("run", "--plugin", "keycount", "--topic-pattern", "a.*", cwd=tmp_path)
    assert done.returncode == 2
    assert "no broker is named to read 'a.*' from" in done.stderr
    done = framework("run", "--plugin", "keycount", "--topic-pattern", "a.*", "--embedded", cwd=tmp_path)
    assert done.returncode == 2
    assert "--topic-pattern needs a Kafka cluster" in done.stderr


def test_a_topic_that_is_deleted_leaves_its_state_and_the_others_go_on(
    broker: Broker, prefix: str, produce: Produce, tmp_path: Path
):
    first, second = (create_topic(broker.bootstrap_servers, 1, name=f"{prefix}-{number}") for number in (1, 2))
    for topic in (first, second):
        produce(topic, ["k"] * 3, ["v"] * 3)
    arguments = run_arguments(broker, f"{prefix}-.*", "--kafka", "metadata_max_age_ms=500")
    with Worker(*arguments, cwd=tmp_path) as worker:
        worker.wait_for(f"assigned: {first}-0, {second}-0")
        stopping = framework("run", *arguments, "--stop-at-end", cwd=tmp_path)
        assert stopping.returncode == 0, stopping.stderr
        delete_topic(broker.bootstrap_servers, first)
        assert worker.wait_for(f"assigned: {second}-0").endswith(f"assigned: {second}-0")
        produce(second, ["k"] * 2, ["v"] * 2)
        stopping = framework("run", *arguments, "--stop-at-end", cwd=tmp_path)
        assert stopping.returncode == 0, stopping.stderr
        assert worker.terminate() == 0, worker.messages
    assert positions(tmp_path) == {first: 2, second: 4}
