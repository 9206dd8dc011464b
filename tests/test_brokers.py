"""The ladder by which tests get a broker, and what they do with it."""

from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException

from framework.records import Record
from framework.testing.brokers import Broker, Embedded, KafkaJars, Named, NoBrokerError, choose_rung
from framework.testing.brokers.traffic import create_topic, produce, read_topic

pytest_plugins = ["pytester"]

KEYS = ["ATL", "ORD", None, "ATL", ""]


def test_a_named_broker_comes_first() -> None:
    rung, passed = choose_rung({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})
    assert isinstance(rung, Named)
    assert "kafka:9092" in rung.description()
    assert passed == {}


def test_the_variable_for_tests_beats_the_common_one() -> None:
    rung, _ = choose_rung({"KAFKA_BOOTSTRAP_SERVERS": "no:1", "FRAMEWORK_TEST_BOOTSTRAP_SERVERS": "yes:1"})
    assert "yes:1" in rung.description()


def test_without_any_other_the_embedded_broker_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    rung, passed = choose_rung({})
    assert isinstance(rung, Embedded)
    assert list(passed) == ["env", "docker", "jars"]
    assert "no java" in passed["jars"]


def test_an_image_without_an_engine_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    _, passed = choose_rung({"KAFKA_IMAGE": "local/kafka:7.9.1"})
    assert "local/kafka:7.9.1" in passed["docker"]


@pytest.mark.parametrize("forced", ["env", "docker"])
def test_a_forced_rung_that_cannot_be_had_is_an_error(forced: str) -> None:
    with pytest.raises(NoBrokerError, match=f"FRAMEWORK_TEST_BROKER={forced} cannot be had"):
        choose_rung({"FRAMEWORK_TEST_BROKER": forced})


def test_an_unknown_rung_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(NoBrokerError, match="env, docker, jars, embedded"):
        choose_rung({"FRAMEWORK_TEST_BROKER": "dokcer"})


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "errors")])
def test_a_test_without_its_kafka_is_skipped_or_where_required_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    monkeypatch.setenv("FRAMEWORK_TEST_BROKER", "embedded")
    monkeypatch.setenv("FRAMEWORK_REQUIRE_KAFKA", required)
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini("[pytest]\nmarkers = kafka: …")
    pytester.makepyfile("import pytest\n\n\n@pytest.mark.kafka\ndef test_it():\n    pass")
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-ra")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["broker: the embedded one", "*needs a real Kafka*"])


def test_records_come_back_in_order_with_keys_told_apart(
    broker: Broker, topic: Callable[..., str], produce: Callable[..., object], read_topic: Callable[..., list[Record]]
) -> None:
    name = topic()
    produce(name, KEYS, ["1", "2", "3", None, ""], partitions=2)
    records = read_topic(name)
    assert [(record.partition, record.offset) for record in records] == [(2, offset) for offset in range(5)]
    assert [record.key for record in records] == [b"ATL", b"ORD", None, b"ATL", b""]
    assert [record.value for record in records] == [b"1", b"2", b"3", None, b""]


@pytest.mark.kafka
def test_aborted_transactions_leave_gaps(
    topic: Callable[..., str], produce: Callable[..., object], read_topic: Callable[..., list[Record]]
) -> None:
    name = topic(partitions=1)
    produce(name, ["a"], transaction="commit")
    produce(name, ["b"], transaction="abort")
    produce(name, ["c"], transaction="commit")
    assert [(record.key, record.offset) for record in read_topic(name)] == [(b"a", 0), (b"c", 4)]
    assert [record.key for record in read_topic(name, committed=False)] == [b"a", b"b", b"c"]


@pytest.mark.kafka
def test_a_broker_of_ones_own_keeps_its_address_and_data(kafka_jars: Callable[..., KafkaJars]) -> None:
    kafka = kafka_jars({"message.max.bytes": "2000"})
    servers, pid = kafka.bootstrap_servers, kafka.pid
    name = create_topic(servers, partitions=2)
    produce(servers, name, ["a"] * 3, partitions=[0, 1, 1])
    kafka.restart()
    assert kafka.bootstrap_servers == servers
    assert kafka.pid != pid
    kafka.kill()
    kafka.start()
    assert Counter(record.partition for record in read_topic(servers, name)) == {0: 1, 1: 2}
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        produce(servers, name, ["a"], ["x" * 3000])


@pytest.mark.kafka
def test_a_broker_that_does_not_start_shows_its_log(kafka_jars: Callable[..., KafkaJars]) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)could not format.*broker\.log.*process\.roles"):
        kafka_jars({"process.roles": "bystander"})
