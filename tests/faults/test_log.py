"""The log changes under stored state: it loses records, the topic is re-created, partitions are added."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from framework.testing.brokers import Broker
from framework.testing.brokers.traffic import create_topic, wait_for_leaders
from tests.end_to_end.worker import Worker, exported, framework, listed, truth

pytestmark = pytest.mark.kafka

_SECONDS = 60.0
OLD = [f"old-{number % 7}" for number in range(100)]
NEW = [f"new-{number % 5}" for number in range(100)]


@dataclass
class Rig:
    """A topic of one partition, and keycount over it."""

    servers: str
    topic: str
    directory: Path
    produce: Callable[..., Any]
    read_topic: Callable[..., Any]

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.servers})
        self.args = ["--plugin", "keycount", "--topic", self.topic, "--bootstrap-servers", self.servers]

    def run(self, policy: str = "stop") -> Any:
        """Run to the end."""
        args = [*self.args, "--on-out-of-range", policy, "--stop-at-end"]
        return framework("run", *args, cwd=self.directory)

    def worker(self, policy: str = "stop") -> Worker:
        fast = ["--kafka", "metadata_max_age_ms=500", "--checkpoint-interval", "50ms"]
        return Worker(*self.args, *fast, "--on-out-of-range", policy, cwd=self.directory)

    def send(self, keys: list[str]) -> None:
        self.produce(self.topic, keys, partitions=0)

    def delete_before(self, offset: int) -> None:
        partition = TopicPartition(self.topic, 0, offset)
        self.admin.delete_records([partition])[partition].result(_SECONDS)

    def delete_topic(self) -> None:
        self.admin.delete_topics([self.topic])[self.topic].result(_SECONDS)

    def create_topic(self) -> None:
        create_topic(self.servers, 1, name=self.topic)

    def add_partitions(self, count: int) -> None:
        self.admin.create_partitions([NewPartitions(self.topic, count)])[self.topic].result(_SECONDS)
        wait_for_leaders(self.admin, self.topic)

    @property
    def truth(self) -> dict[tuple[int, Any], int]:
        return truth(self.read_topic(self.topic))

    def state(self, group: str = "framework-keycount") -> dict[tuple[int, Any], int]:
        return exported(self.directory, "keycount", "--group", group)

    @property
    def units(self) -> list[dict[str, Any]]:
        return listed(self.directory)

    def groups(self) -> list[str]:
        return [unit["group"] for unit in self.units]


@pytest.fixture
def rig(broker: Broker, topic, produce, read_topic, tmp_path) -> Rig:
    """With 100 records applied and stored."""
    rig = Rig(broker.bootstrap_servers, topic(1), tmp_path, produce, read_topic)
    rig.send(OLD)
    done = rig.run()
    assert done.returncode == 0, done.stderr
    assert rig.state() == rig.truth
    return rig


def lose_records(rig: Rig) -> None:
    rig.send(NEW)
    rig.delete_before(130)


def recreate_shorter(rig: Rig) -> None:
    rig.delete_topic()
    rig.create_topic()
    rig.send(NEW[:50])


def recreate_longer(rig: Rig) -> None:
    rig.delete_topic()
    rig.create_topic()
    rig.send(NEW * 2)


def recreate_the_same(rig: Rig) -> None:
    """The same keys and values at the same offsets, only later."""
    rig.delete_topic()
    rig.create_topic()
    rig.send(OLD)


RECREATED = [recreate_shorter, recreate_longer, recreate_the_same]


@pytest.mark.parametrize("fault", [lose_records, *RECREATED])
def test_stop_names_what_is_there_and_the_choices(rig, fault):
    before = rig.state()
    fault(rig)

    done = rig.run("stop")

    assert done.returncode == 1
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"keycount on {rig.topic}-0" in error
    assert "ends with offset 99 and goes on at 100; the log holds offsets" in error
    assert ("up to 30 records are gone" in error) == (fault is lose_records)
    assert ("the topic was re-created" in error) == (fault is not lose_records)
    assert "--on-out-of-range" in error
    assert "--group" in error
    assert rig.state() == before
    assert rig.groups() == ["framework-keycount"]


@pytest.mark.parametrize("fault", [lose_records, *RECREATED])
def test_rebuild_starts_anew_and_keeps_the_old_state(rig, fault):
    before = rig.state()
    fault(rig)

    done = rig.run("rebuild")

    assert done.returncode == 0, done.stderr
    assert "set aside as group framework-keycount.aside-1" in done.stderr
    assert rig.state() == rig.truth
    assert rig.state("framework-keycount.aside-1") == before
    assert rig.groups() == ["framework-keycount", "framework-keycount.aside-1"]


def test_continue_leaves_out_what_is_gone_and_shows_it(rig):
    before = rig.state()
    lose_records(rig)

    done = rig.run("continue")

    assert done.returncode == 0, done.stderr
    assert "offsets 100 to 129 are gone from the log" in done.stderr
    assert rig.state() == before | rig.truth
    assert [unit["missing_offsets"] for unit in rig.units] == [30]
    again = rig.run("stop")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("fault", RECREATED)
def test_continue_refuses_another_log(rig, fault):
    before = rig.state()
    fault(rig)

    done = rig.run("continue")

    assert done.returncode == 1
    assert "the topic was re-created" in done.stderr
    assert rig.state() == before


def test_a_log_that_ends_where_the_state_does_is_in_range(rig):
    rig.delete_before(100)
    done = rig.run()
    assert done.returncode == 0, done.stderr
    rig.send(NEW)
    done = rig.run()
    assert done.returncode == 0, done.stderr
    assert sum(rig.state().values()) == 200


def test_transaction_markers_at_the_end_are_in_range(rig):
    for ending in ("commit", "abort"):
        rig.produce(rig.topic, NEW, partitions=0, transaction=ending)
    for _ in range(2):
        done = rig.run()
        assert done.returncode == 0, done.stderr
    assert rig.state() == rig.truth


def test_a_record_that_compaction_took_is_no_other_log(broker, topic, produce, read_topic, tmp_path):
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    rig = Rig(broker.bootstrap_servers, topic(1, config), tmp_path, produce, read_topic)
    rig.send(OLD)
    assert rig.run().returncode == 0
    before = rig.state()
    sent: list[str] = []
    while any(record.offset < 100 for record in read_topic(rig.topic)):
        assert len(sent) < 5000, "the broker's cleaner did not run"
        rig.send([*OLD, "another"])
        sent += [*OLD, "another"]
    done = rig.run("rebuild")
    assert done.returncode == 0, done.stderr
    assert rig.groups() == ["framework-keycount"]
    assert rig.state().keys() >= before.keys()


@pytest.mark.parametrize("policy", ["stop", "rebuild"])
def test_a_topic_re_created_while_it_runs(rig, policy):
    before = rig.state()
    with rig.worker(policy) as worker:
        worker.wait_for("assigned: ")
        rig.send(NEW[:1])
        _wait_until(lambda: rig.units[0]["last_offset"] == 100)
        recreate_shorter(rig)
        if policy == "stop":
            assert worker.wait() == 1
            assert any("the topic was re-created" in message for message in worker.messages)
            assert rig.groups() == ["framework-keycount"]
            return
        worker.wait_for("set aside as group framework-keycount.aside-1")
        _wait_until(lambda: rig.state() == rig.truth)
        assert worker.terminate() == 0
    assert sum(rig.state("framework-keycount.aside-1").values()) == sum(before.values()) + 1


@pytest.mark.parametrize("policy", ["stop", "rebuild", "continue"])
def test_records_lost_while_a_worker_is_held_up(rig, policy, tmp_path):
    """The log moves on past a running worker's position."""
    (tmp_path / "held.py").write_text(HELD)
    args = ["--plugin", "held.py", *rig.args[2:], "--group", "held", "--on-out-of-range", policy]
    fetches = ["--kafka", "max_partition_fetch_bytes=1000", "--checkpoint-interval", "50ms"]
    with Worker(*args, *fetches, cwd=tmp_path) as worker:
        worker.wait_for("holding")
        rig.send(NEW * 20)
        rig.delete_before(2000)
        (tmp_path / "go").touch()
        if policy == "stop":
            assert worker.wait() == 1
            assert any("records are gone (retention)" in message for message in worker.messages)
            return
        worker.wait_for("offset 2000" if policy == "rebuild" else "to 1999 are gone from the log")
        rig.send(["last"])
        _wait_until(lambda: _held(rig)["last_offset"] == 2100)
        assert worker.terminate() == 0
    unit = _held(rig)
    state = exported(tmp_path, "held", "--group", "held")[0, "offsets"]
    assert state[-101:] == list(range(2000, 2101))
    if policy == "continue":
        assert len(state) + unit["missing_offsets"] == 2101
    else:
        assert len(state) == 101
        assert exported(tmp_path, "held", "--group", "held.aside-1")[0, "offsets"][:1] == [0]


