"""The main job on a broker, run as a user runs it: every count is right, whatever ends the worker."""

import itertools
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from confluent_kafka import Consumer

from framework.testing.brokers import Broker
from tests.end_to_end.worker import Worker, counts, exported, framework, listed, stored_positions, truth

KEYS = [f"key-{number % 97}" for number in range(3000)]


@pytest.fixture
def on_broker(broker: Broker) -> list[str]:
    return ["--bootstrap-servers", broker.bootstrap_servers]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("store", ["sqlite", "file", "memory"])
def test_counts_to_the_end(store, codec, on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, [*KEYS, None, "", "null"])
    args = ["run", "--plugin", "keycount", "--topic", name, "--store", store, "--codec", codec, *on_broker]
    done = framework(*args, "--stop-at-end", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_topic(name)
    assert len(records) == 3003
    if store == "memory":
        assert counts(map(json.loads, done.stdout.splitlines())) == truth(records)
        return
    assert done.stdout == ""
    assert exported(tmp_path, "keycount", "--store", store) == truth(records)
    units = listed(tmp_path, "--store", store)
    ends = {record.partition: record.offset for record in records}
    assert stored_positions(units) == {**dict.fromkeys(range(4), -1), **ends}
    assert {unit["codec"] for unit in units} == {codec}


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_goes_on_where_it_stopped(store, on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    args = ["run", "--plugin", "keycount", "--topic", name, "--store", store, "--stop-at-end", *on_broker]
    for round_ in range(3):
        produce(name, KEYS)
        done = framework(*args, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert exported(tmp_path, "keycount", "--store", store) == truth(read_topic(name))
        assert {unit["epoch"] for unit in listed(tmp_path, "--store", store)} == {round_ + 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_a_last_checkpoint(number, on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    (tmp_path / "tells.py").write_text(TELLING_PLUGIN)
    args = ["--plugin", "keycount", "--plugin", "tells.py", "--topic", name, "--checkpoint-interval", "1h", *on_broker]
    with _Traffic(produce, name), Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for("applied record 500")
        worker.signal(number)
        assert worker.wait() == 0
    assert sum(exported(tmp_path, "keycount").values()) > 0
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount") == truth(read_topic(name))


TELLING_PLUGIN = """
import logging

from framework import Processor


class Tells(Processor):
    api_version = 1
    applied = 0

    def process(self, record, state, out):
        Tells.applied += 1
        if Tells.applied % 500 == 0:
            logging.getLogger("framework").info("applied record %d", Tells.applied)
"""


@pytest.mark.kafka
def test_sigkill_in_the_middle_changes_no_count(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    args = ["--plugin", "keycount", "--topic", name, "--checkpoint-interval", "50ms", *on_broker]
    args += ["--kafka", "session_timeout_ms=6000"]  # what a killed worker keeps the next one waiting
    with _Traffic(produce, name) as traffic:
        for _ in range(3):
            with Worker(*args, cwd=tmp_path) as worker:
                worker.wait_for("assigned: ")
                traffic.wait_for_more()
                worker.kill()
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount") == truth(read_topic(name))


@pytest.mark.slow
def test_a_worker_that_joins_after_a_kill_says_what_it_waits_for(on_broker, topic, tmp_path):
    args = ["--plugin", "keycount", "--topic", topic(), "--kafka", "session_timeout_ms=9000", *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        worker.kill()
    with Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for("s so far; a member that has died keeps its place for up to 9 s")
        worker.wait_for("assigned: ")


@pytest.mark.kafka
@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_a_second_worker_joins_and_leaves_while_records_flow(store, on_broker, topic, produce, read_topic, tmp_path):
    """As in the seed's printed example."""
    name = topic()
    args = ["--plugin", "keycount", "--topic", name, "--store", store, "--checkpoint-interval", "100ms", *on_broker]
    with _Traffic(produce, name) as traffic, Worker(*args, cwd=tmp_path) as first:
        first.wait_for(f"assigned: {name}-0, {name}-1, {name}-2, {name}-3")
        traffic.wait_for_more()
        with Worker(*args, cwd=tmp_path) as second:
            mine, theirs = _partitions(first.wait_for("assigned: ")), _partitions(second.wait_for("assigned: "))
            assert sorted(mine + theirs) == [f"{name}-{number}" for number in range(4)]
            assert len(mine) == len(theirs) == 2
            traffic.wait_for_more()
            assert second.terminate() == 0
        first.wait_for(f"assigned: {name}-0, {name}-1, {name}-2, {name}-3")
        traffic.wait_for_more()
        traffic.stop()
        assert first.terminate() == 0
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount", "--store", store) == truth(read_topic(name))


def _partitions(line: str) -> list[str]:
    return line.partition("assigned: ")[2].split(", ")


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_the_end_is_that_of_all_partitions(broker, on_broker, topic, produce, read_topic, tmp_path):
    """A crashed worker may still hold partitions in the group: the others' end is not the end."""
    name = topic()
    produce(name, KEYS)
    args = ["--plugin", "keycount", "--topic", name, "--group", name, "--stop-at-end", *on_broker]
    with _silent_member(broker.bootstrap_servers, name) as stop, Worker(*args, cwd=tmp_path) as worker:
        assert len(_partitions(worker.wait_for("assigned: "))) == 2
        worker.wait_for("waiting for those of other workers")
        assert sum(exported(tmp_path, "keycount", "--group", name).values()) < len(KEYS)
        stop()
        assert worker.wait() == 0, worker.messages
    assert exported(tmp_path, "keycount", "--group", name) == truth(read_topic(name))


@contextmanager
def _silent_member(servers: str, topic: str) -> Iterator[Callable[[], None]]:
    """A member of the group of that name that takes its share of partitions and does nothing, until it is stopped."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": topic,
            "partition.assignment.strategy": "roundrobin",
            "enable.auto.commit": False,
        }
    )
    joined, stopping = threading.Event(), threading.Event()

    def poll() -> None:
        consumer.subscribe([topic], on_assign=lambda *_: joined.set())
        while not stopping.is_set():
            consumer.poll(0.1)
        consumer.close()

    thread = threading.Thread(target=poll)

    def stop() -> None:
        stopping.set()
        thread.join()

    thread.start()
    try:
        assert joined.wait(60)
        yield stop
    finally:
        stop()


@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.parametrize("store", ["sqlite", "file", "memory"])
def test_workers_that_stop_at_the_end_wait_for_each_other(store, on_broker, topic, produce, read_topic, tmp_path):
    """Also one that has nothing to do."""
    name = topic(2)
    (tmp_path / "tells.py").write_text(TELLING_PLUGIN)
    args = ["--plugin", "keycount", "--plugin", "tells.py", "--store", store, "--topic", name, "--stop-at-end"]
    args += ["--checkpoint-interval", "1h", *on_broker]
    produce(name, KEYS)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(*args, cwd=tmp_path)) for _ in range(3)]
        assert [worker.wait() for worker in workers] == [0, 0, 0], [worker.messages for worker in workers]
    if store != "memory":
        assert exported(tmp_path, "keycount", "--store", store) == truth(read_topic(name))


TAKEN_STORE = """
import pathlib
import time

from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class TakenStore(SqliteStore):
    name = "taken"

    def save(self, checkpoints):
        once = pathlib.Path("taken")
        if not once.exists() and checkpoints[0].own_progress.last_offset >= 0:
            once.touch()
            self.claim([checkpoints[0].unit], lambda unit, stored: None)
            time.sleep(1)  # the end comes meanwhile
        return super().save(checkpoints)


@hookimpl
def framework_stores():
    return [TakenStore]
"""


@pytest.mark.kafka
@pytest.mark.parametrize("interval", ["1ms", "1h"])
def test_the_end_is_what_is_stored(interval, on_broker, topic, produce, read_topic, tmp_path):
    """A worker whose last checkpoint is refused, since the partition has another owner, has not come to the end."""
    name = topic()
    (tmp_path / "taken.py").write_text(TAKEN_STORE)
    produce(name, KEYS)
    args = [
        "run",
        "--plugin",
        "keycount",
        "--plugin",
        "taken.py",
        "--store",
        "taken:state",
        "--topic",
        name,
        "--stop-at-end",
    ]
    args += ["--checkpoint-interval", interval, "--kafka", "session_timeout_ms=6000", *on_broker]
    fenced = framework(*args, cwd=tmp_path)
    assert "has claimed it" in fenced.stderr
    assert fenced.returncode == 3, fenced.stderr
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount", "--store", "sqlite") == truth(read_topic(name))


@pytest.mark.kafka
def test_a_rebalance_during_restore(on_broker, topic, produce, read_topic, tmp_path):
    """The first worker still loads when the second one joins: it must answer, and neither loses anything."""
    name = topic()
    (tmp_path / "slow.py").write_text(SLOW_STORE)
    args = ["--plugin", "keycount", "--plugin", "slow.py", "--store", "slow:state", "--topic", name, *on_broker]
    for _ in range(4):
        produce(name, KEYS)
        done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    produce(name, KEYS)
    with Worker(*args, cwd=tmp_path) as first:
        assert len(_partitions(first.wait_for("assigned: "))) == 4
        first.wait_for("loading slowly")
        with Worker(*args, cwd=tmp_path) as second:
            assert len(_partitions(first.wait_for("assigned: "))) == 2
            second.wait_for("assigned: ")
            assert second.terminate() == 0
        assert first.terminate() == 0
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    state = exported(tmp_path, "keycount", "--store", "sqlite")
    assert state == truth(read_topic(name))


SLOW_STORE = """
import logging
import time

from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class SlowStore(SqliteStore):
    name = "slow"

    def load(self, unit, epoch=None):
        for row in super().load(unit, epoch):
            logging.getLogger("framework").info("loading slowly")
            time.sleep(0.2)
            yield row


@hookimpl
def framework_stores():
    return [SlowStore]
"""


def test_several_plugins_one_added_later(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, KEYS, ['{"amount": 0.1}'] * len(KEYS))
    first = ["run", "--plugin", "keycount", "--topic", name, "--group", "both", "--stop-at-end", *on_broker]
    assert framework(*first, cwd=tmp_path).returncode == 0
    produce(name, KEYS, ['{"amount": 0.2}'] * len(KEYS))
    done = framework(*first, "--plugin", "sumbykey", "--option", "field=amount", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = truth(read_topic(name))
    assert exported(tmp_path, "keycount", "--group", "both") == expected
    sums = exported(tmp_path, "sumbykey", "--group", "both")
    once = Counter(KEYS)
    assert {key: value["$decimal"] for (_, key), value in sums.items()} == {
        key: f"{once[key] * 3 / 10:.1f}" for key in once
    }
    assert stored_positions(unit for unit in listed(tmp_path) if unit["plugin"] == "keycount") == stored_positions(
        unit for unit in listed(tmp_path) if unit["plugin"] == "sumbykey"
    )


@pytest.mark.kafka
@pytest.mark.parametrize("isolation_level", ["read_committed", "read_uncommitted"])
def test_transactions_leave_gaps_in_the_offsets(isolation_level, on_broker, topic, produce, read_topic, tmp_path):
    name = topic(2)
    for ending in ("commit", "abort", None, "abort", "commit", "abort"):
        produce(name, KEYS[:200], transaction=ending)
    args = ["run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker]
    done = framework(*args, "--isolation-level", isolation_level, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_topic(name, committed=isolation_level == "read_committed")
    assert len(records) == (600 if isolation_level == "read_committed" else 1200)
    assert exported(tmp_path, "keycount") == truth(records)


@pytest.mark.kafka
def test_a_compacted_topic_has_gaps_in_the_offsets(on_broker, topic, produce, read_topic, tmp_path):
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    name = topic(1, config)
    produce(name, ["once"])
    for _ in range(3):
        produce(name, KEYS[:300])
    _wait_until_compacted(lambda: produce(name, ["another"]), lambda: read_topic(name))
    done = framework("run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_topic(name)
    offsets = [record.offset for record in records]
    assert any(after - before > 1 for before, after in itertools.pairwise(offsets))
    assert exported(tmp_path, "keycount") == truth(records)


def _wait_until_compacted(roll, read) -> None:
    """Each record into a rolled segment lets the cleaner go on."""
    for _ in range(100):
        roll()
        records = read()
        if len({record.key for record in records}) < len(records) < 900:
            return
    raise AssertionError("the broker's cleaner did not run")


@pytest.mark.kafka
def test_an_open_transaction_is_the_end(on_broker, topic, produce, read_topic, tmp_path):
    """The end under read_committed is the last stable offset."""
    name = topic(1)
    produce(name, KEYS[:100], transaction="commit")
    done = framework("run", "--plugin", "keycount", "--topic", name, "--stop-at-end", *on_broker, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(exported(tmp_path, "keycount").values()) == 100


def test_async_processors_keep_the_order(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, KEYS[:500], [str(number) for number in range(500)])
    (tmp_path / "last.py").write_text(ASYNC_PLUGIN)
    args = ["run", "--plugin", "last.py", "--topic", name, "--stop-at-end", *on_broker]
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen: dict[tuple[int, str], list[str]] = {}
    for record in read_topic(name):
        seen.setdefault((record.partition, record.key.decode()), []).append(record.value.decode())
    assert exported(tmp_path, "last") == seen


ASYNC_PLUGIN = """
import asyncio

from framework import Processor


class Last(Processor):
    api_version = 1
    value_format = "utf8"

    async def process(self, record, state, out):
        await asyncio.sleep(0.001 if record.offset % 7 == 0 else 0)
        state.setdefault(record.key, []).append(record.value)
"""


@pytest.mark.kafka
def test_outputs_carry_their_source(on_broker, topic, produce, read_topic, tmp_path):
    source, target = topic(2), topic(3)
    produce(source, KEYS[:200])
    (tmp_path / "double.py").write_text(OUTPUT_PLUGIN.replace("TARGET", target))
    done = framework("run", "--plugin", "double.py", "--topic", source, "--stop-at-end", *on_broker, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = {}
    for record in read_topic(target):
        headers = {name: value.decode() for name, value in record.headers}
        place = tuple(int(headers[f"framework-source-{part}"]) for part in ("partition", "offset", "index"))
        assert (headers["framework-plugin"], headers["framework-source-topic"]) == ("double", source)
        outputs[place] = (record.key, record.value)
    expected = {
        (record.partition, record.offset, index): (record.key, b"%d" % index)
        for record in read_topic(source)
        for index in range(2)
    }
    assert outputs == expected


OUTPUT_PLUGIN = """
from framework import Processor


class Double(Processor):
    api_version = 1

    def process(self, record, state, out):
        out.send("TARGET", 0, key=record.key)
        out.send("TARGET", 1, key=record.key)
"""


@pytest.mark.kafka
@pytest.mark.parametrize("start", ["latest", "timestamp"])
def test_start_is_kept_through_a_restart(start, on_broker, topic, produce, read_topic, tmp_path):
    name = topic(1)
    produce(name, ["old"] * 10)
    since = read_topic(name)[-1].timestamp + 1
    args = ["--plugin", "keycount", "--topic", name, "--start", "latest" if start == "latest" else since, *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        while not (units := listed(tmp_path)) or units[0]["saved_at"] is None:
            pass
        worker.kill()
    produce(name, ["new"] * 5)
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount") == {(0, "new"): 5}


class _Traffic:
    """Records that keep coming, from a thread."""

    def __init__(self, produce, name: str) -> None:
        self._produce, self._name = produce, name
        self._sent = 0
        self._more = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _send(self) -> None:
        while not self._stopping.is_set():
            self._produce(self._name, KEYS[:200])
            with self._more:
                self._sent += 200
                self._more.notify_all()

    def wait_for_more(self) -> None:
        with self._more:
            wanted = self._sent + 1000
            assert self._more.wait_for(lambda: self._sent >= wanted, timeout=60)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
