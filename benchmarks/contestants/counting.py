"""The contestants that count the records of each key."""

from collections.abc import Sequence
from typing import Final

from benchmarks.contestants.builders import client, jvm, ours, peer
from benchmarks.contestants.contestant import Contestant

__all__ = ["COUNTING"]

_OURS: Final = (
    ours("ours", "framework run, keycount", scales=(1, 10)),
    ours("ours-plain", "the same, without the accelerator in C", speedups=False, scales=(1, 10)),
    ours("ours-json", "the same, state as JSON", codec="json"),
    ours("ours-file", "the same, in the file store", store="file", codec="json"),
    ours("ours-memory", "the same, in the memory store", store="memory"),
    ours("ours-no-checkpoints", "the same, one checkpoint at the end", store="memory", every="1h"),
    ours("ours-per-record", "framework run, a plugin with process alone", plugin="benchmarks.per_record:Visits"),
    ours("ours-sumbykey", "framework run, sumbykey over JSON values", plugin="sumbykey", field="n"),
)

_CLIENTS: Final = (
    client("seed", "seed", "aiokafka", "aiokafka's example of local state", "whole state as JSON each second"),
    client("getmany", "getmany", "aiokafka", "aiokafka's getmany, no work", "defaults"),
    client("fetch-only", "fetch_only", "aiokafka", "aiokafka's fetches, nothing decoded: the bound", "defaults"),
    client(
        "confluent",
        "confluent",
        "confluent-kafka",
        "confluent-kafka's consume, and a dict",
        "consume(10000), fetch.queue.backoff.ms 10",
        consumer={"fetch.queue.backoff.ms": 10},  # the default pauses for a second when the queue is full
    ),
    client(
        "confluent-defaults",
        "confluent",
        "confluent-kafka",
        "the same, as it comes",
        "consume(10000)",
        consumer={},
    ),
)

_PEERS: Final = (
    peer(
        "faust",
        "faust",
        "faust-streaming",
        "Faust, a table in memory",
        "store memory://, changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="memory://",
    ),
    peer(
        "faust-rocksdb",
        "faust",
        "faust-streaming",
        "Faust, a table in RocksDB",
        "store rocksdb:// (rocksdict), changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="rocksdb://",
    ),
    peer(
        "quix",
        "quix",
        "quixstreams",
        "Quix Streams, RocksDB",
        "no changelog, commit each second",
        at_most=200_000,
        changelog=False,
    ),
    peer(
        "quix-changelog",
        "quix",
        "quixstreams",
        "Quix Streams, RocksDB and changelog",
        "changelog, at least once, commit each second",
        at_most=200_000,
        changelog=True,
    ),
    peer(
        "bytewax",
        "bytewax",
        "bytewax",
        "Bytewax, in memory",
        "one worker, batches of 10,000, no recovery",
        durable=False,
        recovery=False,
    ),
    peer(
        "bytewax-recovery",
        "bytewax",
        "bytewax",
        "Bytewax, with its recovery store",
        "one worker, batches of 10,000, snapshot each second",
        recovery=True,
    ),
    peer(
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

_JVM: Final = (
    jvm(
        "streams-alo-memory",
        "kafka_streams",
        "Kafka Streams, at least once, in memory",
        processing="at_least_once",
        store="memory",
    ),
    jvm(
        "streams-alo-rocksdb",
        "kafka_streams",
        "Kafka Streams, at least once, RocksDB",
        processing="at_least_once",
        store="rocksdb",
    ),
    jvm(
        "streams-eos-rocksdb",
        "kafka_streams",
        "Kafka Streams, exactly once, RocksDB",
        processing="exactly_once_v2",
        store="rocksdb",
    ),
    jvm("flink-heap", "flink", "Flink, state on the heap", backend="heap"),
    jvm("flink-rocksdb", "flink", "Flink, incremental RocksDB", backend="rocksdb"),
)

COUNTING: Final[Sequence[Contestant]] = (*_OURS, *_CLIENTS, *_PEERS, *_JVM)