def _held(rig: Rig) -> dict[str, Any]:
    [unit] = listed(rig.directory, "--group", "held")
    return unit


HELD = """
import logging
import time
from pathlib import Path

from framework import Processor


class Held(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.offset == 0:
            logging.getLogger("framework").info("holding")
            while not Path("go").exists():
                time.sleep(0.01)
        state.setdefault("offsets", []).append(record.offset)
"""


@pytest.mark.parametrize("policy", ["stop", "rebuild"])
def test_added_partitions_are_refused_with_the_way_out(rig, policy):
    before = rig.state()
    rig.add_partitions(3)

    done = rig.run(policy)

    assert done.returncode == 3
    assert "was built over 1 partitions, the topic has 3 now" in done.stderr
    assert "start a new --group" in done.stderr
    assert rig.state() == before
    done = framework("run", *rig.args, "--group", "new", "--stop-at-end", cwd=rig.directory)
    assert done.returncode == 0, done.stderr
    assert rig.state("new") == rig.truth


def test_partitions_added_while_it_runs_end_it(rig):
    before = rig.state()
    with rig.worker() as worker:
        worker.wait_for("assigned: ")
        rig.add_partitions(3)
        assert worker.wait() == 3
    assert any("the topic has 3 now" in message for message in worker.messages)
    assert rig.state() == before


def _wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
    raise AssertionError("it did not come to that")
