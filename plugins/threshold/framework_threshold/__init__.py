"""Tells when a count or sum by key and window crosses a bound, with hysteresis."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

from pydantic import Field, model_validator

from framework import (
    Batch,
    Duration,
    FieldPath,
    Number,
    NumberField,
    NumberKind,
    Options,
    Output,
    Processor,
    Record,
    State,
    Timer,
    TopicPartition,
    UsageError,
    exact_sums,
    hookimpl,
)
from framework.event_time import time_text
from framework.windows import Tumbling, Window, WindowedProcessor, Windows, WindowState

__all__ = ["Threshold", "ThresholdOptions", "framework_processors"]

_COUNT = "count"
_SILENT = "silent"
"""Name of the timers for keys that are above the bound: it is time for the end of their next window."""


class ThresholdOptions(Options):
    """What is compared with which bounds, and where a crossing is told."""

    output: str = Field(description="The topic to which messages are sent")
    size: Duration = Field(description="Length of the windows: 1m, 1h")
    above: Decimal = Field(description="A key is above if the count or sum of a window is this or more")
    below: Decimal | None = Field(
        default=None, description="A key is above until the count or sum of a window is less than this; default: above"
    )
    grace: Duration = Field(default=Duration("0s"), description="How long a window stays open after its end")
    value: str = Field(
        default=_COUNT, description="count, or the field to sum: order.amount, or as a JSON Pointer: /order/net.amount"
    )
    number: NumberKind = Field(
        default="decimal",
        description="How the field is read. decimal: the numbers as written; int: whole numbers; float: as doubles",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.above.is_finite() and self.low.is_finite() and 0 < self.low <= self.above):
            raise ValueError(f"above={self.above} and below={self.low}: 0 < below <= above is needed")
        try:
            _ = self.windows
            if self.value != _COUNT:
                FieldPath.parse(self.value)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def low(self) -> Decimal:
        """The lower bound."""
        return self.above if self.below is None else self.below

    @property
    def windows(self) -> Windows:
        """The windows. Raises `UsageError` for those that cannot be."""
        return Tumbling(self.size, grace=self.grace)

    @property
    def field(self) -> NumberField | None:
        """The field to sum; None to count."""
        return None if self.value == _COUNT else NumberField(self.value, self.number)


class Threshold(WindowedProcessor[Any, Any, Number, ThresholdOptions]):
    """Sends a message when the count or sum of a key in a window reaches `above`, and when it is below `below` again.

    A window without records has the count or sum 0. A message is JSON, of the window that crossed the bound:
    `{"key": …, "above": true, "value": …, "start": TIME, "end": TIME}`. The state has, beside the open windows, the
    keys that are above.
    """

    api_version = 1
    Options = ThresholdOptions

    def __init__(self, options: ThresholdOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._field = options.field
        self._state: State[Any, Any] | None = None
        """While a timer fires: the state, which `emit` needs."""

    @classmethod
    def windows_of(cls, options: ThresholdOptions) -> Windows:
        return options.windows

    @classmethod
    def value_format_of(cls, options: ThresholdOptions) -> Any:
        return cls.value_format if options.field is None else options.field.value_format

    @classmethod
    def state_definition(cls, options: ThresholdOptions) -> str:
        what = "counts" if options.value == _COUNT else f"sums of field {options.value} ({options.number})"
        return f"{what} in {options.windows}"

    @classmethod
    def entries(cls, state: Mapping[Any, Any]) -> Iterable[Mapping[str, Any]]:
        for place, found in state.items():
            if place[0] == "above":
                start, value = found
                yield {"key": place[1], "value": value, "since": time_text(start)}

    def start(self) -> Number:
        return 0 if self._field is None else self._field.zero

    def add(self, accumulator: Number, record: Record) -> Number:
        if self._field is None:
            return accumulator + 1
        number = self._field.of(record.value)
        with exact_sums():
            return accumulator + number

    def add_batch(self, batch: Batch, accumulators: WindowState, out: Output) -> None:
        if self._field is None:
            accumulators.tally(batch.keys)
            return
        numbers, errors = self._field.of_column(batch.values)
        totals: dict[Any, Number] = {}
        with exact_sums():
            for key, number in zip(batch.keys, numbers, strict=True):
                if number is not None:
                    before = totals[key] if key in totals else accumulators.get(key, self._field.zero)
                    totals[key] = before + number
        accumulators.update(totals)
        for position, error in errors.items():
            out.refuse(position, error)

    def on_timer(self, timer: Timer[Any], state: State[Any, Any], out: Output) -> None:
        self._state = state
        if timer.name == _SILENT:
            end = timer.time - self.options.grace
            self._compare(Window(timer.key, end - self.options.size, end, is_final=True), self.start(), state, out)
        else:
            super().on_timer(timer, state, out)

    def emit(self, window: Window[Any], value: Number, out: Output) -> None:
        if self._state is not None:
            self._compare(window, value, self._state, out)

    def _compare(self, window: Window[Any], value: Number, state: State[Any, Any], out: Output) -> None:
        place = ("above", window.key)
        is_above = place in state
        if not is_above and value >= self.options.above:
            state[place] = (window.start, value)
            self._tell(window, value, out, above=True)
        elif is_above and value < self.options.low:
            del state[place]
            self._tell(window, value, out, above=False)
        if place in state:
            self._await_next(window, state, out)
        else:
            self.timers.delete(window.key, name=_SILENT)

    def _await_next(self, window: Window[Any], state: State[Any, Any], out: Output) -> None:
        """A key is above: its next window is compared, too, even if it has no records."""
        following = Window(window.key, window.end, window.end + self.options.size, is_final=True)
        closes = following.end + self.options.grace
        if closes > self.event_time:
            self.timers.set(window.key, closes, name=_SILENT)
        elif (following.start, window.key) not in state:  # else it is about to close
            self._compare(following, self.start(), state, out)

    def _tell(self, window: Window[Any], value: Number, out: Output, *, above: bool) -> None:
        times = {"start": time_text(window.start), "end": time_text(window.end)}
        out.send(self.options.output, {"key": window.key, "above": above, "value": value, **times}, key=window.key)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Threshold]
