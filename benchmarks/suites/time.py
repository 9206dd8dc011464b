"""The rate of contestants that count the records of each key in windows of event time, from a filled topic."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Final

from benchmarks.contestants import COUNTING, GAP, SESSIONS, SIZE, TUMBLING, chosen, named
from benchmarks.measure import Entry, enter, measure
from benchmarks.rates import report_rates
from benchmarks.report import Report
from benchmarks.session import Session
from benchmarks.targets import judge
from benchmarks.topic import Topic
from benchmarks.traffic import Traffic

DESCRIPTION: Final = "records a second of those that count records by key in tumbling windows and in sessions"
RECORDS: Final = 1_000_000
QUICK_RECORDS: Final = 300_000
_QUICK: Final = ("ours*",)
_KEYS: Final = 10_000


def run(session: Session) -> Report:
    """Measure them in turns, beside the counts of keycount."""
    patterns = session.settings.contestants or (_QUICK if session.settings.quick else ("*",))
    everyone = (named("ours", COUNTING), *TUMBLING, *SESSIONS)
    entries = enter(session, chosen(patterns, everyone), lambda records: Traffic(records, keys=_KEYS, kind="timed"))
    for contestants, count in ((TUMBLING, _tumbling), (SESSIONS, _sessions)):
        _expect_windows([entry for entry in entries if entry.contestant in contestants], count)
    measure(session, entries)
    return report_rates("time", entries, judge(entries), baseline="ours")


def _expect_windows(entries: list[Entry], count: Callable[[Traffic], int]) -> None:
    """Let the contestants count as many windows as there are, instead of keys."""
    topics: dict[Traffic, Topic] = {}
    for entry in entries:
        traffic = entry.topic.traffic
        if traffic not in topics:
            topics[traffic] = replace(entry.topic, keys=count(traffic))
        entry.topic = topics[traffic]


def _tumbling(traffic: Traffic) -> int:
    return len({(made.key_number, made.timestamp // SIZE) for chunk in traffic.chunks() for made in chunk})


def _sessions(traffic: Traffic) -> int:
    times: dict[int, list[int]] = defaultdict(list)
    for chunk in traffic.chunks():
        for made in chunk:
            times[made.key_number].append(made.timestamp)
    return sum(_sessions_of(sorted(of_key)) for of_key in times.values())


def _sessions_of(times: list[int]) -> int:
    return 1 + sum(later - time > GAP for time, later in pairwise(times))
