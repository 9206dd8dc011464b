"""Where tests get a broker: the first rung of the ladder that can be had, or the one that the environment forces.

| rung     | broker                                                         | where it can be had                     |
|----------|----------------------------------------------------------------|-----------------------------------------|
| env      | FRAMEWORK_TEST_BOOTSTRAP_SERVERS, else KAFKA_BOOTSTRAP_SERVERS | named                                   |
| docker   | the image KAFKA_IMAGE, through testcontainers                  | named, and an engine has or can pull it |
| jars     | Apache Kafka's jars, by Maven coordinates                      | Java, and the jars or Maven             |
| embedded | `framework.embedded.broker`                                    | always; not a real Kafka                |

FRAMEWORK_TEST_BROKER forces a rung by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from framework.embedded.broker import PARTITIONS, EmbeddedBroker
from framework.records import Record
from framework.testing.brokers.jars import KAFKA_VERSION, KafkaJars, fetch_jars, jars_missing, java_version
from framework.testing.brokers.traffic import create_topic, make_topic_by_asking, produce, read_topic

__all__ = ["Broker", "Docker", "Embedded", "Jars", "KafkaJars", "Named", "NoBrokerError", "Rung", "choose_rung"]

_ENGINE_SECONDS = 5


class NoBrokerError(Exception):
    """The rung that the environment forces cannot be had."""


@dataclass(frozen=True)
class Broker:
    """A running broker; `real` tells Apache Kafka from the embedded one."""

    bootstrap_servers: str
    real: bool
    description: str

    def create_topic(self, partitions: int = PARTITIONS, config: Mapping[str, str] | None = None) -> str:
        """Create a topic with a name of its own, and return the name.

        `config`: settings of the topic by Kafka's names. Raises `ValueError` on the embedded broker, which has topics
        of 4 partitions without settings, for others. Raises `TypeError` for a name: it is made up.
        """
        if type(partitions) is not int:
            raise TypeError(f"create_topic takes a number of partitions, and makes up the name; not {partitions!r}")
        if self.real:
            return create_topic(self.bootstrap_servers, partitions, config)
        if partitions != PARTITIONS or config:
            raise ValueError(f"the embedded broker has topics of {PARTITIONS} partitions without settings only")
        return make_topic_by_asking(self.bootstrap_servers)

    def produce(
        self,
        topic: str,
        records: Iterable[tuple[str | bytes | None, str | bytes | None]],
        *,
        partition: int | None = None,
    ) -> list[tuple[int, int]]:
        """Send records, pairs of key and value, in order; return the partition and the offset of each.

        `partition`: None for the one that Kafka's clients choose by the key. Raises `confluent_kafka.KafkaException` if
        the broker refuses a record.
        """
        pairs = list(records)
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
        return produce(self.bootstrap_servers, topic, keys, values, partitions=partition)

    def read(self, topic: str) -> list[Record]:
        """Return all records of a topic, by partition and offset. Keys, values and headers are bytes.

        Records of transactions that were aborted or are open are left out, except on the embedded broker. Raises
        `TimeoutError` if the end is not reached.
        """
        return read_topic(self.bootstrap_servers, topic, committed=self.real)


class Rung(ABC):
    """One way to get a broker."""

    name: ClassVar[str]
    real: ClassVar[bool] = True

    @abstractmethod
    def missing(self) -> str | None:
        """Why it cannot be had; None if it can. Quick, and starts nothing."""

    @abstractmethod
    def description(self) -> str:
        """What it is, with its version where known."""

    def prepare(self) -> None:
        """Fetch what takes long, before the first test's timeout begins to run."""
        return

    @abstractmethod
    def running(self, directory: Path) -> AbstractContextManager[str]:
        """Run it, with its files under `directory`; gives its bootstrap servers."""

    @contextmanager
    def broker(self, directory: Path) -> Iterator[Broker]:
        """Fetch what it needs, and run it."""
        self.prepare()
        with self.running(directory) as servers:
            yield Broker(servers, self.real, self.description())


