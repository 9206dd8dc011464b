"""The plugins that are simulated, each beside its model: the same fold, written the plain way."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, MutableMapping
from copy import deepcopy
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, ClassVar

from framework.errors import LateRecordError, RecordError
from framework.event_time import NO_EVENT_TIME, event_time_of
from framework.output import Output
from framework.processor import API_VERSION, Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.testing.simulation.foreign import FOREIGN, Foreign
from framework.timers import Timer
from framework.windows import Tumbling, Window, WindowedProcessor

__all__ = ["DEAD_LETTER_TOPIC", "OUTPUT_TOPIC", "PLUGINS", "Model", "Remedy", "TimedFold", "is_marked", "timer_name"]

OUTPUT_TOPIC = "outputs"
DEAD_LETTER_TOPIC = "dead-letters"

_State = MutableMapping[Any, Any]
_PRIME = 1_000_003


@dataclass(slots=True)
class Remedy:
    """The plugins' options: until somebody mends them, they fail on marked records."""

    foreign: Foreign
    mended: bool = False


def _mixed(checksum: int, offset: int, value: int) -> int:
    """A checksum that every record changes, so that one left out, twice or out of order shows."""
    return (checksum * 31 + offset * 7 + value) % _PRIME


class _Simulated(Processor):
    api_version = API_VERSION
    key_format = "int"
    value_format = "int"

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        options.foreign.maybe("plugin: __init__")

    async def open(self) -> None:
        self.options.foreign.maybe("plugin: open")

    async def close(self) -> None:
        self.options.foreign.maybe("plugin: close")

    def refuse_marked(self, offset: int, value: int | None) -> None:
        """Fail on a marked record, the same way each time: whatever is raised is that record's failure."""
        if is_marked(value) and not self.options.mended:
            kinds: tuple[type[BaseException], ...] = (RecordError, *FOREIGN, SystemExit, GeneratorExit)
            raise kinds[offset % len(kinds)]("this record is marked")


class Checksum(_Simulated):
    """A checksum a key; a null value deletes the key."""

    def process(self, record: Record, state: _State, out: Output) -> None:
        if record.value is None:
            state.pop(record.key, None)
        else:
            state[record.key] = _mixed(state.get(record.key, 0), record.offset, record.value)


class ChecksumNow(Checksum):
    """The next version of `Checksum`: the same, in a list."""

    state_version = 2

    def process(self, record: Record, state: _State, out: Output) -> None:
        if record.value is None:
            state.pop(record.key, None)
        else:
            checksum = state.setdefault(record.key, [0])
            checksum[0] = _mixed(checksum[0], record.offset, record.value)

    @classmethod
    def migrate(cls, state: _State, from_version: int) -> None:
        for key, value in list(state.items()):
            state[key] = [value]


class ChecksumBatch(_Simulated):
    """`Checksum` over columns; a marked record fails the batch when it is half applied."""

    def process_batch(self, batch: Batch, state: _State, out: Output) -> None:
        for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            if value is None:
                state.pop(key, None)
            else:
                state.update({key: _mixed(state.get(key, 0), offset, value)})
            self.refuse_marked(offset, value)


class ChecksumAsync(_Simulated):
    """`Checksum` with a pause between reading and writing."""

    async def process(self, record: Record, state: _State, out: Output) -> None:
        before = state.get(record.key, 0)
        state[record.key] = -1
        await asyncio.sleep(record.offset % 4 * 0.004)
        self.refuse_marked(record.offset, record.value)
        if record.value is None:
            del state[record.key]
        else:
            state[record.key] = _mixed(before, record.offset, record.value)


class Tail(_Simulated):
    """The last values of each key, in a list that is changed in place; fails with traces in it."""

    def process(self, record: Record, state: _State, out: Output) -> None:
        tail = state.setdefault(record.key, [])
        tail.append([record.offset, record.value])
        del tail[:-4]
        self.refuse_marked(record.offset, record.value)


