"""Avro whose schemas are in a registry."""

import json
from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any, ClassVar

import fastavro
import pytest
import pytest_asyncio
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from framework import UsageError
from framework.testing import FormatConformance

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    ],
}
NEWER = {**ORDER, "fields": [*ORDER["fields"], {"name": "currency", "type": "string", "default": "EUR"}]}
VALUE = {"customer": "a", "amount": Decimal("1.50")}
IN_VALUES = SerializationContext("orders", MessageField.VALUE)


def encoded(value: Any, schema: Any = ORDER, schema_id: int = 1) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return b"\x00" + schema_id.to_bytes(4, "big") + stream.getvalue()


@pytest.fixture
def schema_file(tmp_path):
    def write(schema=ORDER, name="order.avsc"):
        file = tmp_path / name
        file.write_text(schema if isinstance(schema, str) else json.dumps(schema))
        return str(file)

    return write


@pytest_asyncio.fixture
async def opened(make, schema_file):
    return await make("sr-avro", "orders", schema_file=schema_file())


class TestAvro(FormatConformance):
    samples: ClassVar = [(encoded(VALUE), VALUE)]
    bad: ClassVar = [b"", b"\x00", b'{"a": 1}', b"\x00\x00\x00\x00\x01", encoded(VALUE)[:-1], encoded(VALUE) + b"x"]
    unwritable: ClassVar = [
        {"customer": "a"},
        {"customer": 1, "amount": Decimal(1)},
        {**VALUE, "typo": 1},
        "text",
        None,
    ]

    @pytest.fixture
    def form(self, opened):
        return opened


async def read_all(form: Any, column: Sequence[bytes | None]) -> list[Any]:
    missing = form.missing(column)
    if missing is not None:
        await missing
    assert form.missing(column) is None
    return list(form.read_column(column))


async def test_what_confluents_serializer_writes_is_read(make, client):
    old, new = (AvroSerializer(client, json.dumps(schema)) for schema in (ORDER, NEWER))
    newer = {**VALUE, "currency": "USD"}
    column = [old(VALUE, IN_VALUES), None, new(newer, IN_VALUES), old(VALUE, IN_VALUES)]
    assert await read_all(await make("sr-avro"), column) == [VALUE, None, newer, VALUE]


async def test_confluents_deserializer_reads_what_is_written(make, registry, client, schema_file):
    form = await make("sr-avro", "orders", schema_file=schema_file())
    assert registry.subjects.keys() == {"orders-value"}
    assert AvroDeserializer(client)(form.write(VALUE), IN_VALUES) == VALUE


@pytest.mark.parametrize("reader", [NEWER, ["null", NEWER]])
async def test_values_of_all_schemas_are_read_in_the_readers(make, registry, schema_file, reader):
    registry.add("orders-value", ORDER)
    registry.add("orders-value", NEWER)
    newer = {**VALUE, "currency": "USD"}
    form = await make("sr-avro", reader_schema=schema_file(reader))
    column = [encoded(VALUE), encoded(newer, NEWER, 2)]
    assert await read_all(form, column) == [{**VALUE, "currency": "EUR"}, newer]


async def test_a_writers_schema_that_the_readers_does_not_fit_makes_bad_records(make, registry, schema_file):
    registry.add("orders-value", {**ORDER, "fields": ORDER["fields"][:1]})
    form = await make("sr-avro", reader_schema=schema_file())
    data = encoded({"customer": "a"}, {**ORDER, "fields": ORDER["fields"][:1]})
    await form.missing([data])
    with pytest.raises(ValueError, match=r"do not fit the schema 1: SchemaResolutionError: .*amount"):
        form.read(data)


@pytest.mark.parametrize(
    ("schema", "value"), [("string", "text"), ({"type": "array", "items": "int"}, [1, 2]), (["null", "long"], 5)]
)
async def test_values_need_not_be_records(make, registry, schema, value):
    registry.add("orders-value", json.dumps(schema))
    assert await read_all(await make("sr-avro"), [encoded(value, schema)]) == [value]


