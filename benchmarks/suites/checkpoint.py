"""The cost of a checkpoint, by the size of the state and the number of changed keys."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

from benchmarks.probes.protocol import run_probe
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.targets import Measured, Target

DESCRIPTION: Final = "checkpoints of 10,000 to 10 million keys, 1 to 100,000 of them changed; --records: the most keys"
RECORDS: Final = 10_000_000
QUICK_RECORDS: Final = 100_000
_SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
_CHANGES: Final = (1, 10, 100, 1_000, 10_000, 100_000)
_CHANGES_AT: Final = 1_000_000
"""Number of keys of the state for which the number of changes varies, at most that of the largest state."""
_USUAL_CHANGES: Final = 1_000
_CHECKPOINTS: Final = 15
_CODECS: Final = ("msgpack", "json")
_PHASES: Final = {
    "changes": "",
    "new base": "with some of a new base",
    "sweep": "while the old base is deleted",
}

Row = dict[str, Any]


def run(session: Session) -> Report:
    """Measure one size after the other, each in a process of its own."""
    sizes = [keys for keys in _SIZES if keys <= session.settings.records] or [session.settings.records]
    rows = [row for codec in _CODECS for keys in sizes for row in _measure(session, codec, keys, sizes)]
    return Report(
        name="checkpoint",
        rows=[_cells(row) for row in rows],
        data=rows,
        bars=[_bar(row) for row in rows],
        unit="milliseconds a checkpoint",
        targets=list(_targets(rows, sizes)),
        notes=[
            "4 partitions in the sqlite store, all in one checkpoint; medians, and the longest stall",
            "stall: the longest time without a turn of the event loop; its CPU: what the process computed meanwhile",
            f"a loop with nothing to do stalled up to {max(row['idle_stall'] for row in rows) * 1e3:.1f} ms here",
        ],
    )


def _measure(session: Session, codec: str, keys: int, sizes: Sequence[int]) -> Iterator[Row]:
    changes = [most for most in _CHANGES if most <= keys] if keys == min(_CHANGES_AT, sizes[-1]) else [_USUAL_CHANGES]
    task = {
        "codec": codec,
        "keys": keys,
        "changes": changes,
        "usual_changes": _USUAL_CHANGES,
        "checkpoints": _CHECKPOINTS,
    }
    found = run_probe(session, "checkpoint", task)
    for phase, changed in dict.fromkeys((phase["phase"], phase["changes"]) for phase in found["phases"]):
        row = {"codec": codec, "keys": keys, "phase": phase, "changes": changed, "idle_stall": found["idle"][0]}
        yield row | _figures(_of_phase(found["phases"], phase, changed))
    session.say(f"{codec}, {keys:,} keys: measured")


def _of_phase(phases: Sequence[Mapping[str, Any]], name: str, changes: int) -> list[Row]:
    """The checkpoints of the phase without those of another kind, as a new base begins when it is due."""
    return [
        one
        for phase in phases
        if phase["phase"] == name and phase["changes"] == changes
        for one in phase["checkpoints"]
        if one["folds"] == (name == "new base")
    ]


def _figures(checkpoints: Sequence[Row]) -> Row:
    worst = max(checkpoints, key=lambda one: float(one["stall"]))
    middle = {name: median(one[name] for one in checkpoints) for name in ("capture", "save", "cpu", "bytes")}
    times = sorted(one["capture"] + one["save"] for one in checkpoints)
    return {
        "checkpoints": len(checkpoints),
        "seconds": median(times),
        "least": times[0],
        "most": times[-1],
        **middle,
        "stall": worst["stall"],
        "stall_cpu": worst["stall_cpu"],
    }


def _label(row: Row) -> str:
    kind = _PHASES[row["phase"]]
    return f"{row['codec']}, {row['keys']:,} keys, {row['changes']:,} changed{', ' if kind else ''}{kind}"


def _cells(row: Row) -> dict[str, str]:
    return {
        "state": _label(row),
        "ms": _ms(row["seconds"]),
        "capture": _ms(row["capture"]),
        "save": _ms(row["save"]),
        "CPU ms": _ms(row["cpu"]),
        "kB": f"{row['bytes'] / 1e3:,.1f}",
        "stall ms": _ms(row["stall"]),
        "its CPU": _ms(row["stall_cpu"]),
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}"


def _bar(row: Row) -> Bar:
    return Bar(_label(row), row["least"] * 1e3, row["seconds"] * 1e3, row["most"] * 1e3, is_ours=True)


def _targets(rows: Sequence[Row], sizes: Sequence[int]) -> Iterator[Measured]:
    for codec in _CODECS:
        usual = {
            row["keys"]: row["seconds"]
            for row in rows
            if row["codec"] == codec and row["phase"] == "changes" and row["changes"] == _USUAL_CHANGES
        }
        if len(sizes) > 1:
            what = f"{codec}: time with {sizes[-1]:,} keys / with {sizes[0]:,}, {_USUAL_CHANGES:,} changed"
            yield Measured(Target(what, 1.5), usual[sizes[-1]] / usual[sizes[0]])
    longest = max(row["stall"] for row in rows)
    yield Measured(Target("longest stall of the loop during any checkpoint", 50, "ms"), longest * 1e3)
