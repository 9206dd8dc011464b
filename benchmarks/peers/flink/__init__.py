"""Flink: one process, a mini-cluster with one slot, that counts by key into checkpointed state."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.jvm import JAVA_OPTIONS, java_command

__all__ = ["command", "settings", "version"]

_VERSION = "1.20.3"
_CONNECTOR_VERSION = "3.4.0-1.20"
_BACKENDS = {"heap": "hashmap", "rocksdb": "rocksdb"}
_JAVA_OPTIONS = (
    # Of the packages that Flink's own scripts open on Java 17, those that its serializers look into.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    # It warns of each of a consumer's metrics.
    "-Dorg.slf4j.simpleLogger.log.org.apache.flink.metrics.MetricGroup=error",
)


def command(options: Mapping[str, str]) -> list[str]:
    """The java command line of a run. `options`: `backend`, heap or rocksdb."""
    coordinates = [  # the connector brings Jackson too, which reads BENCHMARK
        f"org.apache.flink:flink-streaming-java:{_VERSION}",
        f"org.apache.flink:flink-clients:{_VERSION}",
        f"org.apache.flink:flink-connector-base:{_VERSION}",
        f"org.apache.flink:flink-statebackend-rocksdb:{_VERSION}",
        f"org.apache.flink:flink-connector-kafka:{_CONNECTOR_VERSION}",
    ]
    arguments = [f"{name}={value}" for name, value in _configuration(options).items()]
    return java_command(Path(__file__).with_name("FlinkCount.java"), coordinates, _JAVA_OPTIONS, arguments)


def version() -> str:
    """The version of Flink."""
    return _VERSION


def settings(options: Mapping[str, str]) -> str:
    """The Java options and the parts of Flink's configuration that are not left at their defaults."""
    return " ".join([*JAVA_OPTIONS, *(f"{name}={value}" for name, value in _configuration(options).items())])


def _configuration(options: Mapping[str, str]) -> dict[str, str]:
    if options["backend"] not in _BACKENDS:
        raise ValueError(f"backend is {options['backend']!r}, not one of {', '.join(_BACKENDS)}")
    rocksdb = {
        "execution.checkpointing.incremental": "true",
        # What a task manager of the default size gives RocksDB; a mini-cluster's default is a quarter of it.
        "taskmanager.memory.managed.size": "512m",
    }
    return {
        "state.backend.type": _BACKENDS[options["backend"]],
        "parallelism.default": "1",
        "pipeline.object-reuse": "true",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.interval": "1s",
        "execution.checkpointing.storage": "filesystem",
        "restart-strategy.type": "none",
        **(rocksdb if options["backend"] == "rocksdb" else {}),
    }
