"""The contestants."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Final

from benchmarks.environments import Unavailable, installed_version, pinned_version, python_of

__all__ = ["CONTESTANTS", "Contestant", "chosen", "named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A program that reads a topic and counts; see `benchmarks.protocol`."""

    name: str
    description: str
    settings: Callable[[], str]
    """Its settings, as shown beside its figures."""
    version: Callable[[], str]
    command: Callable[[], Sequence[str]]
    """Builds the contestant if needed, and returns its command. Raises `Unavailable`."""
    durable: bool = True
    """Whether its counts outlive its process."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of its task, beside the topic."""
    scales: Sequence[int] = (1,)
    """Multiples of the usual number of records over which it is measured."""
    at_most: int | None = None
    """Largest number of records over which a slow one is measured."""

    def records(self, usual: int) -> list[int]:
        """Numbers of records over which it is measured."""
        return [min(usual * scale, self.at_most or usual * scale) for scale in self.scales]


def named(name: str) -> Contestant:
    """The contestant with this name. Raises KeyError."""
    return {contestant.name: contestant for contestant in CONTESTANTS}[name]


def chosen(patterns: Sequence[str]) -> list[Contestant]:
    """The contestants whose names match any of these globs. Raises KeyError for a glob without a match."""
    for pattern in patterns:
        if not any(fnmatch(contestant.name, pattern) for contestant in CONTESTANTS):
            raise KeyError(pattern)
    return [one for one in CONTESTANTS if any(fnmatch(one.name, pattern) for pattern in patterns)]


# ---- framework


def _ours(
    name: str,
    description: str,
    *,
    plugin: str = "keycount",
    store: str = "sqlite",
    codec: str = "msgpack",
    every: str = "1s",
    sums: str | None = None,
    speedups: bool = True,
    scales: Sequence[int] = (1,),
) -> Contestant:
    settings = {"store": store, "codec": codec, "checkpoint-interval": every}
    if sums is not None:
        settings["option"] = f"field={sums}"
    return Contestant(
        name=name,
        description=description,
        settings=lambda: " ".join(f"--{option} {value}" for option, value in settings.items()),
        version=lambda: f"{installed_version('framework')}, {'with' if speedups else 'without'} speedups",
        command=lambda: [sys.executable, "-m", "benchmarks.ours"],
        durable=store != "memory",
        options={"plugin": plugin, "settings": settings, "sums": sums is not None, "speedups": speedups},
        scales=scales,
    )


_OURS: Final = (
    _ours("ours", "framework run, keycount", scales=(1, 10)),
    _ours("ours-plain", "the same, without the accelerator in C", speedups=False, scales=(1, 10)),
    _ours("ours-json", "the same, state as JSON", codec="json"),
    _ours("ours-file", "the same, in the file store", store="file", codec="json"),
    _ours("ours-memory", "the same, in the memory store", store="memory"),
    _ours("ours-no-checkpoints", "the same, one checkpoint at the end", store="memory", every="1h"),
    _ours("ours-per-record", "framework run, a plugin with process alone", plugin=f"{__package__}.per_record:Visits"),
    _ours("ours-sumbykey", "framework run, sumbykey over JSON values", plugin="sumbykey", sums="n"),
)


# ---- clients, in the environment of this process


def _client(name: str, module: str, package: str, description: str, settings: str, **options: Any) -> Contestant:
    return Contestant(
        name=name,
        description=description,
        settings=lambda: settings,
        durable=name == "seed",
        version=lambda: f"{package} {installed_version(package)}",
        command=lambda: [sys.executable, "-m", f"benchmarks.peers.{module}"],
        options=options,
    )


_CLIENTS: Final = (
    _client("seed", "seed", "aiokafka", "aiokafka's example of local state", "whole state as JSON each second"),
    _client("getmany", "getmany", "aiokafka", "aiokafka's getmany, no work", "defaults"),
    _client("fetch-only", "fetch_only", "aiokafka", "aiokafka's fetches, nothing decoded: the bound", "defaults"),
    _client(
        "confluent",
        "confluent",
        "confluent-kafka",
        "confluent-kafka's consume, and a dict",
        "consume(10000), fetch.queue.backoff.ms 10",
        consumer={"fetch.queue.backoff.ms": 10},  # the default pauses for a second when the queue is full
    ),
    _client(
        "confluent-defaults",
        "confluent",
        "confluent-kafka",
        "the same, as it comes",
        "consume(10000)",
        consumer={},
    ),
)