@pytest.mark.parametrize("top", ["shop.Orders", ["shop.Order", "shop.Orders"]])
async def test_schemas_may_refer_to_others(make, registry, top):
    line = {"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "n", "type": "int"}]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "lines", "type": {"type": "array", "items": "shop.Line"}}],
    }
    orders = {
        "type": "record",
        "name": "Orders",
        "namespace": "shop",
        "fields": [{"name": "first", "type": "shop.Order"}, {"name": "last", "type": "shop.Line"}],
    }
    to_line = {"name": "shop.Line", "subject": "line", "version": 1}
    to_order = {"name": "shop.Order", "subject": "order", "version": 1}
    registry.add("line", line)
    registry.add("order", order, references=[to_line])
    to_orders = {"name": "shop.Orders", "subject": "orders", "version": 1}
    registry.add("orders", orders, references=[to_order, to_line])
    schema_id = registry.add("top", json.dumps(top), references=[to_orders, to_order])
    payload = b"\x02\x0e\x00\x10"
    data = b"\x00" + schema_id.to_bytes(4, "big") + (b"\x02" if isinstance(top, list) else b"") + payload
    assert await read_all(await make("sr-avro"), [data]) == [{"first": {"lines": [{"n": 7}]}, "last": {"n": 8}}]


async def test_a_reference_that_is_not_there_makes_bad_records(make, registry):
    registry.add("order", ORDER, references=[{"name": "x", "subject": "gone", "version": 3}])
    form = await make("sr-avro")
    await form.missing([encoded(VALUE)])
    with pytest.raises(ValueError, match=r"schema 1: .* does not have it .*version 3 of the subject gone"):
        form.read(encoded(VALUE))


NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
}


async def test_values_that_nest_without_end_are_bad_records(make, registry):
    """Read by fastavro in C, this one would end the process."""
    registry.add("nodes", NODE)
    form = await make("sr-avro")
    head = b"\x00\x00\x00\x00\x01"
    await form.missing([head])
    assert form.read(head + b"\x02\x02\x04\x00") == {"value": 1, "next": {"value": 2, "next": None}}
    assert form.read(head + b"\x02\x02" * 200 + b"\x02\x00")["next"]["next"]["value"] == 1
    for depth in (2_000, 200_000):
        with pytest.raises(ValueError, match="nested too deep"):
            form.read(head + b"\x02\x02" * depth + b"\x02\x00")


async def test_long_values_of_a_schema_that_may_nest_are_read(make, registry):
    tree = {"type": "record", "name": "T", "fields": [{"name": "leaves", "type": {"type": "array", "items": "T"}}]}
    registry.add("trees", tree)
    value: Any = {"leaves": [{"leaves": []}] * 5_000}
    assert await read_all(await make("sr-avro"), [encoded(value, tree)]) == [value]
    form = await make("sr-avro")
    with pytest.raises(ValueError, match="3 bytes follow"):
        await read_all(form, [encoded(value, tree) + b"abc"])


async def test_a_schema_that_is_not_avro_makes_bad_records(make, registry):
    registry.add("a", '{"type": "nonsense"}')
    registry.add("b", "{}", "JSON")
    registry.add("c", "{", "AVRO")
    form = await make("sr-avro")
    for schema_id, says in (
        (1, "one that cannot be used .*nonsense"),
        (2, "has it as JSON .*sr-json"),
        (3, "one that cannot be used .*JSONDecodeError"),
    ):
        data = encoded(VALUE, schema_id=schema_id)
        await form.missing([data])
        with pytest.raises(ValueError, match=f"schema {schema_id}: the Schema Registry .* {says}"):
            form.read(data)


@pytest.mark.parametrize("text", [None, "{", '{"type": "nonsense"}'])
@pytest.mark.parametrize("option", ["reader_schema", "schema_file"])
async def test_a_schema_file_that_cannot_be_used_is_named(make, schema_file, tmp_path, text, option):
    file = str(tmp_path / "gone.avsc") if text is None else schema_file(text)
    with pytest.raises(UsageError, match=r"schema .*\.avsc cannot be (used|read)"):
        await make("sr-avro", "orders" if option == "schema_file" else None, **{option: file})
