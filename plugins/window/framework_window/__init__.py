"""Counts records, or sums a field of them, by key in tumbling, hopping or session windows of event time."""

from collections.abc import Sequence
from typing import Any, Literal, Self

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
    TopicPartition,
    UsageError,
    exact_sums,
    hookimpl,
)
from framework.event_time import time_text
from framework.windows import Hopping, Session, Tumbling, Window, WindowedProcessor, Windows, WindowState

__all__ = ["WindowOptions", "WindowTotals", "framework_processors"]

_COUNT = "count"
_OF_KIND = {"tumbling": ("size",), "hopping": ("size", "every"), "session": ("gap",)}
"""The options that each kind needs. It takes none of the others."""


class WindowOptions(Options):
    """The windows, what is computed in them, and where the results go."""

    kind: Literal["tumbling", "hopping", "session"] = Field(default="tumbling", description="The kind of windows")
    size: Duration | None = Field(default=None, description="Length of tumbling and hopping windows: 1m, 1d")
    every: Duration | None = Field(default=None, description="A hopping window begins each time that this has passed")
    gap: Duration | None = Field(default=None, description="A session ends when its key is silent for this long")
    timezone: str = Field(
        default="UTC", description="Time zone, such as Europe/Berlin, whose days the windows are; for sizes of days"
    )
    origin: str = Field(default="1970-01-01", description="A time, or in a time zone a date, at which a window begins")
    grace: Duration = Field(default=Duration("0s"), description="How long a window stays open after its end")
    value: str = Field(
        default=_COUNT, description="count, or the field to sum: order.amount, or as a JSON Pointer: /order/net.amount"
    )
    number: NumberKind = Field(
        default="decimal",
        description="How the field is read. decimal: the numbers as written; int: whole numbers; float: as doubles",
    )
    output: str | None = Field(default=None, description="The topic to which results are sent")
    keep: Duration | None = Field(default=None, description="How long closed windows stay in the state: 7d")
    emit: Literal["close", "update"] = Field(
        default="close", description="When results are sent: when a window closes, or each time that it changes"
    )
    early: Duration | None = Field(
        default=None, description="With emit=close: also send the results of open windows this often, in event time"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = {"size": self.size, "every": self.every, "gap": self.gap}
        for name, value in given.items():
            if (value is None) == (name in _OF_KIND[self.kind]):
                raise ValueError(f"{self.kind} windows {'need' if value is None else 'have no'} {name}")
        if self.kind == "session" and (self.timezone, self.origin) != ("UTC", "1970-01-01"):
            raise ValueError("session windows have neither timezone nor origin")
        if self.output is None and self.keep is None:
            raise ValueError("the results would be lost; set output=TOPIC to send them, or keep=7d to keep them")
        if self.output is None and (self.emit == "update" or self.early is not None):
            raise ValueError("emit=update and early are about results that are sent; set output=TOPIC")
        try:
            _ = self.windows
            if self.value != _COUNT:
                FieldPath.parse(self.value)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def windows(self) -> Windows:
        """The windows. Raises `UsageError` for those that cannot be."""
        results: dict[str, Any] = {"grace": self.grace, "keep": self.keep, "emit": self.emit, "early": self.early}
        if self.gap is not None:
            return Session(self.gap, **results)
        size: Any = self.size
        results |= {"timezone": self.timezone, "origin": self.origin}
        return Tumbling(size, **results) if self.every is None else Hopping(size, self.every, **results)

    @property
    def field(self) -> NumberField | None:
        """The field to sum; None to count."""
        return None if self.value == _COUNT else NumberField(self.value, self.number)


class WindowTotals(WindowedProcessor[Any, Any, Number, WindowOptions]):
    """Counts records, or sums a field of them without rounding, by key and window.

    The records without a key are those of the key null. A record is refused if the field is missing or is not a number.
    """

    api_version = 1
    Options = WindowOptions

    def __init__(self, options: WindowOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._field = options.field

    @classmethod
    def windows_of(cls, options: WindowOptions) -> Windows:
        return options.windows

    @classmethod
    def value_format_of(cls, options: WindowOptions) -> Any:
        return cls.value_format if options.field is None else options.field.value_format

    @classmethod
    def state_definition(cls, options: WindowOptions) -> str:
        if options.value == _COUNT:
            return f"counts in {options.windows}"
        return f"sums of field {options.value} ({options.number}) in {options.windows}"

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
        else:
            self._sum(self._field, batch, accumulators, out)

    def _sum(self, field: NumberField, batch: Batch, accumulators: WindowState, out: Output) -> None:
        numbers, errors = field.of_column(batch.values)
        totals: dict[Any, Number] = {}
        with exact_sums():
            for key, number in zip(batch.keys, numbers, strict=True):
                if number is None:  # it is refused
                    continue
                if key in totals:
                    totals[key] += number
                else:
                    totals[key] = accumulators.get(key, field.zero) + number
        accumulators.update(totals)
        for position, error in errors.items():
            out.refuse(position, error)

    def merge(self, accumulator: Number, other: Number) -> Number:
        with exact_sums():
            return accumulator + other

    def emit(self, window: Window, value: Any, out: Output) -> None:
        if self.options.output is None:
            return
        result = {"key": window.key, "start": time_text(window.start), "end": time_text(window.end), "value": value}
        if self.options.emit == "update" or self.options.early is not None:
            result["final"] = window.is_final
        # Without a timestamp: if it were in the window, the topic's retention could delete results of old records.
        out.send(self.options.output, result, key=window.key)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [WindowTotals]