class Forward(_Simulated):
    """Counts, and sends each count on; a record gives none to two outputs, a marked one fails after them.

    The oracle reads the record's offset from the timestamp of an output, and the output's index from its partition.
    """

    def process(self, record: Record, state: _State, out: Output) -> None:
        count = state[record.key] = state.get(record.key, 0) + 1
        for index in range(outputs_of(record.value)):
            out.send(OUTPUT_TOPIC, count, key=str(record.key), timestamp=record.offset, partition=index)
        self.refuse_marked(record.offset, record.value)


class ForwardBatch(_Simulated):
    """`Forward` over columns."""

    def process_batch(self, batch: Batch, state: _State, out: Output) -> None:
        for position in range(len(batch)):
            record = batch[position]
            if is_marked(record.value) and not self.options.mended and record.offset % 2:
                out.refuse(position, RecordError("this record is marked"))
                continue
            count = state[record.key] = state.get(record.key, 0) + 1
            for index in range(outputs_of(record.value)):
                key, at = str(record.key), record.offset
                out.send(OUTPUT_TOPIC, count, key=key, timestamp=at, partition=index, position=position)
            self.refuse_marked(record.offset, record.value)


class TallyBatch(_Simulated):
    """Counts by `tally`, and refuses marked records; a null value deletes the key."""

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if is_marked(value) and not self.options.mended:
                out.refuse(position, RecordError("this record is marked"))
            elif value is None:
                state.pop(key, None)
            else:
                state.tally([key])


class Reminder(_Simulated):
    """Sends a reminder when a key's timer fires, and mixes the order of the timers into the state.

    Records behind the watermark are late. The oracle reads an output's timer from its timestamp and its key.
    """

    tick = "50ms"
    out_of_order = "100ms"

    def process(self, record: Record, state: _State, out: Output) -> None:
        if record.timestamp < self.event_time:
            raise LateRecordError("behind the watermark")
        self._remind(record, state)

    def _remind(self, record: Record, state: _State) -> None:
        if record.value is None:
            self.timers.delete(record.key)
        else:
            self.timers.set(record.key, record.timestamp + 60 * (record.value % 8))
        self.refuse_marked(record.offset, record.value)
        state["records"] = _mixed(state.get("records", 0), record.offset, self.event_time)

    def on_timer(self, timer: Timer, state: _State, out: Output) -> None:
        state["timers"] = _mixed(state.get("timers", 0), timer.key or 0, timer.time)
        out.send(OUTPUT_TOPIC, state["timers"], key=str(timer.key), timestamp=timer.time)


class ReminderBatch(Reminder):
    """`Reminder` over columns; a marked record fails the batch when it is half applied."""

    def process_batch(self, batch: Batch, state: _State, out: Output) -> None:
        for position, record in enumerate(batch):
            if record.timestamp < self.event_time:
                out.refuse(position, LateRecordError("behind the watermark"))
            else:
                self._remind(record, state)


class Forgetful(Checksum):
    """A checksum a key, which is forgotten when the key was silent for a while."""

    tick = "50ms"
    out_of_order = "100ms"
    ttl = "300ms"

    def process(self, record: Record, state: _State, out: Output) -> None:
        super().process(record, state, out)
        self.refuse_marked(record.offset, record.value)


class ForgetfulBatch(ChecksumBatch):
    """`Forgetful` over columns."""

    tick = "50ms"
    out_of_order = "100ms"
    ttl = "300ms"


class WindowChecksum(_Simulated, WindowedProcessor):
    """A checksum for each window and key, which is sent when the window closes."""

    out_of_order = "100ms"
    windows = Tumbling("400ms", grace="100ms", keep="1s")

    def start(self) -> int:
        return 0

    def add(self, accumulator: int, record: Record) -> int:
        self.refuse_marked(record.offset, record.value)
        return _mixed(accumulator, record.offset, record.value or 0)

    def emit(self, window: Window, value: int, out: Output) -> None:
        out.send(OUTPUT_TOPIC, value, key=str(window.key), timestamp=window.start)


