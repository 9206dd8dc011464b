"""The rate of framework alone, by the numbers of partitions and of processes."""

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.contestants import COUNTING, named
from benchmarks.measure import Entry, measure
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.topic import Topic
from benchmarks.traffic import Traffic
from benchmarks.workers import Note, WorkerError, Workers

DESCRIPTION: Final = "records a second of framework, by the number of partitions and of processes"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 200_000
_PARTITIONS: Final = (1, 4, 16, 64)
_SHARED: Final = 4
"""Partitions that several processes share."""
_PROCESSES: Final = (1, 2)
_SHARED_TIMES: Final = 10
"""Multiple of the usual number of records, so that all processes work for a while."""
_SOON: Final = "--kafka=heartbeat_interval_ms=200"
"""Notices the other process before all records are read."""
_SECONDS: Final = 120.0

Row = dict[str, Any]


def run(session: Session) -> Report:
    """Measure one process over topics of more and more partitions, then two processes that share a topic."""
    usual = session.settings.records
    entries = [Entry(named("ours", COUNTING), session.topic(Traffic(usual, partitions=count))) for count in _PARTITIONS]
    measure(session, entries)
    topic = session.topic(Traffic(_SHARED_TIMES * usual, partitions=_SHARED))
    rows = [_row(entry.topic, 1, [run.rate for run in entry.runs]) for entry in entries if entry.runs]
    rows += [_row(topic, count, _shared_rates(session, topic, count)) for count in _PROCESSES]
    return Report(
        name="growth",
        rows=[_cells(row) for row in rows],
        data=rows,
        bars=[_bar(row) for row in rows],
        unit="records a second",
        failures={f"{entry.topic.traffic}": entry.failure for entry in entries if entry.failure is not None},
        is_sound=not any(entry.failed for entry in entries),
        notes=[
            "keycount, sqlite, msgpack, a checkpoint each second; the broker shares the cores with the processes, so "
            "with two cores, two processes and the broker compete for them",
            f"rates over {_SHARED_TIMES * usual:,} records are of the time in which all processes were at work",
        ],
    )


def _shared_rates(session: Session, topic: Topic, processes: int) -> list[float]:
    times = session.settings.repetitions
    rates = [_shared_rate(session, topic, processes) for _ in range(times)]
    session.say(f"processes that share {_SHARED} partitions: {processes}: {median(rates):,.0f} a second")
    return rates


def _shared_rate(session: Session, topic: Topic, processes: int) -> float:
    """The rate of all processes together, from the start of the last one until the first one has no more records."""
    with Workers(session, topic.name, "noting", "--stop-at-end", _SOON) as workers:
        for _ in range(processes):
            workers.start()
        for worker in workers.all:
            worker.wait(_SECONDS)
        return _rate([worker.notes() for worker in workers.all])


def _rate(notes: Sequence[Sequence[Note]]) -> float:
    applied = [[note for note in of_worker if note.records] for of_worker in notes]
    if not all(applied):
        raise WorkerError("one process had nothing left to do; give more --records")
    began = max(of_worker[0].time for of_worker in applied)
    ended = min(of_worker[-1].time for of_worker in applied)
    return sum(note.records for of_worker in applied for note in of_worker if began < note.time <= ended) / (
        ended - began
    )


def _row(topic: Topic, processes: int, rates: Sequence[float]) -> Row:
    return {
        "partitions": topic.traffic.partitions,
        "processes": processes,
        "records": topic.traffic.records,
        "records_per_second": median(rates),
        "rates": rates,
    }


def _cells(row: Row) -> dict[str, str]:
    return {
        "partitions": str(row["partitions"]),
        "processes": str(row["processes"]),
        "records": f"{row['records']:,}",
        "records/s": f"{row['records_per_second']:,.0f}",
        "min - max": f"{min(row['rates']):,.0f} - {max(row['rates']):,.0f}",
    }


def _bar(row: Row) -> Bar:
    label = f"{row['partitions']} partitions, {row['processes']} processes ({row['records']:,})"
    return Bar(label, min(row["rates"]), row["records_per_second"], max(row["rates"]), is_ours=True)
