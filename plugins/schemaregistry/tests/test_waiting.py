"""A registry that is away, slow, or answers what no registry should."""

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from framework import UsageError

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
DATA = b"\x00\x00\x00\x00\x01\x0e"
VALUE = {"n": 7}
PASSWORD = "correct:horse"  # noqa: S105 - of a test's registry


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.INFO, "framework.schemaregistry")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("framework")]


async def until(true):
    for _ in range(2_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come true within 20 s")


@pytest.mark.parametrize(
    ("status", "page", "reason"),
    [
        (500, None, "HTTP 500, as the test wants"),
        (502, b"<html>Bad Gateway</html>", "HTTP 502;"),
        (503, None, "HTTP 503, as the test wants"),
        (429, None, "HTTP 429, as the test wants"),
        (
            404,
            b"<html>no such page</html>",
            "HTTP 404, which is not an answer of a Schema Registry; check the option url;",
        ),
        (404, None, "HTTP 404, as the test wants"),
        (302, b"<html>log in</html>", "HTTP 302, which is not an answer of a Schema Registry; check the option url"),
        (200, b"<html>hello</html>", "its answer is not JSON (JSONDecodeError: "),
        (200, b"\xff", "its answer is not JSON (UnicodeDecodeError: "),
    ],
)
async def test_it_waits_for_a_sound_answer_and_says_so(make, registry, warnings, status, page, reason):
    registry.add("orders-value", ORDER)
    form = await make("sr-avro")
    registry.status, registry.page = status, page
    waiting = asyncio.ensure_future(form.missing([DATA]))
    await until(lambda: len(registry.requests) > 4)
    assert not waiting.done()
    assert warnings()[0].startswith(f"the Schema Registry {registry.url} does not give the schema 1: {reason}")
    assert warnings()[0].endswith("; the partitions that need it wait")
    registry.status = registry.page = None
    await waiting
    assert warnings()[-1] == f"the Schema Registry {registry.url} answers again"
    assert form.read(DATA) == VALUE


@pytest.mark.parametrize("page", [b"", b"[]", b"5", b"{}", b'{"schema": 5}', b'{"schema": "x", "schemaType": 5}'])
async def test_what_is_no_registry_ends_the_run(make, registry, page):
    form = await make("sr-avro")
    registry.page = page
    for _ in range(2):
        with pytest.raises(
            UsageError, match=r"what answers at .* for the schema 1 is not a Schema Registry .* option url"
        ):
            await form.missing([DATA])


async def test_it_waits_for_a_registry_that_is_away(make, registry, warnings):
    registry.add("orders-value", ORDER)
    form = await make("sr-avro")
    with registry.away():
        waiting = asyncio.ensure_future(form.missing([DATA]))
        await until(warnings)
        began = time.monotonic()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert len(warnings()) <= 2 + (time.monotonic() - began) / 0.2  # of at least 6 requests
        assert "ConnectError" in warnings()[0]
    await waiting
    assert form.read(DATA) == VALUE


async def test_a_slow_answer_is_waited_for_and_one_too_slow_is_asked_for_again(make, registry, warnings):
    registry.add("orders-value", ORDER)
    form = await make("sr-avro")
    registry.delay = 0.25
    await form.missing([DATA])
    assert form.read(DATA) == VALUE
    assert "does not give the schema 1: it has not answered yet; the partitions" in warnings()[0]
    assert registry.requests == ["GET /schemas/ids/1"]
    form = await make("sr-avro")
    registry.delay = 0.8
    waiting = asyncio.ensure_future(form.missing([DATA]))
    await until(lambda: len(registry.requests) > 2)
    registry.delay = 0
    await waiting
    assert any("ReadTimeout" in warning for warning in warnings()) or len(warnings()) > 2


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_is_told_so(make, registry, status):
    form = await make("sr-avro", user="ann", password=PASSWORD)
    registry.status = status
    for _ in range(2):
        with pytest.raises(
            UsageError, match=f"refuses access to the schema 1: HTTP {status}.* options user and"
        ) as told:
            await form.missing([DATA])
        assert PASSWORD not in str(told.value)
    registry.status = None
    registry.add("orders-value", ORDER)
    await form.missing([DATA])
    assert form.read(DATA) == VALUE


async def test_credentials_come_from_options_or_the_environment(make, registry, monkeypatch):
    registry.add("orders-value", ORDER)
    registry.user = f"ann:{PASSWORD}"
    with pytest.raises(UsageError, match="HTTP 401"):
        await (await make("sr-avro")).missing([DATA])
    await (await make("sr-avro", user="ann", password=PASSWORD)).missing([DATA])
    monkeypatch.setenv("FRAMEWORK_SCHEMA_REGISTRY_PASSWORD", PASSWORD)
    await (await make("sr-avro", user="ann")).missing([DATA])
    monkeypatch.setenv("FRAMEWORK_SCHEMA_REGISTRY_USER", "ann")
    await (await make("sr-avro")).missing([DATA])
    with pytest.raises(UsageError, match="HTTP 401"):
        await (await make("sr-avro", password=PASSWORD[1:])).missing([DATA])


async def test_a_schema_that_comes_late_is_got(make, registry):
    """As from a registry of several nodes, of which one does not know yet what another has registered."""
    form = await make("sr-avro")
    form.patience = replace(form.patience, absence=0.2)
    waiting = asyncio.ensure_future(form.missing([DATA]))
    await until(lambda: registry.requests)
    registry.add("orders-value", ORDER)
    await waiting
    assert form.read(DATA) == VALUE


async def test_a_schema_that_is_absent_is_remembered_and_makes_bad_records(make, registry):
    form = await make("sr-avro")
    await form.missing([DATA, b"{}", b"\x00", None, b""])
    assert form.missing([DATA, b"{}", b"\x00", None, b""]) is None
    assert registry.requests == ["GET /schemas/ids/1"] * 2
    with pytest.raises(
        ValueError, match=r"schema 1: the Schema Registry http://.* does not have it .*Schema not found"
    ):
        form.read(DATA)


async def test_partitions_that_need_a_schema_share_the_request(make, registry):
    registry.add("orders-value", ORDER)
    form = await make("sr-avro")
    registry.delay = 0.05
    waiting = [asyncio.ensure_future(form.missing([DATA])) for _ in range(5)]
    await asyncio.sleep(0.02)
    waiting[0].cancel()
    await asyncio.gather(*waiting[1:])
    assert registry.requests == ["GET /schemas/ids/1"]
    assert form.read(DATA) == VALUE


async def test_a_damaged_topic_does_not_flood_the_registry(make, registry):
    form = await make("sr-avro")
    await form.missing([b"\x00" + number.to_bytes(4, "big") for number in range(1, 200)])
    assert len(registry.requests) == 2 * 199
    assert registry.most_at_once <= 4


async def test_who_waits_can_be_cancelled_and_the_format_be_closed(make, registry):
    form = await make("sr-avro")
    with registry.away():
        waiting = asyncio.ensure_future(form.missing([DATA]))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await form.close()


async def test_values_without_framing_are_told_so(make):
    form = await make("sr-avro")
    key_form = await make("sr-avro", part="key")
    for data, says in (
        (
            b'{"a": 1}',
            "^no Schema Registry framing: the value begins with 0x7b; perhaps it is JSON: --value-format json$",
        ),
        (b"\x08abc", "^no Schema Registry framing: the value begins with 0x08$"),
        (b"\x00abc", "^no Schema Registry framing: it has 4 bytes, and at least 5 are needed$"),
        (b"", "^no Schema Registry framing: it is empty$"),
    ):
        assert form.missing([data]) is None
        with pytest.raises(ValueError, match=says):
            form.read(data)
    with pytest.raises(ValueError, match="the key begins with 0x7b; perhaps it is JSON: --key-format json"):
        key_form.read(b"{}")
