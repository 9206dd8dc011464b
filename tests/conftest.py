"""The broker that tests share, and traffic for it. Which broker it is stands in pytest's header."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from framework.embedded.broker import PARTITIONS
from framework.records import Record
from framework.testing.brokers import Broker, KafkaJars, NoBrokerError, Rung, choose_rung
from framework.testing.brokers.jars import jars_missing
from framework.testing.brokers.traffic import produce as produce_records
from framework.testing.brokers.traffic import read_topic as read_records

# No test depends on how fast a machine is.
settings.register_profile(
    "without-deadline", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("without-deadline")

_RUNG = pytest.StashKey[Rung]()
_PASSED_RUNGS = pytest.StashKey[dict[str, str]]()
_KAFKA_REQUIRED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores SIGINT, and so would every process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_KAFKA_REQUIRED] = os.environ.get("FRAMEWORK_REQUIRE_KAFKA") == "1"
    try:
        config.stash[_RUNG], config.stash[_PASSED_RUNGS] = choose_rung(os.environ)
    except NoBrokerError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    return f"broker: {_described(config)}"


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any("broker" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        session.config.stash[_RUNG].prepare()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kafka") and not item.config.stash[_RUNG].real:
        pytest.skip(f"needs a real Kafka; broker: {_described(item.config)}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and item.get_closest_marker("kafka") and item.config.stash[_KAFKA_REQUIRED]:
        report.outcome = "failed"
        report.longrepr = f"FRAMEWORK_REQUIRE_KAFKA=1 allows no skip, but: {report.longreprtext}"
    return report


def _described(config: pytest.Config) -> str:
    reasons = [f"{name}: {reason}" for name, reason in config.stash[_PASSED_RUNGS].items()]
    return "; ".join([config.stash[_RUNG].description(), *reasons])


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What configures framework comes from the test alone."""
    for name in [*os.environ]:
        if name.startswith(("FRAMEWORK_", "KAFKA_BOOTSTRAP")) and not name.startswith("FRAMEWORK_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker that all tests share, started at its first use. Mark a test `kafka` if it needs a real one."""
    rung = pytestconfig.stash[_RUNG]
    with rung.broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def kafka_jars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., KafkaJars]]:
    """Starts brokers of the test's own, `kafka_jars(properties)`, to stop, kill and restart; closed after it."""
    if reason := jars_missing():
        pytest.skip(f"needs a broker of its own: {reason}")
    with ExitStack() as started:

        def start(properties: Mapping[str, str] | None = None) -> KafkaJars:
            return started.enter_context(KafkaJars(tmp_path_factory.mktemp("kafka"), properties))

        yield start


@pytest.fixture
def topic(broker: Broker) -> Callable[..., str]:
    """Creates a topic, `topic(partitions=4, config=None)`, and gives its name.

    The embedded broker knows topics of 4 partitions without configuration: a test that asks for others is skipped.
    """

    def create(partitions: int = PARTITIONS, config: Mapping[str, str] | None = None) -> str:
        try:
            return broker.create_topic(partitions, config)
        except ValueError as error:
            pytest.skip(str(error))

    return create


@pytest.fixture
def produce(broker: Broker) -> Callable[..., list[tuple[int, int]]]:
    """Sends records to the shared broker, see `framework.testing.brokers.traffic.produce`."""
    return partial(produce_records, broker.bootstrap_servers)


@pytest.fixture
def read_topic(broker: Broker) -> Callable[..., list[Record]]:
    """Reads a whole topic of the shared broker, see `framework.testing.brokers.traffic.read_topic`.

    The embedded broker does not know which transactions were aborted, and gives their records too.
    """
    if broker.real:
        return partial(read_records, broker.bootstrap_servers)
    return partial(read_records, broker.bootstrap_servers, committed=False)
