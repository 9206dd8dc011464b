"""The report of a suite that measures rates in records a second."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from benchmarks.contestants import Contestant
from benchmarks.measure import Entry, counterpart, ratio
from benchmarks.report import Bar, Report
from benchmarks.targets import Verdict

__all__ = ["report_rates"]

_MEGABYTE: Final = 1_000_000


def report_rates(name: str, entries: Sequence[Entry], verdicts: Sequence[Verdict], *, baseline: str) -> Report:
    """The entries' rates, also as multiples of that of the entry `baseline`."""
    measured = [entry for entry in entries if entry.runs]
    return Report(
        name=name,
        rows=[_row(entry, _multiple(entry, baseline, entries), baseline) for entry in measured],
        settings={entry.name: _settings(entry.contestant) for entry in measured},
        data=[_figures(entry, _multiple(entry, baseline, entries), baseline) for entry in measured],
        bars=list(_bars(measured)),
        unit="records a second",
        verdicts=verdicts,
        failures={_label(entry): entry.failure for entry in entries if entry.failure is not None},
        is_sound=not any(entry.failed for entry in entries),
    )


def _row(entry: Entry, multiple: float | None, baseline: str) -> dict[str, str]:
    rates = [run.rate for run in entry.runs]
    return {
        "contestant": _label(entry),
        "records": f"{entry.records:,}",
        "records/s": f"{entry.rate:,.0f}",
        "min - max": f"{min(rates):,.0f} - {max(rates):,.0f}",
        f"x {baseline}": "" if multiple is None else f"{multiple:.2f}",
        "CPU s": f"{median(run.cpu_seconds for run in entry.runs):.1f}",
        "peak MB": f"{max(run.peak_rss for run in entry.runs) / _MEGABYTE:,.0f}",
    }


def _settings(contestant: Contestant) -> tuple[str, str, str]:
    return contestant.version(), "durable" if contestant.durable else "not durable", contestant.settings()


def _figures(entry: Entry, multiple: float | None, baseline: str) -> dict[str, Any]:
    contestant = entry.contestant
    return {
        "contestant": contestant.name,
        "label": entry.label,
        "description": contestant.description,
        "version": contestant.version(),
        "settings": contestant.settings(),
        "durable": contestant.durable,
        "traffic": asdict(entry.topic.traffic),
        "records_per_second": entry.rate,
        f"times_{baseline}": multiple,
        "runs": [asdict(run) | {"records_per_second": run.rate} for run in entry.runs],
    }


def _multiple(entry: Entry, baseline: str, entries: Sequence[Entry]) -> float | None:
    other = counterpart(baseline, entry, entries)
    return None if other is None else ratio(entry, other)


def _bars(entries: Sequence[Entry]) -> Iterator[Bar]:
    for entry in entries:
        rates = [run.rate for run in entry.runs]
        label = f"{_label(entry)} ({entry.records:,})"
        yield Bar(label, min(rates), entry.rate, max(rates), is_ours=entry.name.startswith("ours"))


def _label(entry: Entry) -> str:
    return f"{entry.name}, {entry.label}" if entry.label else entry.name
