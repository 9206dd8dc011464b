"""The broker that all contestants read from: Apache Kafka from its jars, configured as in production."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from framework.testing.brokers.jars import KAFKA_VERSION as VERSION
from framework.testing.brokers.jars import KafkaJars, java_version

__all__ = ["JAVA_OPTIONS", "VERSION", "Broker", "java_version"]

JAVA_OPTIONS: Final = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")

_PROPERTIES: Final = {  # Kafka's defaults; the tests' broker uses shorter times
    "log.initial.task.delay.ms": "30000",
    "log.retention.check.interval.ms": "300000",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.backoff.ms": "15000",
    "log.cleaner.min.cleanable.ratio": "0.5",
    "log.cleaner.dedupe.buffer.size": "134217728",
    "group.min.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "2000",
    "broker.session.timeout.ms": "9000",
}


class Broker(KafkaJars):
    """A broker with a large heap and the full JIT compiler."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, _PROPERTIES)

    def _java(self, *arguments: str) -> list[str]:
        command: Sequence[str] = super()._java(*arguments)
        return [command[0], *JAVA_OPTIONS, *command[command.index("-cp") :]]
