"""The contestant `framework run`, started as a user would. Its stored state is checked when it has ended."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from framework_window import WindowTotals

from benchmarks.processes import Ended, run_to_end
from benchmarks.protocol import Task, read_task, report
from framework.changes import fold_rows
from framework.plugins import load
from framework.stores import STATE_TABLE

_HERE: Final = Path(__file__).parent


def main() -> None:
    """Run, check and report."""
    task = read_task()
    times, printed, said = (task.directory / name for name in ("times.json", "printed", "said"))
    ended = _run(task, times, printed, said)
    if ended.status:
        sys.exit(f"{said.read_text()}framework run ended with exit status {ended.status}")
    measured = {**json.loads(times.read_text()), "cpu": ended.cpu_seconds, "rss": ended.peak_rss}
    states = list(_states(task, printed))
    if "kind" in task.options["plugin_options"]:
        entries = [entry for _, state in states for entry in WindowTotals.entries(state)]
        report(sum(entry["value"] for entry in entries), len(entries), **measured)
        return
    total, keys = sum(sum(state.values()) for _, state in states), sum(len(state) for _, state in states)
    if task.options["sums"]:
        report(sum(position for position, _ in states), keys, total=total, **measured)
    else:
        report(total, keys, **measured)


def _run(task: Task, times: Path, printed: Path, said: Path) -> Ended:
    settings: Mapping[str, str] = task.options["settings"]
    command = [sys.executable, "-m", "framework", "run", "--stop-at-end", "--json"]
    command += [f"--plugin={task.options['plugin']}", f"--plugin={_HERE / 'observer.py'}"]
    command += [f"--topic={task.topic}", f"--bootstrap-servers={task.bootstrap_servers}", f"--group={task.group}"]
    command += [f"--state-dir={task.directory / 'state'}", *(f"--{name}={value}" for name, value in settings.items())]
    command += [f"--option={name}={value}" for name, value in task.options["plugin_options"].items()]
    environment = {**os.environ, "BENCHMARK_TIMES": str(times)}
    if not task.options["speedups"]:
        environment["PYTHONPATH"] = str(_HERE / "plain")
    return run_to_end(command, environment, task.directory, printed, said, task.seconds, nested=True)


def _states(task: Task, printed: Path) -> Iterator[tuple[int, dict[Any, Any]]]:
    """The position and state of each partition. The memory store has no positions: its state is printed."""
    settings: Mapping[str, str] = task.options["settings"]
    if settings["store"] == "memory":
        with printed.open("rb") as lines:
            yield 0, {entry["key"]: entry["value"] for entry in map(json.loads, lines)}
        return
    plugins, where = load([]), f"{settings['store']}:{task.directory / 'state'}"
    codec = plugins.codec(settings["codec"])()
    with closing(plugins.open_store(where, {}, read_only=True)) as store:
        for stored in store.stored(task.group):
            rows = (row for table, row in store.load(stored.unit) if table == STATE_TABLE)
            yield stored.own_progress.position or 0, fold_rows(codec, rows)


if __name__ == "__main__":
    main()
