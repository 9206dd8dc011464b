"""The time until a worker with state continues: the restore, and the time from exec to the first applied record."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final

from benchmarks.probes.protocol import run_probe
from benchmarks.probes.tasks import GROUP, PARTITIONS, PLUGIN, TOPIC
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.targets import Measured, Target
from benchmarks.topic import Topic
from benchmarks.traffic import Traffic
from benchmarks.workers import Workers

DESCRIPTION: Final = "restoring 1 and 10 million keys, and starts with up to 1 million; --records: the most keys"
RECORDS: Final = 10_000_000
QUICK_RECORDS: Final = 200_000
_SIZES: Final = (1_000_000, 10_000_000)
_LAYOUTS: Final = (("msgpack", False), ("json", False), ("msgpack", True))
"""Codecs, and whether rows of changes have as many bytes as the base."""
_OFTEN_UP_TO: Final = 1_000_000
"""Number of keys. Larger states are restored once, and without rows of changes, which take minutes to write."""
_STARTS: Final = (0, 100_000, 1_000_000)
_START_RECORDS: Final = 10_000
_START_SECONDS: Final = 60.0

Row = dict[str, Any]


def run(session: Session) -> Report:
    """Restore one state after the other, each in a process of its own; then start workers."""
    most = session.settings.records
    sizes = [keys for keys in _SIZES if keys <= most] or [most]
    restores = [
        _restore(session, codec, keys, rows)
        for keys in sizes
        for codec, rows in _LAYOUTS
        if keys <= _OFTEN_UP_TO or not rows
    ]
    topic = session.topic(Traffic(_START_RECORDS, partitions=PARTITIONS))
    starts = [_start(session, topic, keys) for keys in _STARTS if keys <= most]
    return Report(
        name="restore",
        rows=[*map(_restore_cells, restores), *map(_start_cells, starts)],
        data={"restores": restores, "starts": starts},
        bars=[*_bars(restores), *_bars(starts)],
        unit="seconds",
        targets=list(_targets(restores)),
        notes=[
            "4 partitions in the sqlite store; half changes: as many bytes in rows of changes as in the base",
            "stall: the longest time without a turn of the event loop; its CPU: what the process computed meanwhile; "
            "drop: the same when memory is let go",
            f"a loop with nothing to do stalled up to {max(row['idle_stall'] for row in restores) * 1e3:.1f} ms here",
            f"start: framework run, from exec until the first record is applied, over {_START_RECORDS:,} records",
        ],
    )


def _restore(session: Session, codec: str, keys: int, rows: bool) -> Row:
    directory = session.scratch("state")
    where = {"directory": str(directory), "codec": codec}
    _write(session, where | {"group": GROUP, "plugin": PLUGIN, "topic": TOPIC, "keys": keys, "rows": rows})
    times = session.settings.repetitions if keys <= _OFTEN_UP_TO else 1
    runs = [run_probe(session, "restore", where) for _ in range(times)]
    session.discard(directory)
    label = f"restore {keys:,} keys, {codec}{', half changes' if rows else ''}"
    session.say(f"{label}: {median(run['seconds'] for run in runs):.2f} s")
    middle = {name: median(run[name] for run in runs) for name in ("seconds", "cpu", "memory", "bytes")}
    worst = max(runs, key=lambda run: float(run["stall"]))
    return {
        "label": label,
        "codec": codec,
        "keys": keys,
        "half_changes": rows,
        **middle,
        "least": min(run["seconds"] for run in runs),
        "most": max(run["seconds"] for run in runs),
        **{name: worst[name] for name in ("stall", "stall_cpu")},
        "drop": max(run["drop"] for run in runs),
        "idle_stall": max(run["idle_stall"] for run in runs),
    }


def _write(session: Session, task: Row) -> None:
    run_probe(session, "states", task | {"partitions": PARTITIONS})


def _start(session: Session, topic: Topic, keys: int) -> Row:
    taken = [_start_once(session, topic, keys) for _ in range(session.settings.repetitions)]
    label = f"start with {keys:,} keys"
    session.say(f"{label}: {median(taken):.2f} s")
    return {"label": label, "keys": keys, "seconds": median(taken), "least": min(taken), "most": max(taken)}


def _start_once(session: Session, topic: Topic, keys: int) -> float:
    """The time from exec to the first applied record, in seconds."""
    with Workers(session, topic.name, "noting", "--stop-at-end") as workers:
        if keys:
            where = {"directory": str(workers.state), "group": workers.group, "plugin": "noting", "topic": topic.name}
            _write(session, where | {"codec": "msgpack", "keys": keys, "rows": False})
        worker = workers.start()
        worker.wait(_START_SECONDS)
        return min(note.time for note in worker.notes() if note.records) - worker.began


def _restore_cells(row: Row) -> dict[str, str]:
    return {
        "what": row["label"],
        "s": f"{row['seconds']:.2f}",
        "keys/s": f"{row['keys'] / row['seconds']:,.0f}",
        "MB/s": f"{row['bytes'] / row['seconds'] / 1e6:,.1f}",
        "CPU s": f"{row['cpu']:.2f}",
        "bytes/key": f"{row['memory'] / row['keys']:,.0f}",
        "stall ms": f"{row['stall'] * 1e3:,.1f}",
        "its CPU": f"{row['stall_cpu'] * 1e3:,.1f}",
        "drop ms": f"{row['drop'] * 1e3:,.1f}",
    }


def _start_cells(row: Row) -> dict[str, str]:
    return {"what": row["label"], "s": f"{row['seconds']:.2f}"} | dict.fromkeys(
        ("keys/s", "MB/s", "CPU s", "bytes/key", "stall ms", "its CPU", "drop ms"), ""
    )


def _bars(rows: Sequence[Row]) -> Iterator[Bar]:
    for row in rows:
        yield Bar(row["label"], row["least"], row["seconds"], row["most"], is_ours=True)


def _targets(restores: Sequence[Row]) -> Iterator[Measured]:
    for row in restores:
        if row["codec"] == "msgpack" and not row["half_changes"]:
            yield Measured(Target(row["label"], 1_000_000, "keys/s", is_least=True), row["keys"] / row["seconds"])
    longest = max(row["stall"] for row in restores)
    yield Measured(Target("longest stall of the loop during any restore", 50, "ms"), longest * 1e3)
