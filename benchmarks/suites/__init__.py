"""The suites: a module for each, with `DESCRIPTION`, the usual numbers of records, and `run`."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

from benchmarks.contestants import COUNTING, SESSIONS, SUMMING, TUMBLING, Contestant, named
from benchmarks.report import Report
from benchmarks.session import Session

__all__ = ["SUITES", "Suite", "contestants", "suite"]


class Suite(Protocol):
    """The members of each module of this package."""

    DESCRIPTION: str
    RECORDS: int
    """The usual number of records; `--records` overrides it."""
    QUICK_RECORDS: int
    """The same for `--quick`."""

    def run(self, session: Session) -> Report:
        """Measure."""


_NAMES: Final = (
    "throughput",
    "values",
    "time",
    "sizes",
    "checkpoint",
    "restore",
    "rebalance",
    "latency",
    "growth",
    "failing",
)
SUITES: Final[Mapping[str, str]] = {name: f"{__name__}.{name}" for name in _NAMES}


def suite(name: str) -> Suite:
    """The suite with this name."""
    return cast(Suite, importlib.import_module(SUITES[name]))


def contestants(name: str) -> Sequence[Contestant]:
    """Those that this suite chooses from."""
    if name == "time":
        return (named("ours", COUNTING), *TUMBLING, *SESSIONS)
    return SUMMING if name == "values" else COUNTING
