"""The cost of bad records: the rate when one in a hundred is skipped, as a part of the rate without bad records."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.processes import run_to_end
from benchmarks.report import Bar, Report
from benchmarks.session import Session
from benchmarks.targets import Measured, Target
from benchmarks.topic import Topic
from benchmarks.traffic import Traffic
from framework.stores.sqlite import SqliteStore

DESCRIPTION: Final = "one record in a hundred is bad and skipped, against none, for plugins of seven kinds"
RECORDS: Final = 4_000_000
QUICK_RECORDS: Final = 100_000
_ONE_IN: Final = 100
_SECONDS: Final = 300.0
_HERE: Final = Path(__file__).parents[1]
_PLUGINS: Final = {
    "CountBatches": "counts, process_batch raises",
    "CountRefusing": "counts, process_batch refuses",
    "CountRecords": "counts, process",
    "SumBatches": "sums JSON values, process_batch raises",
    "ListBatches": "changes lists in place, process_batch raises",
    "ListRefusing": "changes lists in place, process_batch refuses",
    "ListRecords": "changes lists in place, process",
}


@dataclass(slots=True)
class _Rates:
    """Records a second of one plugin, run by run."""

    plugin: str
    good: list[float] = field(default_factory=list)
    """Rates of the runs without bad records."""
    bad: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(bad / good for bad, good in zip(self.bad, self.good, strict=True))


def run(session: Session) -> Report:
    """Run each plugin over the same topic, without and with bad records, in turns."""
    topic = session.topic(Traffic(session.settings.records))
    rates = [_Rates(plugin) for plugin in _PLUGINS]
    for _ in range(session.settings.repetitions):
        for one in rates:
            one.good.append(_rate(session, topic, one.plugin))
            one.bad.append(_rate(session, topic, one.plugin, f"--option=one_in={_ONE_IN}"))
            session.say(f"{_PLUGINS[one.plugin]}: {one.good[-1]:,.0f} a second, with failures {one.bad[-1]:,.0f}")
    return Report(
        name="failing",
        rows=[_cells(one) for one in rates],
        data=[_figures(one) for one in rates],
        bars=list(_bars(rates)),
        unit="records a second",
        targets=[
            Measured(Target(f"{_PLUGINS[one.plugin]}: with failures / without", 0.5, is_least=True), one.ratio)
            for one in rates
        ],
        notes=[f"{topic.traffic.records:,} records, 1 in {_ONE_IN} bad, --on-error skip; medians"],
    )


def _rate(session: Session, topic: Topic, plugin: str, *options: str) -> float:
    """Records a second, from the first partition's assignment to the last checkpoint."""
    directory = session.scratch(plugin)
    group = directory.name  # a group knows its state, so each state has one of its own
    times, printed, said = (directory / name for name in ("times.json", "printed", "said"))
    command = [sys.executable, "-m", "framework", "run", "--stop-at-end", "--json", "--on-error=skip"]
    command += [f"--plugin=benchmarks.plugins.failing:{plugin}", f"--plugin={_HERE / 'observer.py'}"]
    command += [f"--topic={topic.name}", f"--bootstrap-servers={session.bootstrap_servers}", f"--group={group}"]
    command += [f"--state-dir={directory / 'state'}", "--codec=msgpack", *options]
    environment = {**os.environ, "PYTHONPATH": str(_HERE.parent), "BENCHMARK_TIMES": str(times)}
    ended = run_to_end(command, environment, directory, printed, said, _SECONDS)
    if ended.status or _applied(directory / "state", group) != topic.traffic.records:
        kept = session.keep(directory, plugin)
        raise RuntimeError(f"framework run ended with {ended.status}, not all was applied; see {os.path.relpath(kept)}")
    taken = json.loads(times.read_text())
    shutil.rmtree(directory)
    return topic.traffic.records / float(taken["last"] - taken["first"])


def _applied(state: Path, group: str) -> int:
    with closing(SqliteStore(state)) as store:
        return sum(stored.own_progress.position or 0 for stored in store.stored(group))


def _cells(rates: _Rates) -> dict[str, str]:
    return {
        "plugin": _PLUGINS[rates.plugin],
        "records/s": f"{median(rates.good):,.0f}",
        "with failures": f"{median(rates.bad):,.0f}",
        "ratio": f"{rates.ratio:.2f}",
    }


def _figures(rates: _Rates) -> dict[str, Any]:
    return {"plugin": rates.plugin, "good": rates.good, "bad": rates.bad, "ratio": rates.ratio}


def _bars(rates: Sequence[_Rates]) -> Iterator[Bar]:
    for one in rates:
        for label, taken in (("none bad", one.good), (f"1 in {_ONE_IN} bad", one.bad)):
            yield Bar(f"{_PLUGINS[one.plugin]}, {label}", min(taken), median(taken), max(taken), is_ours=True)
