"""The contestants that sum the field `amount` of JSON values for each key."""

from collections.abc import Sequence
from typing import Final

from benchmarks.contestants.builders import client, jvm, ours, peer
from benchmarks.contestants.contestant import Contestant

__all__ = ["SUMMING"]

_PLUGINS: Final = "benchmarks.plugins.amounts"

_OURS: Final = (
    ours("ours-sumbykey", "framework run, sumbykey, exact", plugin="sumbykey", field="amount", scales=(1, 10)),
    ours(
        "ours-sumbykey-plain",
        "the same, without the accelerator in C",
        plugin="sumbykey",
        field="amount",
        speedups=False,
    ),
    ours("ours-typed-batch", "values of a type, process_batch, floats", plugin=f"{_PLUGINS}:SumBatches", sums=True),
    ours("ours-typed-process", "values of a type, process, floats", plugin=f"{_PLUGINS}:SumRecords", sums=True),
)

_EACH_SECOND: Final = "whole state as JSON each second"
_CLIENTS: Final = (
    client(
        "seed-json",
        "seed",
        "aiokafka",
        "aiokafka's example, json.loads(parse_float=Decimal)",
        _EACH_SECOND,
        amounts="json-decimal",
    ),
    client(
        "seed-json-float", "seed", "aiokafka", "aiokafka's example, json.loads, floats", _EACH_SECOND, amounts="json"
    ),
    client(
        "seed-orjson",
        "seed",
        "aiokafka",
        "aiokafka's example, orjson, floats",
        _EACH_SECOND,
        peer="orjson",
        amounts="orjson",
    ),
    client(
        "confluent-orjson",
        "confluent",
        "confluent-kafka",
        "confluent-kafka's consume, orjson and a dict, floats",
        "consume(10000), fetch.queue.backoff.ms 10",
        peer="orjson",
        consumer={"fetch.queue.backoff.ms": 10},
        amounts="orjson",
    ),
)

_PEERS: Final = (
    peer(
        "quix-json",
        "quix",
        "quixstreams",
        "Quix Streams, its JSON deserializer, RocksDB, floats",
        "no changelog, commit each second",
        at_most=200_000,
        changelog=False,
        amounts="json",
    ),
    peer(
        "faust-json",
        "faust",
        "faust-streaming",
        "Faust, its JSON serializer, a table in memory, floats",
        "store memory://, changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="memory://",
        amounts="json",
    ),
    peer(
        "bytewax-json",
        "bytewax",
        "bytewax",
        "Bytewax, json.loads, its recovery store, floats",
        "one worker, batches of 10,000, snapshot each second",
        recovery=True,
        amounts="json",
    ),
)

_JVM: Final = (
    jvm("flink-jackson", "flink", "Flink, Jackson, state on the heap, doubles", backend="heap", amounts="json"),
    jvm(
        "kafka-streams-jackson",
        "kafka_streams",
        "Kafka Streams, Jackson, at least once, in memory, doubles",
        processing="at_least_once",
        store="memory",
        amounts="json",
    ),
)

SUMMING: Final[Sequence[Contestant]] = (*_OURS, *_CLIENTS, *_PEERS, *_JVM)
