"""The failure log: warnings of records that failed for good, summed up so that they flood nobody."""

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from framework.borders import message_of
from framework.errors import ProcessingError
from framework.records import TopicPartition

__all__ = ["FailureLog"]

log = logging.getLogger("framework")

_INTERVAL: Final = 1.0
"""Seconds between two warnings, at the least."""
_NAMED: Final = 4
"""Partitions that a warning names; of more, it tells how many."""


class _Timer(Protocol):
    def cancel(self) -> None: ...


class FailureLog:
    """Warns of failed records: of the first ones at once, then of all that failed since, at most once a second.

    Where warnings are summed up, the first error stands for all. `close` logs the last sum.
    """

    def __init__(self, outcome: str, call_later: Callable[[float, Callable[[], None]], _Timer]) -> None:
        """`outcome` tells what becomes of the records, as in "skipped". `call_later`: of the event loop."""
        self._outcome = outcome
        self._call_later = call_later
        self._timer: _Timer | None = None
        self._counts: dict[TopicPartition, int] = {}
        self._first: ProcessingError | None = None

    def add(self, partition: TopicPartition, errors: Mapping[int, ProcessingError]) -> None:
        """These records failed: their errors by offset, at least one."""
        self._first = self._first or next(iter(errors.values()))
        self._counts[partition] = self._counts.get(partition, 0) + len(errors)
        if self._timer is None:
            self._tell()

    def close(self) -> None:
        """Log what is not logged yet."""
        if self._timer is not None:
            self._timer.cancel()
        self._log()

    def _tell(self) -> None:
        self._timer = None
        if self._first is not None:
            self._timer = self._call_later(_INTERVAL, self._tell)
            self._log()

    def _log(self) -> None:
        if self._first is None:
            return
        first, counts = self._first, self._counts
        self._first, self._counts = None, {}
        total = sum(counts.values())
        where = ", ".join(map(str, sorted(counts))) if len(counts) <= _NAMED else f"{len(counts)} partitions"
        log.warning(
            "%d record%s of %s %s; the first: %s",
            total,
            "" if total == 1 else "s",
            where,
            self._outcome,
            message_of(first),
        )
