"""The effect on the rate of the size of values, the number of keys and compression, one at a time."""

from dataclasses import replace
from typing import Final

from benchmarks.contestants import COUNTING, chosen
from benchmarks.measure import Entry, measure
from benchmarks.rates import report_rates
from benchmarks.report import Report
from benchmarks.session import Session
from benchmarks.traffic import Traffic

DESCRIPTION: Final = "values of 20 to 1000 bytes, 100 to 2 million keys, no compression, lz4 and zstd"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 200_000
_CONTESTANTS: Final = ("ours", "seed", "fetch-only")


def run(session: Session) -> Report:
    """Measure them topic by topic, in turns."""
    base = Traffic(session.settings.records, value_size=100)
    variants = {
        "values of 100 bytes, 100,000 keys, no compression": base,
        **{f"values of {size:,} bytes": replace(base, value_size=size) for size in (20, 1000)},
        **{f"{keys:,} keys": replace(base, keys=keys) for keys in (100, 2_000_000)},
        **{compression: replace(base, compression=compression) for compression in ("lz4", "zstd")},
    }
    contestants = chosen(session.settings.contestants or _CONTESTANTS, COUNTING)
    entries = []
    for label, traffic in variants.items():
        topic = session.topic(traffic)
        of_topic = [Entry(contestant, topic, label) for contestant in contestants]
        measure(session, of_topic)
        entries += of_topic
    return report_rates("sizes", entries, [], baseline="seed")