class Named(Rung):
    name = "env"

    def __init__(self, servers: str | None) -> None:
        self._servers = servers or ""

    def missing(self) -> str | None:
        return None if self._servers else "no FRAMEWORK_TEST_BOOTSTRAP_SERVERS or KAFKA_BOOTSTRAP_SERVERS"

    def description(self) -> str:
        return f"Kafka at {self._servers}, named by the environment"

    @contextmanager
    def running(self, directory: Path) -> Iterator[str]:
        yield self._servers


class Docker(Rung):
    name = "docker"

    def __init__(self, image: str | None) -> None:
        self._image = image or ""

    def missing(self) -> str | None:
        if not self._image:
            return "KAFKA_IMAGE names no image"
        import docker
        from docker.errors import DockerException, ImageNotFound

        try:
            with closing(docker.from_env(timeout=_ENGINE_SECONDS)) as engine:
                try:
                    engine.images.get(self._image)
                except ImageNotFound:
                    engine.images.get_registry_data(self._image)
        except (DockerException, OSError) as error:
            return f"no engine that has, or can pull, {self._image} ({error})"
        return None

    def description(self) -> str:
        return f"Kafka in Docker, image {self._image}"

    def prepare(self) -> None:
        import docker
        from docker.errors import ImageNotFound

        with closing(docker.from_env()) as engine:
            try:
                engine.images.get(self._image)
            except ImageNotFound:
                engine.images.pull(self._image)

    @contextmanager
    def running(self, directory: Path) -> Iterator[str]:
        from testcontainers.community.kafka import KafkaContainer

        container = KafkaContainer(self._image).with_kraft()
        container.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
        container.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
        container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        with container:
            yield container.get_bootstrap_server()


class Jars(Rung):
    name = "jars"

    def missing(self) -> str | None:
        return jars_missing()

    def description(self) -> str:
        return f"Apache Kafka {KAFKA_VERSION} from its jars, on Java {java_version()}"

    def prepare(self) -> None:
        fetch_jars()

    @contextmanager
    def running(self, directory: Path) -> Iterator[str]:
        with KafkaJars(directory) as kafka:
            yield kafka.bootstrap_servers


class Embedded(Rung):
    name = "embedded"
    real = False

    def missing(self) -> str | None:
        return None

    def description(self) -> str:
        return "the embedded one"

    @contextmanager
    def running(self, directory: Path) -> Iterator[str]:
        with EmbeddedBroker() as embedded:
            yield embedded.bootstrap_servers


def choose_rung(environ: Mapping[str, str]) -> tuple[Rung, dict[str, str]]:
    """The rung to use, and why those above it are not. Raises `NoBrokerError` if a forced one cannot be had."""
    ladder: list[Rung] = [
        Named(environ.get("FRAMEWORK_TEST_BOOTSTRAP_SERVERS") or environ.get("KAFKA_BOOTSTRAP_SERVERS")),
        Docker(environ.get("KAFKA_IMAGE")),
        Jars(),
        Embedded(),
    ]
    if forced := environ.get("FRAMEWORK_TEST_BROKER"):
        return _forced_rung(ladder, forced), {}
    passed: dict[str, str] = {}
    for rung in ladder:
        if (reason := rung.missing()) is None:
            return rung, passed
        passed[rung.name] = reason
    raise NoBrokerError(f"no broker: {passed}")


def _forced_rung(ladder: list[Rung], name: str) -> Rung:
    for rung in ladder:
        if rung.name == name:
            if reason := rung.missing():
                raise NoBrokerError(f"FRAMEWORK_TEST_BROKER={name} cannot be had: {reason}")
            return rung
    names = ", ".join(rung.name for rung in ladder)
    raise NoBrokerError(f"FRAMEWORK_TEST_BROKER={name} is none of {names}")
