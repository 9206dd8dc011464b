"""Slices: how many records are applied in one go."""

import math
from typing import Final

from framework.runtime.limits import Limits

__all__ = ["CarefulSlices", "Caution", "Pieces"]

_SLICE_SECONDS: Final = 5e-6
"""Seconds that a slice with undo costs beyond what its records do; *measured*."""


class Pieces:
    """How many records come between two looks at the outputs: fewer where each record sends many."""

    def __init__(self, first: int, largest: int, outputs: int) -> None:
        """`first` is the size to begin with; `outputs` is how many of them a piece should send at the most."""
        self.size = min(first, largest)
        self._largest = largest
        self._outputs = outputs

    def fit(self, records: int, outputs: int) -> None:
        """A piece of so many records has sent so many outputs."""
        size = min(2 * self.size, self._largest)
        if outputs > 0:
            size = min(size, self._outputs * records // outputs)
        self.size = max(1, size)


class CarefulSlices:
    """How many records `process_batch` gets with undo: the fewer, the more often they fail.

    Longer slices repeat more work after a failure, shorter ones cost more each. By Young's formula for the time between
    checkpoints (Communications of the ACM 17(9), 1974), the best length is the square root of twice the cost of a slice
    times the mean time between failures; here, that time's records.
    """

    def __init__(self, limits: Limits) -> None:
        self.size = self._usual_run = limits.first_careful_slice
        self._good_run = 0
        self._usual_seconds = self._good_seconds = 0.0

    def kept(self, records: int, seconds: float) -> None:
        """So many records were applied, in so many seconds."""
        self._good_run += records
        self._good_seconds += seconds
        if self._good_run > 2 * self._usual_run:
            self._usual_run, self._usual_seconds = self._good_run, self._good_seconds
            self._fit()

    def failed(self) -> None:
        """A record has failed."""
        self._usual_run = max(1, (self._usual_run + self._good_run) // 2)
        self._usual_seconds = (self._usual_seconds + self._good_seconds) / 2
        self._good_run, self._good_seconds = 0, 0.0
        self._fit()

    def _fit(self) -> None:
        part = 0.5
        if self._usual_seconds > 0:  # else the clock is too coarse to tell
            part = min(part, math.sqrt(2 * _SLICE_SECONDS / self._usual_seconds))
        self.size = max(1, round(part * self._usual_run))


class Caution:
    """For how long a task applies records with undo after one has failed. A rewind does not end it."""

    def __init__(self, limits: Limits) -> None:
        self.slices = CarefulSlices(limits)
        self._until = 0
        self._run = limits.careful_run
        self._longest_run = limits.longest_careful_run

    def covers(self, position: int) -> bool:
        """Whether records from this position on are applied with undo."""
        return position < self._until

    def failed(self, offset: int) -> None:
        """The record at this offset has failed, and left no trace."""
        self._until = max(self._until, offset + self._run)

    def rewound(self, position: int) -> None:
        """A failure before this position cost a load of the whole state: stay careful for longer each time."""
        self._until = position + self._run
        self._run = min(2 * self._run, self._longest_run)
