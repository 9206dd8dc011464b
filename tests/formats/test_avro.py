"""Avro without a header."""

import json
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from framework.errors import UsageError
from framework.formats import Format
from framework.formats.avro import Avro, AvroOptions
from framework.testing import FormatConformance

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "customer", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    ],
}


def written(value: Any, schema: Any = SCHEMA) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def schema_file(directory: Path, schema: Any = SCHEMA, name: str = "order.avsc") -> str:
    file = directory / name
    file.write_text(json.dumps(schema))
    return str(file)


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
VALUE = {"customer": "a", "amount": Decimal("1.50")}


class TestAvro(FormatConformance):
    samples = [(written(VALUE), VALUE)]
    bad = [b"", written(VALUE)[:-1], written(VALUE) + b"x", b"\x04\xff\xff\x00"]
    unwritable = [{"customer": "a"}, {**VALUE, "unknown": 1}, {"customer": 1, "amount": Decimal(1)}, "text", None]

    @pytest.fixture
    def form(self, tmp_path: Path) -> Format:
        return Avro(AvroOptions(writer_schema=schema_file(tmp_path)), "value")


def test_the_reader_schema_may_be_a_newer_one(tmp_path: Path) -> None:
    newer = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "currency", "type": "string", "default": "EUR"}]}
    options = AvroOptions(writer_schema=schema_file(tmp_path), reader_schema=schema_file(tmp_path, newer, "newer.avsc"))
    assert Avro(options, "value").read(written(VALUE)) == {**VALUE, "currency": "EUR"}


@pytest.mark.parametrize("text", [None, "{", '{"type": "nonsense"}'])
def test_a_schema_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "bad.avsc"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=r"the Avro schema .*bad\.avsc cannot be used"):
        Avro(AvroOptions(writer_schema=str(file)), "value")


@pytest.mark.parametrize("schema", [NODE, ["null", NODE]])
def test_a_value_that_is_nested_too_deep_is_a_bad_record_and_ends_no_process(tmp_path: Path, schema: Any) -> None:
    form = Avro(AvroOptions(writer_schema=schema_file(tmp_path, schema)), "value")
    head = b"" if schema is NODE else b"\x02"
    assert form.read(head + b"\x02" * 100 + b"\x00")
    with pytest.raises(ValueError, match="nested too deep"):
        form.read(head + b"\x02" * 100_000 + b"\x00")


def test_a_framed_value_is_told(tmp_path: Path) -> None:
    form = Avro(AvroOptions(writer_schema=schema_file(tmp_path)), "value")
    with pytest.raises(ValueError, match="Schema Registry framing, schema id 5"):
        form.read(b"\x00\x00\x00\x00\x05" + written(VALUE))
