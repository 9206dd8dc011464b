"""The time from the creation of a record until it is applied, and until it is stored."""

from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Any, Final

from benchmarks.probes.protocol import run_probe
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.workers import Worker, Workers
from framework.testing.brokers.traffic import create_topic

DESCRIPTION: Final = "from produce to applied, and to stored, at up to 100,000 records a second; --records: the highest"
RECORDS: Final = 100_000
QUICK_RECORDS: Final = 10_000
_RATES: Final = (1_000, 10_000, 100_000)
_INTERVALS: Final = ("1s", "100ms")
_PARTITIONS: Final = 4
_SECONDS: Final = 6.0
_QUICK_SECONDS: Final = 2.0
_WARM_UP: Final = 1.0
"""Warm-up time, in seconds. Records that are created in it are not counted."""
_KINDS: Final = ("applied", "stored")

Row = dict[str, Any]


def run(session: Session) -> Report:
    """Produce to one worker after the other."""
    rates = [rate for rate in _RATES if rate <= session.settings.records] or [session.settings.records]
    _measure(session, rates[0], _INTERVALS[0])  # a broker that has just started is slow
    rows = [_measure(session, rate, interval) for interval in _INTERVALS for rate in rates]
    return Report(
        name="latency",
        rows=[_cells(row) for row in rows],
        data=rows,
        bars=list(_bars(rows)),
        unit="milliseconds from produce (median; the line goes to the 99th percentile)",
        notes=[
            f"{_PARTITIONS} partitions, keycount, sqlite, msgpack; the producer lingers for 1 ms, and it, the broker "
            "and the worker share this machine's cores",
            f"milliseconds, of some records of each batch, without those of the first {_WARM_UP:g} s",
        ],
    )


def _measure(session: Session, rate: int, interval: str) -> Row:
    topic = create_topic(session.bootstrap_servers, _PARTITIONS)
    task = {
        "servers": session.bootstrap_servers,
        "topic": topic,
        "partitions": _PARTITIONS,
        "rate": rate,
        "seconds": _QUICK_SECONDS if session.settings.quick else _SECONDS,
    }
    with Workers(session, topic, "waiting", f"--checkpoint-interval={interval}") as workers:
        worker = workers.start()
        worker.wait_for_partitions(_PARTITIONS)
        reached = run_probe(session, "producer", task)
        worker.end()
        waits = _waits(worker)
    row: Row = {"rate": rate, "reached": reached, "interval": interval, "samples": len(waits)}
    for index, kind in enumerate(_KINDS):
        percentiles = quantiles([wait[index] for wait in waits], n=100)
        row[kind] = {"p50": percentiles[49], "p99": percentiles[98], "most": max(wait[index] for wait in waits)}
    session.say(f"{_label(row)}: " + ", ".join(f"{kind} {_ms(row[kind]['p50'])} ms" for kind in _KINDS))
    return row


def _waits(worker: Worker) -> list[tuple[float, float]]:
    """Times until records were applied and stored, in seconds."""
    lines = (worker.directory / "waits").read_text().splitlines()
    times = [tuple(map(int, line.split())) for line in lines]
    first = min(made for made, _, _ in times) + _WARM_UP * 1e9
    return [((applied - made) / 1e9, (stored - made) / 1e9) for made, applied, stored in times if made >= first]


def _label(row: Row) -> str:
    return f"{row['rate']:,} records/s, stored each {row['interval']}"


def _cells(row: Row) -> dict[str, str]:
    cells = {"traffic": _label(row), "reached": f"{row['reached']:,.0f}"}
    for kind in _KINDS:
        for name in ("p50", "p99", "most"):
            cells[f"{kind} {name}"] = _ms(row[kind][name])
    return cells


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


def _bars(rows: Sequence[Row]) -> Iterator[Bar]:
    for row in rows:
        for kind in _KINDS:
            middle = row[kind]["p50"] * 1e3
            yield Bar(f"{_label(row)}, {kind}", middle, middle, row[kind]["p99"] * 1e3, is_ours=True)
