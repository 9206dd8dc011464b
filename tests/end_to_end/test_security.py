"""Commands against a Kafka with TLS, SASL and ACLs: what is refused ends them at once, with what to change."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from pathlib import Path

import pytest

from framework.testing.brokers.jars import KafkaJars, jars_missing
from framework.testing.brokers.traffic import create_topic
from framework.testing.brokers.traffic import produce as send
from framework.testing.brokers.traffic import read_topic as read
from tests.brokers.secure import PASSWORD, SecureKafka, make_certificate

pytestmark = pytest.mark.kafka

COUNT = """
from framework import Processor


class Count(Processor):  # sends each key to the topic that the value names
    api_version = 1
    value_format = "utf8"

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
        if record.value:
            out.send(record.value, "seen", key=record.key)
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    if reason := jars_missing():
        pytest.skip(f"needs a broker of its own: {reason}")
    with SecureKafka.running(tmp_path_factory.mktemp("secure")) as kafka:
        yield kafka


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command of framework; `kafka` are the settings."""
    (tmp_path / "count.py").write_text(COUNT)
    (tmp_path / "records.tsv").write_text("a\t1\nb\t2\n")

    def run(
        *words: str, servers: str, settings: Mapping[str, str], wait: str = "60s"
    ) -> "subprocess.CompletedProcess[str]":
        pairs = [word for name, value in settings.items() for word in ("--kafka", f"{name}={value}")]
        return subprocess.run(
            [
                *(sys.executable, "-m", "framework", *words, "--bootstrap-servers", servers),
                *("--connect-timeout", wait, *pairs),
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env={**os.environ},
        )

    return run


def user(name: str, mechanism: str = "SCRAM-SHA-256", password: str = PASSWORD) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": name,
        "sasl_plain_password": password,
    }


def refused(done: "subprocess.CompletedProcess[str]", *told: str) -> None:
    """The command ended with status 4 and a message that says all that; none of it names the password."""
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 4, done.stderr
    assert message.startswith("error: ")
    for words in told:
        assert words in message
    assert "waiting" not in done.stderr, "another attempt cannot help"
    assert PASSWORD not in done.stderr


RUN = ("run", "--plugin", "count.py", "--stop-at-end")


# Logging in, and TLS


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_ends_a_run_at_once(kafka, command, mechanism):
    settings = user("ann", mechanism, "wrong-password")
    done = command(*RUN, "--topic", "t", servers=kafka.servers["SASL_PLAINTEXT"], settings=settings)
    refused(done, f"refused the login of user ann by {mechanism}", "check sasl_plain_username, sasl_plain_password")
    assert "wrong-password" not in done.stderr


def test_a_mechanism_that_the_broker_does_not_enable_ends_a_run_at_once_with_those_that_it_does(kafka, command):
    settings = user("ann", "SCRAM-SHA-512")
    done = command(*RUN, "--topic", "t", servers=kafka.servers["SASL_PLAINTEXT"], settings=settings)
    refused(done, "does not enable the SASL mechanism SCRAM-SHA-512", "set sasl_mechanism to PLAIN or SCRAM-SHA-256")


def test_a_certificate_of_an_unknown_authority_ends_a_run_at_once(kafka, command):
    done = command(*RUN, "--topic", "t", servers=kafka.servers["SSL"], settings={"security_protocol": "SSL"})
    refused(done, "is not trusted", "set ssl_cafile")


def test_a_certificate_for_another_host_ends_a_run_at_once(command, kafka_jars, tmp_path):
    store, certificate = make_certificate(tmp_path, "elsewhere", "dns:elsewhere.example")
    properties = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(store),
        "ssl.keystore.password": PASSWORD,
        "ssl.key.password": PASSWORD,
    }
    with KafkaJars(tmp_path, properties, listeners=["SSL"]) as jars:
        settings = {"security_protocol": "SSL", "ssl_cafile": str(certificate)}
        done = command(*RUN, "--topic", "t", servers=jars.listeners["SSL"], settings=settings)
    refused(done, "is not trusted", "mismatch", "--bootstrap-servers")


def test_a_missing_certificate_of_the_client_ends_a_run_at_once(kafka, command):
    settings = {"security_protocol": "SSL", "ssl_cafile": str(kafka.ca_file)}
    done = command(*RUN, "--topic", "t", servers=kafka.servers["MTLS"], settings=settings)
    refused(done, "refused the TLS certificate of this client, or wants one", "set ssl_certfile and ssl_keyfile")


PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


@pytest.mark.parametrize(("used", "wanted"), [*permutations(PROTOCOLS, 2)])
def test_a_listener_of_another_protocol_ends_a_command_at_once_with_the_setting_that_fits(kafka, command, used, wanted):
    settings = {"security_protocol": used}
    if "SASL" in used:
        settings = {**user("ann"), **settings}
    if "SSL" in used:
        settings["ssl_cafile"] = str(kafka.ca_file)
    done = command("produce", "records.tsv", "--topic", "t", servers=kafka.servers[wanted], settings=settings)
    refused(done, f"uses {wanted}, but security_protocol is {used}; set security_protocol to {wanted}")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_user_with_the_right_acls_gets_everything_done_over_tls(kafka, command, tmp_path, mechanism):
    topic, seen, bad = (create_topic(kafka.admin_servers) for _ in range(3))
    (tmp_path / "records.tsv").write_text(f"a\t{seen}\nb\t{seen}\n")
    for operation, name in (("WRITE", topic), ("READ", topic), ("WRITE", bad), ("READ", bad), ("WRITE", seen)):
        kafka.allow("ann", operation, topic=name)
    kafka.allow("ann", "READ", group=topic)
    settings = {**user("ann", mechanism), "security_protocol": "SASL_SSL", "ssl_cafile": str(kafka.ca_file)}
    servers = kafka.servers["SASL_SSL"]

    done = command("produce", "records.tsv", "--topic", topic, servers=servers, settings=settings)
    assert done.returncode == 0, done.stderr
    assert len(read(kafka.admin_servers, topic)) == 2
    dead_letters = ("--on-error", "dead-letter", "--dead-letter-topic", bad)
    done = command(*RUN, "--topic", topic, "--group", topic, *dead_letters, servers=servers, settings=settings)
    assert done.returncode == 0, done.stderr
    assert {record.key for record in read(kafka.admin_servers, seen)} == {b"a", b"b"}
    done = command("dead-letters", "list", "--topic", bad, servers=servers, settings=settings)
    assert done.returncode == 0, done.stderr
    assert "0 dead letters" in done.stderr


# ACLs


def test_a_topic_without_any_right_is_not_said_to_be_missing(kafka, command):
    topic = create_topic(kafka.admin_servers)
    for words, operation in (
        ((*RUN, "--topic", topic), "READ"),
        (("produce", "records.tsv", "--topic", topic), "WRITE"),
        (("dead-letters", "list", "--topic", topic), "READ"),
        (("dead-letters", "replay", "--topic", topic), "READ"),
    ):
        done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("bob"))
        refused(done, f"not authorized to describe topic {topic}; needs the ACL operation {operation} on topic {topic}")


def test_the_right_to_describe_a_topic_is_not_enough(kafka, command):
    topic = create_topic(kafka.admin_servers)
    kafka.allow("bob", "DESCRIBE", topic=topic)
    for words, doing, operation in (
        ((*RUN, "--topic", topic), "read", "READ"),
        (("produce", "records.tsv", "--topic", topic), "write to", "WRITE"),
        (("dead-letters", "list", "--topic", topic), "read", "READ"),
    ):
        done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("bob"))
        refused(done, f"not authorized to {doing} topic {topic}; needs the ACL operation {operation} on topic {topic}")


def test_a_dead_letter_topic_that_this_user_may_not_write_to_is_told_before_the_run(kafka, command):
    topic, bad = create_topic(kafka.admin_servers), create_topic(kafka.admin_servers)
    kafka.allow("bob", "READ", topic=topic)
    kafka.allow("bob", "READ", topic=bad)
    words = (*RUN, "--topic", topic, "--on-error", "dead-letter", "--dead-letter-topic", bad)
    done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("bob"))
    refused(done, f"not authorized to write to topic {bad}; needs the ACL operation WRITE on topic {bad}")


def test_a_group_without_any_right_is_told_with_the_missing_acl(kafka, command):
    topic = create_topic(kafka.admin_servers)
    kafka.allow("bob", "READ", topic=topic)
    send(kafka.admin_servers, topic, ["a"])
    settings = user("bob")
    for words, group in (
        ((*RUN, "--topic", topic, "--group", "g"), "g"),
        (("dead-letters", "replay", "--topic", topic), "framework-replay"),
    ):
        done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=settings)
        refused(done, f"not authorized to use group {group}; needs the ACL operation READ on group {group}")


def test_a_topic_that_this_user_may_not_create_names_the_acl(kafka, command):
    words = ("produce", "records.tsv", "--topic", "brand-new", "--create", "1")
    done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("bob"))
    refused(done, "not authorized to create topic brand-new; needs the ACL operation CREATE on topic brand-new")


def test_outputs_to_a_topic_that_this_user_may_not_write_to_name_the_acl(kafka, command):
    topic, seen, other = (create_topic(kafka.admin_servers) for _ in range(3))
    kafka.allow("eve", "READ", topic=topic)
    kafka.allow("eve", "DESCRIBE", topic=seen)
    kafka.allow("eve", "READ", group=topic)
    send(kafka.admin_servers, topic, ["a"], [seen])
    words = (*RUN, "--topic", topic, "--group", topic)

    done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("eve"))
    assert done.returncode == 1, done.stderr
    assert "cannot connect to send outputs: this user is not authorized for the cluster" in done.stderr
    assert "grant WRITE on a topic" in done.stderr

    kafka.allow("eve", "WRITE", topic=other)
    done = command(*words, servers=kafka.servers["SASL_PLAINTEXT"], settings=user("eve"))
    assert done.returncode == 1, done.stderr
    assert f"an output to topic {seen} was not taken: not authorized to write to topic {seen}" in done.stderr
    assert f"needs the ACL operation WRITE on topic {seen}" in done.stderr


# Where the brokers are


@pytest.mark.parametrize(
    ("address", "told"),
    [("127.0.0.1:1", "the connection was refused"), ("broker.invalid:9092", "the name of the host cannot be resolved")],
)
def test_an_advertised_address_that_cannot_be_reached_is_named(command, kafka_jars, address, told):
    jars = kafka_jars({"advertised.listeners": f"PLAINTEXT://{address}"})
    done = command(*RUN, "--topic", "t", servers=jars.bootstrap_servers, settings={}, wait="1s")
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 4, done.stderr
    assert f"the broker at {jars.bootstrap_servers} advertises {address}, which cannot be reached" in message
    assert told in message
    assert "advertised.listeners" in message