def is_marked(value: int | None) -> bool:
    """Whether a plugin that can fail fails on it."""
    return value is not None and value < 0


def outputs_of(value: int | None) -> int:
    """How many outputs a record has."""
    return 0 if value is None else value % 3


# The models. A fold changes the state by one record, and gives the outputs' bodies.

_Fold = Callable[[dict[Any, Any], int, Any, Any], list[Any]]


def _fold_checksum(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = (state.get(key, 0) * 31 + offset * 7 + value) % _PRIME
    return []


def _fold_tail(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    state[key] = [*state.get(key, []), [offset, value]][-4:]
    return []


def _fold_forward(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    state[key] = state.get(key, 0) + 1
    return [[offset, state[key], index] for index in range(outputs_of(value))]


def _fold_tally(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = state.get(key, 0) + 1
    return []


def _fold_nothing(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    return []


class TimedFold(ABC):
    """The fold of a model with event time. Times are milliseconds. Its timers fire one by one, as the oracle asks."""

    tick: ClassVar[int]
    out_of_order: ClassVar[int] = 100

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}
        self.watermark: int | None = None

    def move(self, timestamp: int) -> None:
        """A record of this event time was read."""
        self.watermark = self.after(timestamp)

    def rule_after(self, timestamp: int) -> int:
        """The same, if the watermark was not higher before."""
        return (timestamp - self.out_of_order) // self.tick * self.tick

    def after(self, timestamp: int) -> int:
        """The watermark that a record of this event time leads to."""
        reached = self.rule_after(timestamp)
        return reached if self.watermark is None else max(self.watermark, reached)

    def expiring(self, time: int | None) -> list[Any]:
        """The keys that expire before the watermark reaches this time."""
        return []

    def expire(self, keys: Collection[Any]) -> None:
        """These keys have expired."""
        for key in keys:
            del self.state[key]

    def has_come(self, time: int) -> bool:
        """Whether the watermark has reached this time."""
        return self.watermark is not None and self.watermark >= time

    @abstractmethod
    def is_late(self, timestamp: int) -> bool:
        """Whether a record of this event time is late."""

    @abstractmethod
    def apply(self, timestamp: int, offset: int, key: Any, value: Any) -> None:
        """Change the state by a record that is not late."""

    @abstractmethod
    def is_due(self) -> bool:
        """Whether a timer is due."""

    @abstractmethod
    def fire(self) -> dict[str, Any]:
        """Let the next timer fire that is due. Returns its outputs by what names them."""


class _Reminders(TimedFold):
    tick = 50

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[tuple[int, int, Any]] = []
        self._set = 0

    def is_late(self, timestamp: int) -> bool:
        return self.watermark is not None and timestamp < self.watermark

    def apply(self, timestamp: int, offset: int, key: Any, value: Any) -> None:
        self._timers = [timer for timer in self._timers if timer[2] != key]
        now = NO_EVENT_TIME if self.watermark is None else self.watermark
        if value is not None:
            self._set += 1
            self._timers.append((max(timestamp + 60 * (value % 8), now + 1), self._set, key))
        self.state["records"] = (self.state.get("records", 0) * 31 + offset * 7 + now) % _PRIME

    def is_due(self) -> bool:
        return any(self.has_come(time) for time, _, _ in self._timers)

    def fire(self) -> dict[str, Any]:
        first = min(self._timers, key=itemgetter(0, 1))
        self._timers.remove(first)
        time, _, key = first
        self.state["timers"] = (self.state.get("timers", 0) * 31 + (key or 0) * 7 + time) % _PRIME
        return {timer_name(key, time): self.state["timers"]}


class _Forgetful(TimedFold):
    tick = 50

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[Any, int] = {}

    def is_late(self, timestamp: int) -> bool:
        return False

    def expiring(self, time: int | None) -> list[Any]:
        return [] if time is None else [key for key in self.state if self._written[key] + 300 <= time]

    def apply(self, timestamp: int, offset: int, key: Any, value: Any) -> None:
        _fold_checksum(self.state, offset, key, value)
        self._written[key] = self.after(timestamp)

    def is_due(self) -> bool:
        return False

    def fire(self) -> dict[str, Any]:
        raise NotImplementedError


class _Windows(TimedFold):
    """Its state is as `WindowChecksum.entries` shows it: key and start, then value, and whether the window is open."""

    tick = 400

    def is_late(self, timestamp: int) -> bool:
        return self.has_come(timestamp // 400 * 400 + 500)

    def apply(self, timestamp: int, offset: int, key: Any, value: Any) -> None:
        place = (key, timestamp // 400 * 400)
        checksum, _ = self.state.get(place, (0, True))
        self.state[place] = ((checksum * 31 + offset * 7 + (value or 0)) % _PRIME, True)

    def is_due(self) -> bool:
        return any(map(self.has_come, self._times()))

    def _times(self) -> dict[int, tuple[int, bool]]:
        """The start of the window that closes or is dropped at a time, and whether it closes."""
        return {start + (500 if is_open else 1500): (start, is_open) for (_, start), (_, is_open) in self.state.items()}

    def fire(self) -> dict[str, Any]:
        times = self._times()
        start, closes = times[min(times)]
        places = [place for place in self.state if place[1] == start]
        if not closes:
            for place in places:
                del self.state[place]
            return {}
        for place in places:
            self.state[place] = (self.state[place][0], False)
        return {timer_name(key, start): self.state[key, start][0] for key, _ in places}


def timer_name(key: Any, timestamp: int) -> str:
    """Names an output of a timer, by the output's key and timestamp."""
    return f"{key} at {timestamp}"


def _windows_of(state: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        (entry["key"], event_time_of(entry["start"])): (entry["value"], entry["open"])
        for entry in WindowChecksum.entries(state)
    }


@dataclass(frozen=True, slots=True)
class Model:
    """A plugin and what it should do."""

    name: str
    processor: type[Processor]
    fold: _Fold
    can_fail: bool
    """Whether it fails on marked records."""
    successor: type[Processor] | None = None
    """What a rolling upgrade replaces it with."""
    upgraded: Callable[[Mapping[Any, Any]], dict[Any, Any]] = field(default=dict)
    """The state as the successor has it."""
    timed: type[TimedFold] | None = None
    """Takes the place of `fold` if the plugin uses event time."""
    view: Callable[[Mapping[Any, Any]], dict[Any, Any]] = dict
    """The stored state as the fold has it."""


def _in_lists(state: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: [deepcopy(value)] for key, value in state.items()}


PLUGINS = (
    Model("checksum", Checksum, _fold_checksum, can_fail=False, successor=ChecksumNow, upgraded=_in_lists),
    Model("checksum-batch", ChecksumBatch, _fold_checksum, can_fail=True),
    Model("checksum-async", ChecksumAsync, _fold_checksum, can_fail=True),
    Model("tail", Tail, _fold_tail, can_fail=True),
    Model("forward", Forward, _fold_forward, can_fail=True),
    Model("forward-batch", ForwardBatch, _fold_forward, can_fail=True),
    Model("tally-batch", TallyBatch, _fold_tally, can_fail=True),
    Model("reminder", Reminder, _fold_nothing, can_fail=True, timed=_Reminders),
    Model("reminder-batch", ReminderBatch, _fold_nothing, can_fail=True, timed=_Reminders),
    Model("forgetful", Forgetful, _fold_nothing, can_fail=True, timed=_Forgetful),
    Model("forgetful-batch", ForgetfulBatch, _fold_nothing, can_fail=True, timed=_Forgetful),
    Model("windows", WindowChecksum, _fold_nothing, can_fail=True, timed=_Windows, view=_windows_of),
)
