"""A claim that is under way when the partition is taken away must not come after that of the next owner."""

import time

import pytest

from tests.end_to_end.worker import Worker, exported, truth

pytestmark = pytest.mark.kafka

_LATE_STORE = """
import logging
import pathlib
import time

from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class LateStore(SqliteStore):
    name = "late"

    def claim(self, units, accept):
        once = pathlib.Path("claimed")
        if not once.exists():
            once.touch()
            logging.getLogger("framework").info("claiming slowly")
            time.sleep(4)
        return super().claim(units, accept)


@hookimpl
def framework_stores():
    return [LateStore]
"""


def test_a_claim_that_is_under_way_when_its_partition_goes(broker, topic, produce, read_topic, tmp_path):
    name = topic()
    (tmp_path / "late.py").write_text(_LATE_STORE)
    args = ["--plugin", "keycount", "--plugin", "late.py", "--store", "late:state", "--topic", name]
    args += ["--bootstrap-servers", broker.bootstrap_servers, "--checkpoint-interval", "100ms"]
    # The group deals partitions out in the order of these names: partition 0 moves to the second worker.
    with Worker(*args, "--kafka", "client_id=b", cwd=tmp_path) as first:
        first.wait_for("claiming slowly")
        with Worker(*args, "--kafka", "client_id=a", cwd=tmp_path) as second:
            assert f"{name}-0" in second.wait_for("assigned: ")
            produce(name, [f"key-{number}" for number in range(1000)])
            expected = truth(read_topic(name))
            deadline = time.monotonic() + 30
            while exported(tmp_path, "keycount", "--store", "sqlite") != expected:
                assert time.monotonic() < deadline
            time.sleep(5)  # the first one's claim has come meanwhile
            produce(name, [f"key-{number}" for number in range(1000)])
            expected = truth(read_topic(name))
            while exported(tmp_path, "keycount", "--store", "sqlite") != expected:
                assert time.monotonic() < deadline
            assert not [message for message in first.messages + second.messages if "has claimed it" in message]
            assert second.terminate() == 0
        assert first.terminate() == 0
