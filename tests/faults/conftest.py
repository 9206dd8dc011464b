"""Applications under test, on the shared broker or one that may be hurt."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from framework.testing.brokers import Broker, KafkaJars
from tests.faults.application import Application


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("faults")


@pytest.fixture
def on_servers(tmp_path: Path) -> Iterator[Callable[..., Application]]:
    """Makes an application on these servers, and lets its traffic flow until the test ends."""
    with ExitStack() as stack:

        def make(servers: str, **settings: Any) -> Application:
            return stack.enter_context(Application(servers, tmp_path, **settings))

        yield make


@pytest.fixture
def application(broker: Broker, on_servers: Callable[..., Application]) -> Callable[..., Application]:
    """Makes an application on the shared broker."""

    def make(**settings: Any) -> Application:
        return on_servers(broker.bootstrap_servers, **settings)

    return make


@pytest.fixture
def kafka(kafka_jars: Callable[..., KafkaJars]) -> KafkaJars:
    """A broker that may be hurt."""
    return kafka_jars()
