"""Kafka Streams: one process with one stream thread that counts by key into a store with a changelog."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.jvm import JAVA_OPTIONS, java_command

__all__ = ["command", "settings", "version"]

_VERSION = "4.1.0"
_SUPPLIERS = "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$"
_STORES = {"rocksdb": f"{_SUPPLIERS}RocksDBDslStoreSuppliers", "memory": f"{_SUPPLIERS}InMemoryDslStoreSuppliers"}
_PROCESSING = ("at_least_once", "exactly_once_v2")


def command(options: Mapping[str, str]) -> list[str]:
    """The java command line of a run.

    `options`: `processing`, at_least_once or exactly_once_v2; `store`, rocksdb or memory.
    """
    coordinates = [f"org.apache.kafka:kafka-streams:{_VERSION}"]  # it brings Jackson too, which reads BENCHMARK
    arguments = [f"{name}={value}" for name, value in _properties(options).items()]
    return java_command(Path(__file__).with_name("KafkaStreamsCount.java"), coordinates, [], arguments)


def version() -> str:
    """The version of Kafka Streams."""
    return _VERSION


def settings(options: Mapping[str, str]) -> str:
    """The Java options and the properties of Kafka Streams that are not left at their defaults."""
    properties = (f"{name}={value.removeprefix(_SUPPLIERS)}" for name, value in _properties(options).items())
    return " ".join([*JAVA_OPTIONS, *properties])


def _properties(options: Mapping[str, str]) -> dict[str, str]:
    if options["processing"] not in _PROCESSING:
        raise ValueError(f"processing is {options['processing']!r}, not one of {', '.join(_PROCESSING)}")
    if options["store"] not in _STORES:
        raise ValueError(f"store is {options['store']!r}, not one of {', '.join(_STORES)}")
    return {
        "processing.guarantee": options["processing"],
        "dsl.store.suppliers.class": _STORES[options["store"]],
        "commit.interval.ms": "1000",
        "num.stream.threads": "1",
        "replication.factor": "1",
        # The record cache saves writes to the store and its changelog as far as it holds the keys.
        "statestore.cache.max.bytes": str(64 * 1024 * 1024),
    }
