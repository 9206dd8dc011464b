"""Counts: how many records a worker has applied, and what it has left out."""

from typing import NamedTuple

__all__ = ["Counts"]


class Counts(NamedTuple):
    """Numbers of records, and of timers."""

    applied: int = 0
    failed: int = 0
    """Records that were skipped because they failed for good."""
    late: int = 0
    """Records that came after their windows had closed."""
    failed_timers: int = 0
    """Timers that were skipped because they failed for good."""

    def plus(self, other: "Counts") -> "Counts":
        """The sums of both."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))
