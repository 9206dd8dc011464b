"""aiokafka's log messages, as they reach the user."""

import ast
import asyncio
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import aiokafka
import pytest
from aiokafka.errors import NotEnoughReplicasError

from framework.kafka import messages
from framework.kafka.messages import KafkaMessages
from tests.end_to_end.worker import Worker

coordinator = logging.getLogger("aiokafka.consumer.group_coordinator")


class Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.addFilter(KafkaMessages())

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.levelname.lower()} {record.getMessage()}")


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler = Handler()
    logging.getLogger("aiokafka").addHandler(handler)
    yield handler.said
    logging.getLogger("aiokafka").removeHandler(handler)


def test_every_message_that_is_known_here_is_one_of_aiokafka():
    """A new version of aiokafka may have other words: then these must be, too."""
    files = Path(aiokafka.__file__).parent.rglob("*.py")
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {*messages._INSTEAD, *messages._HARMLESS, messages._UNCLOSED} <= texts


def test_each_takes_the_arguments_of_the_original():
    for original, words in messages._INSTEAD.items():
        assert original.count("%s") + original.count("%r") == words.text.count("{}"), original


def test_they_are_told_in_our_words_and_at_a_fitting_level(said):
    coordinator.warning("Marking the coordinator dead (node %s)for group %s.", 3, "orders")
    coordinator.error("Heartbeat send request failed: %s. Will retry.", ValueError("{late} %s"))
    logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", 1, ConnectionRefusedError(111, "no"))
    logging.getLogger("aiokafka.producer.sender").warning(
        "Got error produce response on topic-partition %s, retrying. Error: %s", "t-0", NotEnoughReplicasError
    )
    assert said == [
        "info broker 3 does not answer as the coordinator of group orders; looking for the coordinator",
        "warning the group's coordinator did not answer a heartbeat, the next one follows: ValueError: {late} %s",
        "warning broker 1 cannot be reached: the connection was refused: nothing listens at this address; "
        "looking for the brokers again",
        "warning sending to partition t-0 failed: fewer replicas are in sync than min.insync.replicas requires "
        "(NotEnoughReplicasError); the records are sent again",
    ]


def test_what_is_harmless_is_not_told(said):
    coordinator.warning("Heartbeat failed for group %s because it is rebalancing", "g")
    coordinator.error("OffsetCommit failed for group %s due to group error (%s), will rejoin", "g", "Rebalance")
    coordinator.error("Group Coordinator Request failed: %s", "[Error 15] GroupCoordinatorNotAvailableError")
    assert said == []


def test_what_is_not_known_stays_as_it_is(said):
    coordinator.error("Unexpected error from SyncGroup: %s", "odd")
    assert said == ["error Unexpected error from SyncGroup: odd"]


def test_a_message_that_is_no_text_stays_as_it_is(said):
    coordinator.error(["odd"])
    assert said == ["error ['odd']"]


@pytest.mark.parametrize("message", ["odd: %d", "Heartbeat failed for group %s: generation id is not  current."])
def test_arguments_that_do_not_fit_a_message_do_not_fail_who_logs(message):
    record = logging.makeLogRecord({"name": "aiokafka.conn", "msg": message, "args": ("a", "b")})
    assert KafkaMessages().filter(record)


def test_a_coordinator_that_stays_away_is_told(said, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setattr("time.time_ns", lambda: int(now * 1e9))
    for _ in range(100):
        coordinator.error("Group Coordinator Request failed: %s", "[Error 15] GroupCoordinatorNotAvailableError")
        now += 0.15
    assert said == [
        "warning the coordinator of the group is not known: [Error 15] GroupCoordinatorNotAvailableError; asking again"
    ]


def test_a_connection_that_a_rebalance_made_in_vain_is_not_told():
    async def leave_one() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": messages._UNCLOSED, "conn": "a connection"})

    handler = Handler()
    logging.getLogger("asyncio").addHandler(handler)
    asyncio.run(leave_one())
    logging.getLogger("asyncio").error("Unclosed client session")
    logging.getLogger("asyncio").removeHandler(handler)
    assert handler.said == ["error Unclosed client session"]


def test_others_messages_pass():
    record = logging.makeLogRecord({"name": "framework", "msg": next(iter(messages._HARMLESS)), "args": ("a", "b")})
    assert KafkaMessages().filter(record)


def test_what_is_said_again_and_again_is_told_now_and_then(said, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    monkeypatch.setattr("time.time_ns", lambda: int(now * 1e9))
    for _ in range(100):
        for topic in ("a", "b"):
            logging.getLogger("aiokafka.cluster").error("Topic %s not found in cluster metadata", topic)
        now += 0.15
    assert said.count("warning there is no topic a in the cluster") == 2
    assert said.count("warning there is no topic b in the cluster") == 2


@pytest.mark.kafka
def test_a_worker_that_was_thrown_out_says_so_in_our_words_alone(broker, topic, produce, tmp_path):
    """It stands still for longer than its session, and commits with a generation that is gone."""
    name = topic()
    produce(name, ["a"] * 100)
    args = ["--plugin", "keycount", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    args += ["--kafka", "session_timeout_ms=6000", "--checkpoint-interval", "1ms"]
    with Worker(*args, cwd=tmp_path) as first:
        first.wait_for("assigned: ")
        with Worker(*args, cwd=tmp_path) as second:
            second.wait_for("assigned: ")
            second.signal(signal.SIGSTOP)
            first.wait_for(f"assigned: {name}-0, {name}-1, {name}-2, {name}-3")
            produce(name, ["a", "b", "c"] * 100)
            second.signal(signal.SIGCONT)
            second.wait_for("the group has thrown this worker out")
            second.wait_for("assigned: ")
            assert second.terminate() == 0
        assert first.terminate() == 0
    said = "\n".join([*first.messages, *second.messages])
    for text in ("OffsetCommit", "Heartbeat", "never retrieved", " error "):
        assert text not in said, said
