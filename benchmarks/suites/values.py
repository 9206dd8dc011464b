"""The rate of contestants that parse JSON values and sum one field by key, from a filled topic."""

from typing import Final

from benchmarks.contestants import SUMMING, chosen
from benchmarks.measure import enter, measure
from benchmarks.rates import report_rates
from benchmarks.report import Report
from benchmarks.session import Session
from benchmarks.targets import judge
from benchmarks.traffic import Traffic

DESCRIPTION: Final = "records a second of those that parse JSON values and sum a field by key"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 300_000
_QUICK: Final = ("ours-*", "seed-*")
_VALUE_SIZE: Final = 117


def run(session: Session) -> Report:
    """Measure them in turns."""
    patterns = session.settings.contestants or (_QUICK if session.settings.quick else ("*",))
    entries = enter(session, chosen(patterns, SUMMING), _orders)
    measure(session, entries)
    return report_rates("values", entries, judge(entries), baseline="seed-json")


def _orders(records: int) -> Traffic:
    return Traffic(records, value_size=_VALUE_SIZE, kind="orders")
