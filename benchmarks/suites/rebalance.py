"""The time without progress when a second worker joins, leaves, and is killed, under steady traffic."""

import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.probes.protocol import probe_beside, run_probe
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.workers import WorkerError, Workers
from framework.testing.brokers.traffic import create_topic

DESCRIPTION: Final = "time without progress as a second worker joins and leaves; --records: keys of large state"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 0
_PARTITIONS: Final = 16
_RATE: Final = 5_000
_SETTLING: Final = 2.0
"""Time of steady work before each event, in seconds."""
_WATCHED: Final = {"joins": 6.0, "leaves": 5.0, "is killed": 16.0}
"""The events of the second worker, and the time for which partitions are watched after each, in seconds."""
_CYCLE: Final = ("joins", "leaves", "joins", "is killed")
_QUICK_CYCLE: Final = ("joins", "leaves")

Row = dict[str, Any]


def run(session: Session) -> Report:
    """Run one worker all the time, and let a second one join and leave several times, with small and large state."""
    sizes = [0, session.settings.records] if session.settings.records else [0]
    rows = [row for keys in sizes for row in _measure(session, keys)]
    return Report(
        name="rebalance",
        rows=[_cells(row) for row in rows],
        data=rows,
        bars=list(_bars(rows)),
        unit="seconds without progress of a partition",
        notes=[
            f"{_PARTITIONS} partitions, {_RATE:,} records/s over them all, keycount, sqlite, msgpack; from the last "
            "record before to the first one after; medians over partitions and repetitions",
            "a worker that is killed has left when its session times out, after 10 s",
        ],
    )


def _measure(session: Session, keys: int) -> Iterator[Row]:
    cycle = _QUICK_CYCLE if session.settings.quick else _CYCLE
    times = session.settings.repetitions
    found: dict[str, list[_Standstill]] = {event: [] for event in _WATCHED}
    for _ in range(times):
        for event, standstills in _run_cycle(session, keys, cycle):
            found[event] += standstills
    for event, standstills in found.items():
        if standstills:
            yield {"keys": keys, "event": event, **_figures(standstills)}


class _Standstill(NamedTuple):
    """The longest time in which no record of a partition was applied."""

    seconds: float
    has_moved: bool


def _run_cycle(session: Session, keys: int, cycle: Sequence[str]) -> Iterator[tuple[str, list[_Standstill]]]:
    """The effect of each event on the partitions."""
    topic = create_topic(session.bootstrap_servers, _PARTITIONS)
    with Workers(session, topic, "noting") as workers:
        if keys:
            _write_state(session, workers, topic, keys)
        workers.start().wait_for_partitions(_PARTITIONS)
        with probe_beside(session, "producer", _traffic(session, topic)):
            for event in cycle:
                time.sleep(_SETTLING)
                at = time.time()
                _happen(workers, event)
                time.sleep(max(0.0, at + _WATCHED[event] - time.time()))
                standstills = _standstills(workers, at)
                session.say(f"state of {keys:,} keys, the second worker {event}: {_said(standstills)}")
                yield event, standstills


def _write_state(session: Session, workers: Workers, topic: str, keys: int) -> None:
    where = {"directory": str(workers.state), "group": workers.group, "plugin": "noting", "topic": topic}
    run_probe(session, "states", where | {"codec": "msgpack", "keys": keys, "partitions": _PARTITIONS, "rows": False})


def _traffic(session: Session, topic: str) -> Row:
    where = {"servers": session.bootstrap_servers, "topic": topic, "partitions": _PARTITIONS}
    return where | {"rate": _RATE, "seconds": 2 * sum(_WATCHED.values()) + 60}


def _happen(workers: Workers, event: str) -> None:
    match event:
        case "joins":
            workers.start()
        case "leaves":
            workers.all[-1].end()
        case _:
            workers.all[-1].end(signal.SIGKILL)


def _standstills(workers: Workers, since: float) -> list[_Standstill]:
    """The pause of each partition. Raises `WorkerError` for a partition without any further record."""
    applied: list[list[tuple[float, int]]] = [[] for _ in range(_PARTITIONS)]
    for number, worker in enumerate(workers.all):
        for note in worker.notes():
            if note.records:
                applied[note.partition].append((note.time, number))
    return [_standstill(sorted(of_partition), since) for of_partition in applied]


def _standstill(applied: Sequence[tuple[float, int]], since: float) -> _Standstill:
    steps = [(one, other) for one, other in pairwise(applied) if other[0] >= since]
    if not steps:
        raise WorkerError("a partition stood still to the end")
    longest = max(other[0] - one[0] for one, other in steps)
    return _Standstill(longest, has_moved=steps[0][0][1] != applied[-1][1])


def _figures(standstills: Sequence[_Standstill]) -> Row:
    row: Row = {}
    for name, moved in (("stay", False), ("move", True)):
        seconds = [one.seconds for one in standstills if one.has_moved == moved]
        row[name] = {"median": median(seconds), "least": min(seconds), "most": max(seconds), "count": len(seconds)}
    return row


def _said(standstills: Sequence[_Standstill]) -> str:
    return f"{median(one.seconds for one in standstills):.2f} s"


def _cells(row: Row) -> dict[str, str]:
    cells = {"keys of state": f"{row['keys']:,}", "the second worker": row["event"]}
    for name in ("stay", "move"):
        cells[f"{name}: median s"] = f"{row[name]['median']:.2f}"
        cells[f"{name}: most"] = f"{row[name]['most']:.2f}"
    return cells


def _bars(rows: Sequence[Row]) -> Iterator[Bar]:
    for row in rows:
        for name in ("stay", "move"):
            found = row[name]
            label = f"{row['keys']:,} keys, the second worker {row['event']}: partitions that {name}"
            yield Bar(label, found["least"], found["median"], found["most"], is_ours=True)