# ---- Python frameworks, each in an environment of its own


def _peer(
    name: str,
    peer: str,
    package: str,
    description: str,
    settings: str,
    *,
    durable: bool = True,
    at_most: int | None = None,
    python: str | None = None,
    **options: Any,
) -> Contestant:
    return Contestant(
        name=name,
        description=description,
        settings=lambda: settings,
        durable=durable,
        version=lambda: f"{package} {pinned_version(peer, package)}",
        command=lambda: [str(python_of(peer, python)), "-m", f"benchmarks.peers.{peer}"],
        options=options,
        at_most=at_most,
    )


_PEERS: Final = (
    _peer(
        "faust",
        "faust",
        "faust-streaming",
        "Faust, a table in memory",
        "store memory://, changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="memory://",
    ),
    _peer(
        "faust-rocksdb",
        "faust",
        "faust-streaming",
        "Faust, a table in RocksDB",
        "store rocksdb:// (rocksdict), changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="rocksdb://",
    ),
    _peer(
        "quix",
        "quix",
        "quixstreams",
        "Quix Streams, RocksDB",
        "no changelog, commit each second",
        at_most=200_000,
        changelog=False,
    ),
    _peer(
        "quix-changelog",
        "quix",
        "quixstreams",
        "Quix Streams, RocksDB and changelog",
        "changelog, at least once, commit each second",
        at_most=200_000,
        changelog=True,
    ),
    _peer(
        "bytewax",
        "bytewax",
        "bytewax",
        "Bytewax, in memory",
        "one worker, batches of 10,000, no recovery",
        durable=False,
        recovery=False,
    ),
    _peer(
        "bytewax-recovery",
        "bytewax",
        "bytewax",
        "Bytewax, with its recovery store",
        "one worker, batches of 10,000, snapshot each second",
        recovery=True,
    ),
    _peer(
        "flechtwerk",
        "flechtwerk",
        "flechtwerk",
        "Flechtwerk, RocksDB and changelog, transactions",
        "batches of up to 10,000 instead of 500, no compression, uvloop",
        at_most=200_000,
        python="3.13",
        max_poll_records=10_000,
    ),
)


# ---- contestants on the JVM, each built by its own module


def _jvm(name: str, peer: str, description: str, **options: str) -> Contestant:
    def module() -> Any:
        return importlib.import_module(f"benchmarks.peers.{peer}")

    def command() -> Sequence[str]:
        try:
            built: Sequence[str] = module().command(options)
        except (OSError, RuntimeError) as error:
            raise Unavailable(str(error)) from error
        return built

    return Contestant(
        name=name,
        description=description,
        settings=lambda: str(module().settings(options)),
        version=lambda: str(module().version()),
        command=command,
        options=options,
        scales=(10,),
    )


_JVM: Final = (
    _jvm(
        "streams-alo-memory",
        "kafka_streams",
        "Kafka Streams, at least once, in memory",
        processing="at_least_once",
        store="memory",
    ),
    _jvm(
        "streams-alo-rocksdb",
        "kafka_streams",
        "Kafka Streams, at least once, RocksDB",
        processing="at_least_once",
        store="rocksdb",
    ),
    _jvm(
        "streams-eos-rocksdb",
        "kafka_streams",
        "Kafka Streams, exactly once, RocksDB",
        processing="exactly_once_v2",
        store="rocksdb",
    ),
    _jvm("flink-heap", "flink", "Flink, state on the heap", backend="heap"),
    _jvm("flink-rocksdb", "flink", "Flink, incremental RocksDB", backend="rocksdb"),
)

CONTESTANTS: Final = (*_OURS, *_CLIENTS, *_PEERS, *_JVM)
