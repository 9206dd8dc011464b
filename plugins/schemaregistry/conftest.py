"""A registry that each test has for itself, and formats that use it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from confluent_kafka.schema_registry import SchemaRegistryClient
from framework_schemaregistry import RegistryAvro, RegistryJson, RegistryOptions, RegistryProtobuf
from framework_schemaregistry.base import RegistryFormat
from framework_schemaregistry.waiting import Patience

from framework.testing.brokers import Broker, choose_rung
from tests.brokers.apicurio import apicurio_missing, running_apicurio
from tests.brokers.fake_registry import FakeRegistry

HASTY = Patience(request=0.5, slow=0.1, first_pause=0.01, longest_pause=0.05, between_warnings=0.2, absence=0.02)
FORMATS: dict[str, type[RegistryFormat]] = {
    kind.name: type(kind.__name__, (kind,), {"patience": HASTY})
    for kind in (RegistryAvro, RegistryJson, RegistryProtobuf)
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What configures framework comes from the test alone."""
    for name in [*os.environ]:
        if name.startswith("FRAMEWORK_") and not name.startswith("FRAMEWORK_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[SchemaRegistryClient]:
    """What Confluent's serializers ask the registry with."""
    with SchemaRegistryClient({"url": registry.url}) as opened:
        yield opened


@pytest_asyncio.fixture
async def make(registry: FakeRegistry) -> AsyncIterator[Callable[..., Awaitable[RegistryFormat]]]:
    """Makes a format and opens it: `await make(name, topic=None, **options)`; it is closed after the test."""
    made: list[RegistryFormat] = []

    async def make(name: str, topic: str | None = None, part: Any = "value", **options: Any) -> RegistryFormat:
        form = FORMATS[name](RegistryOptions(**{"url": registry.url, **options}), part, topic)
        made.append(form)
        await form.open()
        return form

    yield make
    for form in made:
        await form.close()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker that the tests of this package share; see CONTRIBUTING.md."""
    rung, _ = choose_rung(os.environ)
    with rung.broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="session")
def apicurio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a registry that others wrote."""
    if reason := apicurio_missing():
        if os.environ.get("FRAMEWORK_REQUIRE_KAFKA"):
            pytest.fail(f"needs Apicurio Registry: {reason}")
        pytest.skip(f"needs Apicurio Registry: {reason}")
    with running_apicurio(tmp_path_factory.mktemp("apicurio")) as url:
        yield url
