"""The rate of each contestant, from a filled topic."""

from typing import Final

from benchmarks.contestants import CONTESTANTS, Contestant, chosen
from benchmarks.measure import Entry, measure
from benchmarks.rates import report_rates
from benchmarks.report import Report
from benchmarks.session import Session
from benchmarks.targets import judge
from benchmarks.topic import Traffic

DESCRIPTION: Final = "records a second of every contestant, from a topic that is full"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 500_000
_QUICK: Final = ("ours", "ours-per-record", "seed", "getmany", "fetch-only")


def run(session: Session) -> Report:
    """Measure them in turns."""
    settings = session.settings
    entries = [
        Entry(contestant, session.topic(Traffic(records)))
        for contestant in _contestants(session)
        for records in contestant.records(settings.records)[: 1 if settings.quick else None]
    ]
    measure(session, entries)
    return report_rates("throughput", entries, judge(entries), baseline="seed")


def _contestants(session: Session) -> list[Contestant]:
    settings = session.settings
    if patterns := settings.contestants or (_QUICK if settings.quick else ()):
        return chosen(patterns)
    return list(CONTESTANTS)
