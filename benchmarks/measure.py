"""Runs contestants in turns, and collects their figures."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.contestants import Contestant
from benchmarks.environments import Unavailable
from benchmarks.processes import run_to_end
from benchmarks.session import Session
from benchmarks.topic import Topic
from benchmarks.traffic import Traffic

__all__ = ["Entry", "Run", "counterpart", "enter", "measure", "ratio"]

_ROOT: Final = Path(__file__).parents[1]
_SLOWEST: Final = 5_000
"""Rate below which a contestant is stopped after some minutes, in records a second."""
_MINUTES: Final = 5
_ROUNDING: Final = Decimal("1e-6")
"""Greatest relative error of the total of floats."""


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run."""

    records: int
    seconds: float
    """Time from the first record to the last."""
    cpu_seconds: float
    peak_rss: int

    @property
    def rate(self) -> float:
        """The rate, in records a second."""
        return self.records / self.seconds


@dataclass(slots=True)
class Entry:
    """A contestant over a topic, with its runs so far."""

    contestant: Contestant
    topic: Topic
    label: str = ""
    """Distinguishes the entries of one contestant."""
    runs: list[Run] = field(default_factory=list)
    failure: str | None = None
    """The reason why it could not run, or failed. It then has no further runs."""
    failed: bool = False
    """Whether it ran, and failed."""

    @property
    def name(self) -> str:
        return self.contestant.name

    @property
    def records(self) -> int:
        return self.topic.traffic.records

    @property
    def rate(self) -> float:
        """The median of the runs, in records a second."""
        return median(run.rate for run in self.runs)


class _RunError(Exception):
    """The error of a run."""


def enter(session: Session, contestants: Sequence[Contestant], traffic: Callable[[int], Traffic]) -> list[Entry]:
    """An entry for each contestant and number of records, over topics with the traffic of so many records."""
    settings = session.settings
    return [
        Entry(contestant, session.topic(traffic(records)))
        for contestant in contestants
        for records in contestant.records(settings.records)[: 1 if settings.quick else None]
    ]


def measure(session: Session, entries: Sequence[Entry]) -> None:
    """Run all of them once, then all of them again, and so on, so that disturbances of the machine affect all alike."""
    commands = {id(entry): command for entry in entries if (command := _command(session, entry)) is not None}
    for number in range(session.settings.runs):
        for entry in entries:
            if entry.failure is None:
                _measure_once(session, entry, commands[id(entry)], f"run {number + 1} of {session.settings.runs}")


def ratio(one: Entry, other: Entry) -> float:
    """The ratio of the rates, as the median over runs of the same round."""
    return median(mine.rate / its.rate for mine, its in zip(one.runs, other.runs, strict=False))


def counterpart(name: str, other: Entry, entries: Sequence[Entry]) -> Entry | None:
    """The entry with this name to compare `other` with: the one over the same topic, or else the first."""
    candidates = [entry for entry in entries if entry.name == name and entry.runs]
    same = [entry for entry in candidates if entry.topic is other.topic]
    return next(iter(same or candidates), None)


def _command(session: Session, entry: Entry) -> Sequence[str] | None:
    try:
        return entry.contestant.command()
    except Unavailable as error:
        entry.failure = str(error)
        session.say(f"{entry.name} cannot be had: {error}")
        return None


def _measure_once(session: Session, entry: Entry, command: Sequence[str], which: str) -> None:
    directory = session.scratch(entry.name)
    try:
        run = _run(session, entry, command, directory)
    except _RunError as error:
        kept = session.keep(directory, entry.name)
        entry.failure, entry.failed = f"{error}; see {os.path.relpath(kept)}", True
        session.say(f"{entry.name} failed: {entry.failure}")
    else:
        entry.runs.append(run)
        shutil.rmtree(directory)
        session.say(f"{which}: {entry.name}, {run.records:,} records: {run.rate:,.0f} a second")


def _run(session: Session, entry: Entry, command: Sequence[str], directory: Path) -> Run:
    """Raises `_RunError` with the end of the contestant's output."""
    stdout, stderr, scratch = directory / "stdout", directory / "stderr", directory / "scratch"
    scratch.mkdir()
    task = _task(session, entry, scratch)
    environment = {**os.environ, "BENCHMARK": json.dumps(task), "PYTHONPATH": str(_ROOT)}
    ended = run_to_end(command, environment, scratch, stdout, stderr, task["seconds"])
    if not ended.in_time or ended.status:
        what = f"ended with status {ended.status}" if ended.in_time else f"took more than {task['seconds']:.0f} s"
        raise _RunError(": ".join([what, *_lines(stderr)[-1:]]))
    result = _result(stdout)
    _check(result, entry.topic)
    if entry.contestant.sums:
        _check_total(result, entry.topic)
    return Run(
        records=result["records"],
        seconds=result["last"] - result["first"],
        cpu_seconds=result.get("cpu", ended.cpu_seconds),
        peak_rss=result.get("rss", ended.peak_rss),
    )


def _task(session: Session, entry: Entry, scratch: Path) -> dict[str, Any]:
    topic = entry.topic
    return {
        **entry.contestant.options,
        "bootstrap_servers": session.bootstrap_servers,
        "topic": topic.name,
        "partitions": topic.traffic.partitions,
        "records": topic.traffic.records,
        "keys": topic.keys,
        "group": scratch.parent.name,
        "directory": str(scratch),
        "seconds": _MINUTES * 60 + topic.traffic.records / _SLOWEST,
    }


def _result(stdout: Path) -> dict[str, Any]:
    lines = _lines(stdout)
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise _RunError("printed no result") from error
    return result


def _check(result: dict[str, Any], topic: Topic) -> None:
    counted = result["records"], result["keys"]
    expected = topic.traffic.records, topic.keys
    if counted not in (expected, (topic.traffic.records, None)):
        raise _RunError(
            f"counted {counted[0]} records of {counted[1]} keys, but there are {expected[0]} of {expected[1]}"
        )


def _check_total(result: dict[str, Any], topic: Topic) -> None:
    """Decimals, which are reported as text, have to be exact."""
    total = result.get("total")
    if total is None:
        raise _RunError("reported no total")
    allowed = 0 if isinstance(total, str) else topic.total * _ROUNDING
    if not abs(Decimal(total) - topic.total) <= allowed:
        raise _RunError(f"the sums are {total} in all, but should be {topic.total}")


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()
