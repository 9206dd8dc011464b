"""Slices: the number of records to apply at once."""

import math
from typing import Final

from framework.runtime.limits import Limits

__all__ = ["CarefulSlices", "Caution", "Pieces"]

_SLICE_SECONDS: Final = 5e-6
"""Overhead of a slice with undo, beyond the cost of its records, in seconds; *measured*."""


class Pieces:
    """The number of records between two checks of the outputs. It is smaller if each record sends many outputs."""

    def __init__(self, first: int, largest: int, outputs: int) -> None:
        """`first` and `largest` are numbers of records. `outputs` is the number that a piece should not exceed."""
        self.size = min(first, largest)
        self._largest = largest
        self._outputs = outputs

    def fit(self, records: int, outputs: int) -> None:
        """Adapt the size after a piece of `records` that sent `outputs`."""
        size = min(2 * self.size, self._largest)
        if outputs > 0:
            size = min(size, self._outputs * records // outputs)
        self.size = max(1, size)


class CarefulSlices:
    """The number of records that `process_batch` gets with undo. The more often records fail, the smaller it is.

    Long slices repeat more work after a failure. Short slices have more overhead. By Young's formula for the time
    between checkpoints (Communications of the ACM 17(9), 1974), the best duration of a slice is the square root of
    twice its overhead times the mean time between failures. `size` is the number of records that take this long.
    """

    def __init__(self, limits: Limits) -> None:
        self.size = self._usual_run = limits.first_careful_slice
        self._good_run = 0
        self._usual_seconds = self._good_seconds = 0.0

    def kept(self, records: int, seconds: float) -> None:
        """Adapt the size after a slice of `records` that was applied in `seconds`."""
        self._good_run += records
        self._good_seconds += seconds
        if self._good_run > 2 * self._usual_run:
            self._usual_run, self._usual_seconds = self._good_run, self._good_seconds
            self._fit()

    def failed(self) -> None:
        """Adapt the size after a record failed."""
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
    """Decides which offsets a task applies with undo after a record failed. It outlives the memory of the task."""

    def __init__(self, limits: Limits) -> None:
        self.slices = CarefulSlices(limits)
        self._until = 0
        self._run = limits.careful_run
        self._longest_run = limits.longest_careful_run

    def covers(self, position: int) -> bool:
        """Whether records from this position on are applied with undo."""
        return position < self._until

    def failed(self, offset: int) -> None:
        """The record at this offset failed, and was undone."""
        self._until = max(self._until, offset + self._run)

    def rewound(self, position: int) -> None:
        """A failure before this position made the task load its whole state. Each time, more offsets are covered."""
        self._until = position + self._run
        self._run = min(2 * self._run, self._longest_run)
