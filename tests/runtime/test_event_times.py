"""Event times: read from the records' timestamps, or from a field in every format."""

from typing import Any, ClassVar

import pytest

from framework import PluginError, Processor, UsageError
from framework.event_time import EventTimeChoice
from framework.formats import FormatOptions
from framework.formats.text import Bytes
from framework.plugins import load
from framework.runtime.event_times import EventTimes, TimeSettings
from framework.runtime.formats import FormatChoice, Formats
from tests.runtime.played import make_batch

RAW = Bytes(FormatOptions(), "value")


def event_times(field: str, *, is_used: bool = True, max_future: int | None = None, now: float = 0.0) -> EventTimes:
    return EventTimes(field, RAW, is_used=is_used, max_future=max_future, wall=lambda: now)


def batch(*values: bytes | None, timestamps: Any = None) -> Any:
    made = make_batch(["a"] * len(values), values=list(values))
    return made if timestamps is None else made.with_columns(timestamps=timestamps)


def test_the_timestamps_of_the_records_are_taken_as_they_are():
    raw = batch(b"", b"", timestamps=[5, 6])
    times, bad = event_times("record").read(raw, raw.values, ())
    assert times is raw.timestamps
    assert not bad


def test_a_record_without_a_timestamp_is_bad_only_if_time_is_used():
    raw = batch(b"", b"", timestamps=[5, -1])
    assert str(event_times("record").read(raw, raw.values, ())[1][1]) == "it has no timestamp"
    assert event_times("record", is_used=False).reads_timestamps_alone
    assert not event_times("record").reads_timestamps_alone
    assert not event_times("record", is_used=False, max_future=1).reads_timestamps_alone
    assert not event_times("t", is_used=False).reads_timestamps_alone


def test_a_field_is_read_from_json_and_each_error_names_it():
    raw = batch(b'{"at": {"t": 7}}', b'{"at": {"t": "x"}}', b'{"at": 5}', b"{", None, b'{"at": {"t": "1970-01-01"}}')
    times, bad = event_times("at.t").read(raw, raw.values, ())
    assert list(times) == [7000, 0, 0, 0, 0, 0]
    assert {at: str(error) for at, error in bad.items()}.keys() == {1, 2, 3, 4}
    assert str(bad[1]) == "at.t: 'x' is no time; ISO 8601 or a number of seconds or milliseconds is needed"
    assert str(bad[4]) == "the value is null"


def test_records_that_were_not_decoded_are_left_out():
    raw = batch(b"{", b'{"t": 1}')
    times, bad = event_times("t").read(raw, raw.values, {0: None})
    assert (list(times), bad) == ([0, 1000], {})


def test_a_field_of_another_format_is_read_from_the_decoded_values():
    class Lines(Processor):
        api_version = 1
        value_format = "csv"

        def on_timer(self, timer, state, out):
            pass

    choice = FormatChoice(value_options={"columns": "id,at"})
    formats = Formats.of(Lines, None, choice, load([]).format)
    read = EventTimes("at", formats.value, is_used=True, max_future=None, wall=lambda: 0.0)
    raw = batch(b"1,1970-01-02", b"2,")
    times, bad = read.read(raw, formats.value.read_column(raw.values), ())
    assert list(times) == [86_400_000, 0]
    assert str(bad[1]).startswith("at: '' is no time")


def test_a_time_too_far_in_the_future_is_bad():
    raw = batch(b"", b"", b"", timestamps=[1_000_000, 1_060_000, 1_060_001])
    _, bad = event_times("record", max_future=60_000, now=1000.0).read(raw, raw.values, ())
    assert str(bad.pop(2)) == "1970-01-01T00:17:40.001Z is further ahead of the clock than --max-future allows"
    assert not bad


def test_a_value_may_raise_anything():
    class Odd:
        @property
        def t(self):
            raise SystemExit("odd")

    read = EventTimes("t", load([]).format("msgpack", "value"), is_used=True, max_future=None, wall=lambda: 0.0)
    _, bad = read.read(batch(b"", b""), [Odd(), {"t": 1}], ())
    assert {at: str(error) for at, error in bad.items()} == {0: "odd"}


def test_an_empty_batch_has_no_times():
    for field in ("record", "t"):
        raw = batch()
        assert not event_times(field, max_future=1).read(raw, raw.values, ())[1]


def test_a_field_that_is_no_path_is_refused():
    with pytest.raises(UsageError, match="is not a path of fields"):
        event_times("a..b")


class Timed(Processor):
    api_version = 1
    event_time_field = "t"
    out_of_order = "2m"
    tick: ClassVar[Any] = "500ms"

    def on_timer(self, timer, state, out):
        pass


def settings_of(processor: type[Processor], **choice: Any) -> TimeSettings:
    return TimeSettings.of(processor, None, EventTimeChoice(**choice), RAW, lambda: 0.0)


def test_the_command_line_wins_over_what_a_processor_declares():
    declared = settings_of(Timed)
    assert (declared.is_used, declared.rule.tick, declared.rule.out_of_order) == (True, 500, 120_000)
    assert settings_of(Timed, out_of_order=0).rule.out_of_order == 0


def test_a_processor_without_timers_uses_no_event_time_unless_it_says_so():
    class Plain(Processor):
        api_version = 1

    class Reads(Plain):
        uses_event_time = True

    assert not settings_of(Plain).is_used
    assert settings_of(Reads).is_used


@pytest.mark.parametrize("tick", ["0s", "soon", None, 5])
def test_a_tick_that_is_none_is_the_plugins_fault(tick):
    with pytest.raises(PluginError, match="Wrong"):
        settings_of(type("Wrong", (Timed,), {"tick": tick}))


def test_the_time_until_a_partition_is_idle_is_longer_than_0():
    assert settings_of(type("Idle", (Timed,), {"idle_after": "1m"})).idle_after == 60_000
    assert settings_of(type("Idle", (Timed,), {"idle_after": "1m"}), idle_after=5).idle_after == 5
    assert settings_of(Timed).idle_after is None
    with pytest.raises(PluginError, match=r"Idle\.idle_after must be longer than 0"):
        settings_of(type("Idle", (Timed,), {"idle_after": "0s"}))
    with pytest.raises(UsageError, match="--idle-after must be longer than 0"):
        settings_of(Timed, idle_after=0)


def test_a_plugin_that_cannot_tell_its_tick_is_at_fault():
    class Broken(Timed):
        @classmethod
        def tick_of(cls, options):
            raise SystemExit("broken")

    with pytest.raises(PluginError, match=r"Broken\.tick_of failed: SystemExit: broken"):
        settings_of(Broken)
