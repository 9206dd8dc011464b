"""The schemas of outputs are registered, or looked up, before the run."""

import asyncio
import json
import logging

import pytest

from framework import UsageError

ORDER = {"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "n", "type": "int"}]}
HEAD = b"\x00\x00\x00\x00\x01"


@pytest.fixture
def schema_file(tmp_path):
    file = tmp_path / "order.avsc"
    file.write_text(json.dumps(ORDER))
    return str(file)


@pytest.mark.parametrize(
    ("strategy", "part", "subject"),
    [
        ("topic", "value", "sent-value"),
        ("topic", "key", "sent-key"),
        ("record", "value", "shop.Order"),
        ("topic-record", "value", "sent-shop.Order"),
    ],
)
async def test_the_subject_is_as_the_strategy_says(make, registry, schema_file, strategy, part, subject):
    form = await make("sr-avro", "sent", part, schema_file=schema_file, subject_strategy=strategy)
    assert registry.subjects == {subject: [1]}
    assert form.write({"n": 7}) == HEAD + b"\x0e"


async def test_a_schema_without_a_name_has_no_record_subject(make, tmp_path):
    (tmp_path / "text.avsc").write_text('"string"')
    with pytest.raises(UsageError, match="has no name, which subject_strategy=record needs"):
        await make("sr-avro", "sent", schema_file=str(tmp_path / "text.avsc"), subject_strategy="record")


async def test_without_auto_register_the_schema_must_be_there(make, registry, schema_file):
    options = {"schema_file": schema_file, "auto_register": False}
    with pytest.raises(UsageError, match=r"does not have the schema .*order\.avsc as the subject sent-value: HTTP 404"):
        await make("sr-avro", "sent", **options)
    registry.add("other", "{}", "JSON")
    registry.add("sent-value", ORDER)
    form = await make("sr-avro", "sent", **options)
    assert form.write({"n": 7}) == b"\x00\x00\x00\x00\x02\x0e"
    assert registry.subjects["sent-value"] == [2]


async def test_a_schema_that_is_not_compatible_is_told(make, registry, schema_file):
    registry.incompatible = True
    with pytest.raises(UsageError, match=r"subject sent-value, as it is not compatible .*HTTP 409, READER_FIELD"):
        await make("sr-avro", "sent", schema_file=schema_file)


@pytest.mark.parametrize(
    ("status", "says"), [(401, "refuses access"), (403, "refuses access"), (422, "refuses the request")]
)
async def test_a_registry_that_refuses_ends_the_run(make, registry, schema_file, status, says):
    registry.status = status
    with pytest.raises(UsageError, match=f"{says}.*HTTP {status}"):
        await make("sr-avro", "sent", schema_file=schema_file)


async def test_a_registry_that_is_away_is_waited_for(make, registry, schema_file, caplog):
    caplog.set_level(logging.INFO, "framework.schemaregistry")
    with registry.away():
        opening = asyncio.ensure_future(make("sr-avro", "sent", schema_file=schema_file))
        while not caplog.records:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.01)
        assert caplog.messages[0].endswith("; the run waits")
        assert "does not give an id for the schema of the subject sent-value: ConnectError" in caplog.messages[0]
    assert (await opening).write({"n": 7}) == HEAD + b"\x0e"


async def test_a_format_for_reading_does_not_write(make):
    with pytest.raises(NotImplementedError):
        (await make("sr-avro")).write({"n": 7})
