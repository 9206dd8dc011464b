"""Every error of Kafka is told in words."""

import socket
from pathlib import Path

import aiokafka.errors
import pytest
from aiokafka.errors import (
    BrokerResponseError,
    KafkaConnectionError,
    KafkaError,
    LogDirNotFound,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from framework.kafka.errors import MEANINGS, explain, not_authorized, reason

PAGE = Path(__file__).parents[2] / "docs" / "kafka-errors.md"
CLASSES = sorted(
    {each for each in vars(aiokafka.errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    - {BrokerResponseError},  # the base of the others, never raised
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("arguments", [(), ("the broker's own words",)])
def test_every_error_of_aiokafka_is_told_in_words(kind, arguments):
    told = explain(kind(*arguments))
    name = kind.__name__
    assert name in told
    assert all(word in told for word in arguments)
    words, separator, _ = told.rpartition(f" ({name}")
    assert separator
    meaning, _, advice = words.partition("; ")
    assert len(meaning.split()) > 3
    assert advice


def test_all_of_aiokafkas_errors_were_tried():
    assert len(CLASSES) > 80
    assert KafkaError in CLASSES


def test_an_error_of_a_later_kafka_is_told_by_its_description():
    class LaterError(BrokerResponseError):  # type: ignore[misc]  # aiokafka is untyped here
        errno = 999
        description = "Something new."

    assert explain(LaterError()).startswith("the broker refused: Something new; look at the log")
    assert explain(LogDirNotFound()).startswith("the broker refused: The user-specified log directory is not found")


def test_the_text_of_an_error_follows_its_meaning():
    assert explain(SaslAuthenticationFailed("Invalid username")).endswith(
        "(SaslAuthenticationFailed: Invalid username)"
    )
    assert explain(KafkaConnectionError()).endswith("(KafkaConnectionError)")


def test_a_reason_leaves_out_what_to_change():
    assert reason(KafkaConnectionError("closed")) == (
        "the connection to the broker failed or was closed (KafkaConnectionError: closed)"
    )


def test_errors_of_the_network_are_told_in_words():
    assert "cannot be resolved" in explain(socket.gaierror(-2, "Name or service not known"))
    assert "nothing listens" in explain(ConnectionRefusedError(111, "Connect call failed"))
    assert "no answer in time" in explain(TimeoutError())
    assert explain(ValueError("x")) == "ValueError: x"


def test_a_missing_acl_is_told_with_operation_and_resource():
    assert not_authorized("READ", "topic", "orders").startswith(
        "not authorized to read topic orders; needs the ACL operation READ on topic orders"
    )
    assert not_authorized("WRITE", "topic", {"b", "a"}).startswith("not authorized to write to topic a, b; needs")
    assert not_authorized("READ", "group", "g").startswith(
        "not authorized to use group g; needs the ACL operation READ"
    )
    assert "READ" in explain(TopicAuthorizationFailedError("orders"))


def test_the_page_shows_the_table():
    rows = [f"| `{kind.__name__}` | {meaning.what} | {meaning.advice} |" for kind, meaning in MEANINGS.items()]
    _, _, table = PAGE.read_text(encoding="utf-8").partition(
        "| error | what it means | what to change |\n|---|---|---|\n"
    )
    assert table.splitlines() == rows
