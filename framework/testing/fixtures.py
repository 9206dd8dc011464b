"""The pytest plugin: fixtures for the tests of plugins.

| fixture | what it gives |
|---|---|
| `embedded_broker` | a `framework.testing.Broker` of the test's own, in its process; it starts in a tenth of a second |
| `kafka_broker` | a `framework.testing.Broker` that is a real Kafka, for all tests of the session |
| `framework_run` | a function that runs `framework run` in a process of its own, see `run_framework` |

`kafka_broker` is the broker of `FRAMEWORK_TEST_BOOTSTRAP_SERVERS`, a container of the image `KAFKA_IMAGE`, or Apache
Kafka's jars, whichever can be had first. If none can be had, its tests are skipped; with `FRAMEWORK_REQUIRE_KAFKA=1`
they fail.

pytest imports this module in every session where framework is installed. So it imports nothing that takes long.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from framework.testing import Broker, Run

__all__ = ["embedded_broker", "framework_run", "kafka_broker"]

pytest.register_assert_rewrite(
    *(f"framework.testing.{name}" for name in ("codecs", "formats", "processors", "runs", "store_model", "stores"))
)


@pytest.fixture
def embedded_broker(tmp_path: Path) -> "Iterator[Broker]":
    """A broker in the process of the test; topics appear when they are used first, and have 4 partitions."""
    from framework.testing.brokers import Embedded

    with Embedded().broker(tmp_path) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Broker]":
    """A real Kafka that all tests share; create a topic for each test."""
    from framework.testing.brokers import choose_rung

    rung, passed = choose_rung(os.environ)
    if not rung.real:
        reason = f"needs a real Kafka; {'; '.join(f'{name}: {reason}' for name, reason in passed.items())}"
        if os.environ.get("FRAMEWORK_REQUIRE_KAFKA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with rung.broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def framework_run(tmp_path: Path) -> "Callable[..., Run]":
    """Run `framework run` to its end: `framework_run("--plugin", "mine", "--input", "a.csv", "--stop-at-end")`.

    The arguments `timeout` and `status` are as for `framework.testing.runs.run_framework`. The runs of a test share
    their state.
    """
    from framework.testing.runs import run_framework

    return partial(run_framework, directory=tmp_path)
