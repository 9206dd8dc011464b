"""Event times: where those of a processor's records come from, and what moves its watermark."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from framework.borders import is_plugin_failure
from framework.durations import Duration, parse_duration
from framework.errors import PluginError, RecordError, UsageError
from framework.event_time import RECORD, EventTimeChoice, event_time_of, extent, time_text
from framework.fields import FieldPath
from framework.formats import Format
from framework.formats.json import Json, JsonDecimal, TypedJson
from framework.formats.text import Bytes, Utf8
from framework.processor import Processor
from framework.records import Batch
from framework.runtime.declarations import declared
from framework.runtime.watermark import WatermarkRule

__all__ = ["EventTimes", "TimeSettings"]

_Bad = dict[int, BaseException]


class EventTimes:
    """Reads the event times of records."""

    def __init__(
        self, field: str, value_format: Format, *, is_used: bool, max_future: int | None, wall: Callable[[], float]
    ) -> None:
        """`is_used`: whether the processor uses event time. `max_future`: how far an event time may be ahead of the
        wall clock, in milliseconds; None: any distance. `wall` returns seconds since the epoch.

        Raises `UsageError` for a field that is no path.
        """
        self._path = None if field == RECORD else FieldPath.parse(field)
        self._json = _json_reader(self._path, value_format) if self._path is not None else None
        self.reads_timestamps_alone = self._path is None and not is_used and max_future is None
        """Whether the event times are the timestamps, and all of them are taken. Then `read` need not be called."""
        self._max_future = max_future
        self._wall = wall

    def read(self, raw: Batch, values: Sequence[Any], undecoded: Collection[int]) -> tuple[Sequence[int], _Bad]:
        """Returns the column of event times, and the errors of the records without one, by position.

        `values`: the decoded values of `raw`. The records at the positions `undecoded` are left out, with the time 0.
        """
        bad: _Bad = {}
        if self._path is None:
            times = raw.timestamps
            if len(times) and extent(times)[0] < 0:
                bad = {at: ValueError("it has no timestamp") for at, time in enumerate(times) if time < 0}
        else:
            times = self._times_of_field(self._path, raw, values, undecoded, bad)
        if self._max_future is not None and len(times):
            self._check_future(times, bad, self._max_future)
        return times, bad

    def _times_of_field(
        self, path: FieldPath, raw: Batch, values: Sequence[Any], undecoded: Collection[int], bad: _Bad
    ) -> list[int]:
        times = [0] * len(raw)
        column = values if self._json is None else raw.values
        for position, value in enumerate(column):
            if position not in undecoded:
                try:
                    times[position] = self._time_of(path, value)
                except BaseException as error:  # a value of a plugin's format may raise anything
                    if not is_plugin_failure(error):
                        raise
                    bad[position] = error
        return times

    def _time_of(self, path: FieldPath, value: Any) -> int:
        if value is None:
            raise ValueError("the value is null")
        if self._json is not None:
            value = self._json.read(value)
        try:
            found = path.of(value)
        except RecordError as error:
            raise ValueError(str(error)) from None
        try:
            return event_time_of(found)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _check_future(self, times: Sequence[int], bad: _Bad, max_future: int) -> None:
        latest = int(self._wall() * 1000) + max_future
        if extent(times)[1] > latest:
            for position, time in enumerate(times):
                if time > latest:
                    bad[position] = ValueError(
                        f"{time_text(time)} is further ahead of the clock than --max-future allows"
                    )


def _json_reader(path: FieldPath, value_format: Format) -> Format | None:
    """A reader of the field in values that are JSON, or whose format does not tell fields; None: the decoded ones."""
    if isinstance(value_format, Bytes | Utf8 | Json | JsonDecimal | TypedJson):
        return TypedJson(path.json_type(), "value")
    return None


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """The settings of event time of one processor. Durations are milliseconds."""

    is_used: bool
    """Whether the processor uses event time, so that it has a watermark."""
    event_times: EventTimes
    rule: WatermarkRule
    wall: Callable[[], float]
    """The wall clock, in seconds since the epoch."""
    ttl: int | None = None
    """The time to live of a key of the state; None: for ever."""
    idle_after: int | None = None
    """How long a partition has no records until the watermark follows the wall clock; None: it never does."""

    @classmethod
    def of(
        cls,
        processor: type[Processor],
        options: Any,
        choice: EventTimeChoice,
        value_format: Format,
        wall: Callable[[], float],
    ) -> "TimeSettings":
        """Raises `UsageError` for choices that cannot be used, and `PluginError` for declarations that cannot."""
        chosen_ttl = declared(processor, "ttl_of", options)
        ttl = None if chosen_ttl is None else _longer_than_0(processor, "ttl", chosen_ttl)
        idle_after = choice.idle_after
        if idle_after == 0:
            raise UsageError("--idle-after must be longer than 0")
        if idle_after is None and processor.idle_after is not None:
            idle_after = _longer_than_0(processor, "idle_after", processor.idle_after)
        is_used = processor.uses_event_time or processor.on_timer is not Processor.on_timer or ttl is not None
        tick = _longer_than_0(processor, "tick", declared(processor, "tick_of", options))
        out_of_order = choice.out_of_order
        if out_of_order is None:
            out_of_order = _milliseconds(processor, "out_of_order", processor.out_of_order)
        field = choice.field or processor.event_time_field
        event_times = EventTimes(field, value_format, is_used=is_used, max_future=choice.max_future, wall=wall)
        return cls(is_used, event_times, WatermarkRule(tick, out_of_order), wall, ttl, idle_after)


def _longer_than_0(processor: type[Processor], name: str, value: str | timedelta | Duration) -> int:
    milliseconds = _milliseconds(processor, name, value)
    if not milliseconds:
        raise PluginError(f"{processor.__name__}.{name} must be longer than 0")
    return milliseconds


def _milliseconds(processor: type[Processor], name: str, value: str | timedelta | Duration) -> int:
    try:
        return value if isinstance(value, Duration) else parse_duration(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise PluginError(f"{processor.__name__}.{name}: {error}") from error
