"""JSON whose schemas are in a registry."""

import json
import math
from decimal import Decimal
from typing import ClassVar

import pytest
import pytest_asyncio
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from framework import UsageError
from framework.testing import FormatConformance

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"customer": {"type": "string"}, "amount": {"type": "number"}},
}
VALUE = {"customer": "a", "amount": 1.5}
HEAD = b"\x00\x00\x00\x00\x01"
IN_VALUES = SerializationContext("orders", MessageField.VALUE)


@pytest.fixture
def schema_file(tmp_path):
    def write(text=json.dumps(SCHEMA)):  # noqa: B008 - the same each time
        (tmp_path / "order.json").write_text(text)
        return str(tmp_path / "order.json")

    return write


@pytest_asyncio.fixture
async def opened(make, schema_file):
    return await make("sr-json", "orders", schema_file=schema_file())


class TestJson(FormatConformance):
    samples: ClassVar = [(HEAD + b'{"customer":"a","amount":1.5}', VALUE), (HEAD + b"[1]", [1])]
    bad: ClassVar = [b"", b"{}", HEAD, HEAD + b"{", HEAD + b"1 2", HEAD + b"NaN", HEAD + b"[" * 100_000]
    unwritable: ClassVar = [math.nan, {"n": math.inf}, b"x", object()]

    @pytest.fixture
    def form(self, opened):
        return opened


async def test_what_confluents_serializer_writes_is_read(make, client):
    serializer = JSONSerializer(json.dumps(SCHEMA), client)
    data = serializer(VALUE, IN_VALUES)
    form = await make("sr-json")
    await form.missing([data])
    assert form.read_column([data, None]) == [VALUE, None]


async def test_confluents_deserializer_reads_what_is_written(make, schema_file):
    form = await make("sr-json", "orders", schema_file=schema_file(), subject_strategy="record")
    assert JSONDeserializer(json.dumps(SCHEMA))(form.write(VALUE), IN_VALUES) == VALUE


async def test_numbers_may_be_decimals(make, registry):
    registry.add("orders-value", SCHEMA, "JSON")
    form = await make("sr-json", decimals=True)
    await form.missing([HEAD])
    read = form.read(HEAD + b'{"amount": 0.10}')
    assert str(read["amount"]) == "0.10"
    assert type(read["amount"]) is Decimal


@pytest.mark.parametrize("text", ["{", '{"a": 1} x'])
async def test_a_schema_that_is_not_json_is_told(make, schema_file, text):
    with pytest.raises(UsageError, match=r"the JSON schema .*order\.json cannot be used"):
        await make("sr-json", "orders", schema_file=schema_file(text))
