"""What stands still while it should go on is reported, or ends the process: a worker that is ill never looks well."""

import os
import signal
import time

import pytest
from confluent_kafka.admin import AdminClient

from framework.testing.brokers.traffic import create_topic
from framework.testing.brokers.traffic import produce as produce_records
from tests.end_to_end.worker import Worker, exported, framework, truth

pytestmark = pytest.mark.kafka

TIMEOUT = 3
KEYS = [f"key-{number % 7}" for number in range(100)]

BLOCKS = """
import time

from framework import Processor


class Blocks(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = 1
        while record.offset == 50:
            time.sleep(0.1)
"""

KEEPS_THE_GIL = """
import re

from framework import Processor


class Keeps(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = 1
        if record.offset == 50:
            re.match("(a+)+$", "a" * 60 + "b")
"""

NEVER_RETURNS = """
import asyncio

from framework import Processor


class Never(Processor):
    api_version = 1

    async def process(self, record, state, out):
        state[record.key] = 1
        if record.offset == 50:
            await asyncio.Event().wait()
"""

HANGS = """
import threading

from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class HangingStore(SqliteStore):
    name = "hanging"

    def save(self, checkpoints):
        if checkpoints[0].own_progress.last_offset >= 0:
            threading.Event().wait()
        return super().save(checkpoints)


@hookimpl
def framework_stores():
    return [HangingStore]
"""


@pytest.fixture
def on_broker(broker) -> list[str]:
    return ["--bootstrap-servers", broker.bootstrap_servers, "--stall-timeout", f"{TIMEOUT}s"]


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
def test_a_process_that_blocks_the_loop(on_stall, on_broker, topic, produce, tmp_path):
    name = topic()
    (tmp_path / "blocks.py").write_text(BLOCKS)
    produce(name, KEYS, partitions=0)
    args = ["--plugin", "blocks.py", "--topic", name, "--group", name, "--on-stall", on_stall, *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        message = worker.wait_for(f"the event loop has been blocked for {TIMEOUT} s")
        assert f"plugin blocks is applying {name}-0" in message
        worker.wait_for("blocks.py")
        worker.wait_for("time.sleep(0.1)")
        if on_stall == "stop":
            worker.wait_for("ending the process without a last checkpoint")
            assert worker.wait() == 1


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
def test_a_process_that_keeps_the_interpreter_to_itself(on_stall, on_broker, topic, produce, tmp_path):
    name = topic()
    (tmp_path / "keeps.py").write_text(KEEPS_THE_GIL)
    produce(name, KEYS, partitions=0)
    args = ["--plugin", "keeps.py", "--topic", name, "--group", name, "--on-stall", on_stall, *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for(f"Timeout (0:00:0{2 * TIMEOUT})!")
        worker.wait_for("keeps.py")
        if on_stall == "stop":
            assert worker.wait() == 1


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
def test_an_async_process_that_never_returns(on_stall, on_broker, topic, produce, tmp_path):
    name = topic()
    (tmp_path / "never.py").write_text(NEVER_RETURNS)
    produce(name, KEYS, partitions=0)
    args = ["--plugin", "never.py", "--topic", name, "--group", name, "--on-stall", on_stall, *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        message = worker.wait_for(f"no progress for {TIMEOUT} s")
        assert f"never on {name}-0 (group {name}): running at offset " in message
        assert f"plugin never is applying {name}-0" in message
        if on_stall == "stop":
            worker.wait_for("the run does not end: ending the process without a last checkpoint")
            assert worker.wait() == 1


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
@pytest.mark.parametrize("when", ["as it goes", "at the end"])
def test_a_store_that_never_answers(when, on_stall, on_broker, topic, produce, tmp_path):
    name = topic()
    (tmp_path / "hangs.py").write_text(HANGS)
    produce(name, KEYS, partitions=0)
    args = [
        "--plugin",
        "keycount",
        "--plugin",
        "hangs.py",
        "--store",
        "hanging:state",
        "--topic",
        name,
        "--group",
        name,
    ]
    args += ["--stop-at-end"] if when == "at the end" else ["--checkpoint-interval", "100ms"]
    with Worker(*args, "--on-stall", on_stall, *on_broker, cwd=tmp_path) as worker:
        message = worker.wait_for(f"no progress for {TIMEOUT} s")
        assert "a checkpoint waits for the store, or for acknowledgements of outputs" in message
        if on_stall == "stop":
            worker.wait_for("the run does not end: ending the process without a last checkpoint")
            assert worker.wait() == 1


@pytest.mark.parametrize("on_stall", ["warn", "stop"])
def test_a_broker_that_falls_silent(on_stall, kafka_jars, tmp_path):
    kafka = kafka_jars()
    name = create_topic(kafka.bootstrap_servers, 2)
    args = ["--plugin", "keycount", "--topic", name, "--bootstrap-servers", kafka.bootstrap_servers]
    stalls = ["--stall-timeout", f"{TIMEOUT}s", "--on-stall", on_stall]
    with Worker(*args, *stalls, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        produce_records(kafka.bootstrap_servers, name, KEYS)
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            message = worker.wait_for(f"no progress for {TIMEOUT} s")
            assert f"keycount on {name}-0" in message
            if on_stall == "stop":
                assert worker.wait() == 1
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        if on_stall == "warn":
            worker.wait_for("progress again after ")
            assert worker.terminate() == 0
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(exported(tmp_path, "keycount").values()) == 100


def test_a_topic_that_is_deleted_for_good(on_broker, broker, topic, produce, tmp_path):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    name = topic()
    args = ["--plugin", "keycount", "--topic", name, "--group", name, "--on-stall", "stop", *on_broker]
    with Worker(*args, "--kafka", "metadata_max_age_ms=500", cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        admin.delete_topics([name])[name].result(60)
        worker.wait_for(f"the broker has no topic {name}")
        assert worker.wait() == 1


def test_a_worker_that_has_nothing_to_do_is_well(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, KEYS)
    args = ["--plugin", "keycount", "--topic", name, "--group", name, "--on-stall", "stop", *on_broker]
    with Worker(*args, cwd=tmp_path) as worker:
        worker.wait_for("assigned: ")
        time.sleep(2 * TIMEOUT)  # there is no event to wait for: nothing may happen
        assert worker.terminate() == 0
    assert not any("no progress" in message or "blocked" in message for message in worker.messages)
    assert exported(tmp_path, "keycount", "--group", name) == truth(read_topic(name))


def test_a_timeout_that_is_too_short_is_refused(on_broker, topic, tmp_path):
    done = framework("run", "--plugin", "keycount", "--topic", topic(), *on_broker[:3], "1s", cwd=tmp_path)
    assert done.returncode == 2
    assert "give --stall-timeout 2s or more" in done.stderr
