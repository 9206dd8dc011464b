"""The rate of each contestant, from a filled topic."""

from typing import Final

from benchmarks.contestants import COUNTING, chosen
from benchmarks.measure import enter, measure
from benchmarks.rates import report_rates
from benchmarks.report import Report
from benchmarks.session import Session
from benchmarks.targets import judge
from benchmarks.traffic import Traffic

DESCRIPTION: Final = "records a second of every contestant, from a topic that is full"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 500_000
_QUICK: Final = ("ours", "ours-per-record", "seed", "getmany", "fetch-only")


def run(session: Session) -> Report:
    """Measure them in turns."""
    patterns = session.settings.contestants or (_QUICK if session.settings.quick else ("*",))
    entries = enter(session, chosen(patterns, COUNTING), Traffic)
    measure(session, entries)
    return report_rates("throughput", entries, judge(entries), baseline="seed")
