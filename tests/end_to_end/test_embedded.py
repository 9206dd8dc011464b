"""Workers that share an embedded broker."""

import time
from collections.abc import Iterator

import pytest

from framework.embedded.broker import EmbeddedBroker
from framework.testing.brokers.traffic import make_topic_by_asking, produce, read_topic
from tests.end_to_end.worker import Worker, exported, framework, truth


@pytest.fixture
def servers() -> Iterator[str]:
    with EmbeddedBroker() as broker:
        yield broker.bootstrap_servers


def test_when_one_of_two_workers_stops_the_other_goes_on_soon(servers, tmp_path):
    name = make_topic_by_asking(servers)
    produce(servers, name, ["a", "b", "c"] * 100)
    args = ["--plugin", "keycount", "--topic", name, "--bootstrap-servers", servers]
    everything = f"assigned: {name}-0, {name}-1, {name}-2, {name}-3"
    with Worker(*args, cwd=tmp_path) as first:
        first.wait_for(everything)
        with Worker(*args, cwd=tmp_path) as second:
            second.wait_for("assigned: ")
            assert second.terminate() == 0
            began = time.monotonic()
            first.wait_for(everything)
            assert time.monotonic() - began < 8, "with a session timeout of 10 s it would be at least 9"
        assert first.terminate() == 0
    assert framework("run", *args, "--stop-at-end", cwd=tmp_path).returncode == 0
    assert exported(tmp_path, "keycount") == truth(read_topic(servers, name, committed=False))


BLOCKING = """
import time

from framework import Processor


class Blocking(Processor):
    api_version = 1

    def process_batch(self, batch, state, out):
        time.sleep(3.5)
        for record in batch:
            state[record.key] = state.get(record.key, 0) + 1
"""


def test_a_plugin_that_takes_longer_than_the_session_lasts_comes_to_the_right_end(servers, tmp_path):
    name = make_topic_by_asking(servers)
    produce(servers, name, ["a", "b", "c"] * 100)
    (tmp_path / "blocking.py").write_text(BLOCKING)
    args = ["--plugin", "blocking.py", "--topic", name, "--bootstrap-servers", servers, "--stop-at-end"]
    done = framework("run", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "blocking") == truth(read_topic(servers, name, committed=False))
