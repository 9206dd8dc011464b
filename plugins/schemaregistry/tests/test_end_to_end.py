"""`framework run`, as a user runs it, over topics whose schemas are in a registry."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from framework.testing.brokers import Broker
from framework.testing.brokers.traffic import create_topic, make_topic_by_asking, produce, read_topic
from tests.end_to_end.worker import Worker, exported, framework

AMOUNT = {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}
OLD = {"type": "record", "name": "Order", "fields": [{"name": "shop", "type": "string"}, AMOUNT]}
NEW = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "currency", "type": ["null", "string"], "default": None},
        AMOUNT,
        {"name": "shop", "type": "string"},
    ],
}
GROUP = "orders"
COUNT = 3_000
KEYS = [f"key-{number % 17}" for number in range(COUNT)]
AMOUNTS = [Decimal(number * 7919 % 100_003 - 50_000).scaleb(-2) for number in range(COUNT)]


class Topic:
    """A topic that Confluent's serializer fills."""

    def __init__(self, broker: Broker) -> None:
        self.servers = broker.bootstrap_servers
        self.name = create_topic(self.servers) if broker.real else make_topic_by_asking(self.servers)
        self.committed = broker.real

    def fill(self, url: str) -> None:
        """All records; the schema of the second half is another one."""
        context = SerializationContext(self.name, MessageField.VALUE)
        with SchemaRegistryClient({"url": url}) as client:
            old, new = (AvroSerializer(client, json.dumps(schema)) for schema in (OLD, NEW))
            values = [
                (old if number < COUNT // 2 else new)({"shop": "a", "amount": amount, "currency": "EUR"}, context)
                for number, amount in enumerate(AMOUNTS)
            ]
        produce(self.servers, self.name, KEYS, values)

    def run(self, url: str, *more: str, plugins: Sequence[str] = ("keycount", "sumbykey")) -> list[str]:
        """The arguments of `framework run`."""
        chosen = [argument for name in ("schemaregistry", *plugins) for argument in ("--plugin", name)]
        options = ["--option", "sumbykey.field=amount"] if "sumbykey" in plugins else []
        formats = ["--value-format", "sr-avro", "--value-format-option", f"url={url}"]
        place = ["--topic", self.name, "--bootstrap-servers", self.servers, "--group", GROUP]
        return [*chosen, *place, *options, *formats, *more]


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> Topic:
    if request.node.get_closest_marker("kafka") and not broker.real:
        pytest.skip(f"needs a real Kafka; broker: {broker.description}")
    return Topic(broker)


def assert_exact(directory: Path) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for key, amount in zip(KEYS, AMOUNTS, strict=True):
        sums[key] += amount
    counted = {key: value for (_, key), value in exported(directory, "keycount", "--group", GROUP).items()}
    assert counted == Counter(KEYS)
    summed = {
        key: Decimal(value["$decimal"]) for (_, key), value in exported(directory, "sumbykey", "--group", GROUP).items()
    }
    assert summed == sums


def test_a_topic_whose_schema_changes_is_counted_and_summed_exactly(topic, registry, tmp_path):
    topic.fill(registry.url)
    registry.requests.clear()
    done = framework("run", *topic.run(registry.url), "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_exact(tmp_path)
    asked = Counter(registry.requests)
    assert asked.keys() == {"GET /schemas/ids/1", "GET /schemas/ids/2"}
    assert max(asked.values()) <= 2  # once for each of the two processors


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(600)  # the first time, Maven fetches the registry
def test_with_a_registry_that_others_wrote(topic, apicurio, tmp_path):
    topic.fill(apicurio)
    done = framework("run", *topic.run(apicurio), "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_exact(tmp_path)


def test_a_registry_that_is_away_is_waited_for(topic, registry, tmp_path):
    topic.fill(registry.url)
    with Worker(*topic.run(registry.url), "--stop-at-end", cwd=tmp_path) as worker:
        registry.stop()
        line = worker.wait_for("the Schema Registry")
        assert f"{registry.url} does not give the schema" in line
        assert line.endswith("; the partitions that need it wait")
        registry.start()
        worker.wait_for("answers again")
        assert worker.wait() == 0
    assert_exact(tmp_path)


def test_a_registry_that_refuses_access_ends_the_run(topic, registry, tmp_path):
    topic.fill(registry.url)
    registry.user = "ann:correct-horse"
    done = framework("run", *topic.run(registry.url), "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "refuses access to the schema 1: HTTP 401" in done.stderr
    options = ["--value-format-option", "user=ann", "--value-format-option", "password=correct-horse"]
    done = framework("run", *topic.run(registry.url, *options), "--stop-at-end", "--debug", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "correct-horse" not in done.stderr + done.stdout
    assert_exact(tmp_path)


def test_bad_records_are_told_and_the_others_are_applied(topic, registry, tmp_path):
    topic.fill(registry.url)
    produce(
        topic.servers,
        topic.name,
        ["bad"] * 3,
        [b'{"amount": 1}', b"\x00\x00\x00\x00\x63\x00", b"\x00\x00\x00\x00\x01\x02"],
    )
    done = framework("run", *topic.run(registry.url), "--stop-at-end", "--on-error", "skip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_exact(tmp_path)
    assert "perhaps it is JSON: --value-format json" in done.stderr
    assert "records failed: 6" in done.stderr  # three, for each of the two processors


SENDING = """
from framework import Processor


class Sending(Processor):
    api_version = 1

    def process(self, record, state, out):
        out.send("{topic}", key=record.key, value={{"shop": record.value["shop"], "amount": record.value["amount"]}})
"""


def test_outputs_are_written_for_confluents_deserializer(topic, broker, registry, client, tmp_path):
    topic.fill(registry.url)
    sent = Topic(broker)
    (tmp_path / "sending.py").write_text(SENDING.format(topic=sent.name))
    (tmp_path / "order.avsc").write_text(json.dumps(OLD))
    options = ["--output-format", f"{sent.name}=sr-avro", "--output-format-option", f"url={registry.url}"]
    options += ["--output-format-option", "schema_file=order.avsc"]
    arguments = topic.run(registry.url, *options, plugins=["sending.py"])
    done = framework("run", *arguments, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    read = AvroDeserializer(client)
    context = SerializationContext(sent.name, MessageField.VALUE)
    records = read_topic(sent.servers, sent.name, committed=sent.committed)
    amounts = [read(record.value, context)["amount"] for record in records]
    assert sorted(amounts) == sorted(AMOUNTS)
    assert registry.subjects[f"{sent.name}-value"] == [1]
