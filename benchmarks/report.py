"""The results of a suite: printed as tables, saved as JSON, drawn as a plot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.targets import Measured, Verdict

__all__ = ["Bar", "Report", "print_report", "save_report"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the plot."""

    label: str
    low: float
    middle: float
    high: float
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of a suite."""

    name: str
    rows: Sequence[Mapping[str, str]]
    """The rows of the table. All have the same columns."""
    settings: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """Version, durability and settings of each contestant."""
    data: Any
    """All figures, for JSON."""
    bars: Sequence[Bar]
    unit: str
    """The unit of the bars."""
    verdicts: Sequence[Verdict] = ()
    targets: Sequence[Measured] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """The contestants that could not be measured, and why."""
    is_sound: bool = True
    """Whether no contestant that ran has failed."""
    notes: Sequence[str] = ()
    """Notes for the reader."""

    @property
    def passes(self) -> bool:
        """Whether all measured floors and targets are met, and no contestant failed."""
        floors = all(verdict.is_kept for verdict in self.verdicts)
        return self.is_sound and floors and all(one.is_kept for one in self.targets)


def print_report(report: Report, console: Console) -> None:
    """Print the tables."""
    if report.rows:
        first, *others = report.rows[0]
        table = Table(title=report.name, box=box.SIMPLE_HEAD)
        table.add_column(first, no_wrap=True)
        for column in others:
            table.add_column(column, justify="right", no_wrap=True)
        for row in report.rows:
            table.add_row(*row.values())
        console.print(table)
    if report.settings:
        settings = Table("contestant", "version", "state", "settings", box=box.SIMPLE_HEAD)
        for name, cells in report.settings.items():
            settings.add_row(name, *cells)
        console.print(settings)
    for name, reason in report.failures.items():
        console.print(f"not measured: {name}: {reason}", markup=False, highlight=False)
    for note in report.notes:
        console.print(note, markup=False, highlight=False)
    if report.verdicts:
        console.print(_floors(report.verdicts))
    if report.targets:
        console.print(_targets(report.targets))


def _floors(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="floors", box=box.SIMPLE_HEAD)
    for column in ("how many times as fast", "records", "measured", "at least", ""):
        table.add_column(column, justify="right" if column in ("records", "measured", "at least") else "left")
    for verdict in verdicts:
        floor = verdict.floor
        table.add_row(
            str(floor), f"{verdict.records:,}", f"{verdict.ratio:.2f}", f"{floor.at_least:g}", _word(verdict.is_kept)
        )
    return table


def _targets(targets: Sequence[Measured]) -> Table:
    table = Table("target", box=box.SIMPLE_HEAD)
    for column in ("measured", "wanted"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column()
    for one in targets:
        sign, limit = "≥" if one.target.is_least else "≤", f"{one.target.limit:,.10g} {one.target.unit}"
        measured = f"{one.value:,.0f}" if one.value >= 1000 else f"{one.value:.3g}"
        table.add_row(one.target.what, f"{measured} {one.target.unit}", f"{sign} {limit}", _word(one.is_kept))
    return table


def _word(is_kept: bool) -> str:
    return "[green]kept[/]" if is_kept else "[red]missed[/]"


def save_report(report: Report, directory: Path, settings: Mapping[str, Any]) -> Path:
    """Save the report as JSON, with the machine and the options. Returns the file."""
    document = {
        "suite": report.name,
        "machine": machine(),
        "asked": settings,
        "results": report.data,
        "not_measured": report.failures,
        "floors": [
            {
                "ours": verdict.floor.ours,
                "other": verdict.floor.other,
                "records": verdict.records,
                "at_least": verdict.floor.at_least,
                "measured": verdict.ratio,
            }
            for verdict in report.verdicts
        ],
        "targets": [asdict(one.target) | {"measured": one.value, "kept": one.is_kept} for one in report.targets],
        "notes": report.notes,
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{report.name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
