"""The watermark: how far event time has come in a unit. It is a function of the records alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from framework.event_time import NO_EVENT_TIME, extent

__all__ = ["Watermark", "WatermarkRule"]


@dataclass(frozen=True, slots=True)
class WatermarkRule:
    """How event times move a watermark. Times are milliseconds."""

    tick: int
    """The watermark is a multiple of it."""
    out_of_order: int
    """The watermark stays behind the highest event time by this much."""

    def after(self, event_time: int) -> int:
        """The watermark that a record of this event time leads to, if it was not higher before."""
        return (event_time - self.out_of_order) // self.tick * self.tick


class Watermark:
    """The watermark of one unit. It never goes back."""

    __slots__ = ("_rule", "time")

    def __init__(self, rule: WatermarkRule, time: int = NO_EVENT_TIME) -> None:
        self._rule = rule
        self.time = time
        """In milliseconds since the epoch; `NO_EVENT_TIME` before the first record."""

    def steps(self, event_times: Sequence[int]) -> list[tuple[int, int]]:
        """The steps that records of these event times, in this order, make.

        Returns pairs of the number of records up to the step and the watermark after it. Changes nothing, so that a
        step can be taken once its records are applied.
        """
        tick, bound = self._rule.tick, self._rule.out_of_order
        reach = self.time + tick + bound  # the lowest event time that moves the watermark
        if not event_times or (self.time != NO_EVENT_TIME and extent(event_times)[1] < reach):
            return []
        steps = []
        for position, event_time in enumerate(event_times, 1):
            if event_time >= reach:
                time = self._rule.after(event_time)
                steps.append((position, time))
                reach = time + tick + bound
        return steps

    def advance(self, time: int) -> None:
        """Move the watermark to `time`, unless it is there already or further on."""
        self.time = max(self.time, time)
