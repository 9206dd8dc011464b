"""The contestants that count the records of each key in windows of event time."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.contestants.builders import jvm, ours, peer
from benchmarks.contestants.contestant import Contestant
from benchmarks.traffic import OUT_OF_ORDER

__all__ = ["GAP", "SESSIONS", "SIZE", "TUMBLING"]

SIZE: Final = 60_000
"""The length of tumbling windows, in milliseconds."""
GAP: Final = 3_999
"""The gap of sessions, in milliseconds."""

_KEPT: Final = {"keep": "1000d"}
_TUMBLING: Final[Mapping[str, Any]] = {"window": "tumbling", "length": str(SIZE), "out_of_order": str(OUT_OF_ORDER)}
_SESSIONS: Final[Mapping[str, Any]] = {"window": "session", "length": str(GAP), "out_of_order": str(OUT_OF_ORDER)}

TUMBLING: Final[Sequence[Contestant]] = (
    ours(
        "ours-tumbling",
        "framework run, framework-window, all windows are kept",
        plugin="window",
        window={"kind": "tumbling", "size": f"{SIZE}ms", **_KEPT},
        scales=(1, 10),
    ),
    jvm("flink-tumbling", "flink", "Flink, state on the heap", backend="heap", **_TUMBLING),
    jvm(
        "streams-tumbling",
        "kafka_streams",
        "Kafka Streams, at least once, in memory, all windows are kept",
        processing="at_least_once",
        store="memory",
        **_TUMBLING,
    ),
    peer(
        "quix-tumbling",
        "quix",
        "quixstreams",
        "Quix Streams, RocksDB",
        "no changelog, commit each second, final results",
        at_most=200_000,
        changelog=False,
        **_TUMBLING,
    ),
    peer(
        "faust-tumbling",
        "faust",
        "faust-streaming",
        "Faust, a windowed table in memory, all windows are kept",
        "store memory://, changelog, producer_linger 50 ms, uvloop, commit each second",
        at_most=50_000,
        store="memory://",
        **_TUMBLING,
    ),
    peer(
        "bytewax-tumbling",
        "bytewax",
        "bytewax",
        "Bytewax, count_window, its recovery store",
        "one worker, batches of 10,000, snapshot each second, windows close an hour later",
        at_most=200_000,
        recovery=True,
        **_TUMBLING,
    ),
)

SESSIONS: Final[Sequence[Contestant]] = (
    ours(
        "ours-session",
        "framework run, framework-window, all sessions are kept",
        plugin="window",
        window={"kind": "session", "gap": f"{GAP}ms", **_KEPT},
    ),
    jvm("flink-session", "flink", "Flink, state on the heap", backend="heap", **_SESSIONS),
    jvm(
        "streams-session",
        "kafka_streams",
        "Kafka Streams, at least once, RocksDB, all sessions are kept",
        at_most=1_000_000,
        processing="at_least_once",
        store="rocksdb",
        **_SESSIONS,
    ),
    peer(
        "bytewax-session",
        "bytewax",
        "bytewax",
        "Bytewax, count_window, its recovery store",
        "one worker, batches of 10,000, snapshot each second, windows close an hour later",
        at_most=200_000,
        recovery=True,
        **_SESSIONS,
    ),
)
