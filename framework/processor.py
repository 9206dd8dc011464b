"""Processor: the base class of the classes that plugins contribute."""

from abc import ABC
from collections.abc import Awaitable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Generic

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from framework.durations import Duration
from framework.event_time import NO_EVENT_TIME, RECORD
from framework.output import Output
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.timers import Timer, Timers

__all__ = ["API_VERSION", "Options", "Processor"]

API_VERSION = 1
"""Version of the plugin contract that this framework supports."""


class Options(BaseModel):
    """Base class of a processor's options. Unknown names and invalid values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


K = TypeVar("K", default=Any)
V = TypeVar("V", default=Any)
S = TypeVar("S", default=Any)
O = TypeVar("O", default=Any)  # noqa: E741


class Processor(ABC, Generic[K, V, S, O]):
    """Keeps state over the records of one partition. The runtime makes one instance for each assigned partition.

    For type checkers and editors, name the types of the keys, the values, the state's values and the options:
    `class Totals(Processor[str, Order, Decimal, TotalsOptions])`. All of them are optional.

    Override `process`, or `process_batch` for speed, or both. Both must lead to the same state. Keep all data that must
    survive a restart in `state`: attributes of `self` are lost.
    """

    api_version: ClassVar[int]
    """The `framework.API_VERSION` that this processor was written for. Required."""

    name: ClassVar[str] = ""
    """Name under which the state is stored; by default the plugin's name."""

    state_version: ClassVar[int] = 1
    """Version of the stored values. Raise it when their meaning changes, and override `migrate`."""

    key_format: ClassVar[Any] = "utf8"
    """Default format of keys: a name, see `framework.formats`, or a type. Keys are then JSON of that type.
    `--key-format` overrides it."""
    value_format: ClassVar[Any] = "bytes"
    """Default format of values: a name, see `framework.formats`, or a type, such as a `msgspec.Struct`. Values are then
    JSON of that type. `--value-format` overrides it."""
    output_formats: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Formats of the values that are sent, by topic: names or types. `--output-format` overrides them."""

    event_time_field: ClassVar[str] = RECORD
    """Where a record's event time comes from: `record` for its timestamp, or the path of a field in the value. Then
    `record.timestamp` is the time in that field. `--event-time` overrides it."""
    out_of_order: ClassVar[str | timedelta] = "0s"
    """How much later than a record of a later event time a record may come. The watermark stays behind the highest
    event time by that much. `--out-of-order` overrides it."""
    idle_after: ClassVar[str | timedelta | None] = None
    """Once a partition had no record for that long, the watermark follows the machine's clock, that much behind it.
    None: only records move it. `--idle-after` overrides it."""
    tick: ClassVar[str | timedelta] = "1s"
    """The step of the watermark. With `process_batch`, a batch ends at each step, so larger ticks make larger
    batches."""
    ttl: ClassVar[str | timedelta | None] = None
    """The time to live of a key of the state: a key that was not written for that long in event time is removed before
    the next record is applied. None: keys live for ever. To read a value that can change in place counts as a write."""

    Options: ClassVar[type[Options]] = Options
    """Class of the options that `--option` sets."""

    event_time: int = NO_EVENT_TIME
    """The watermark: how far event time has come in this partition, in milliseconds since the epoch. The runtime sets
    it. It is `framework.NO_EVENT_TIME` before the first record, and if the processor does not use event time, that is,
    has neither `on_timer` nor `ttl` nor `uses_event_time`."""
    uses_event_time: ClassVar[bool] = False
    """Whether the processor reads `event_time`. Not needed if it has `on_timer` or `ttl`."""
    timers: Timers[K]
    """The timers of this partition. The runtime sets it before `open`."""

    def __init__(self, options: O, partition: TopicPartition) -> None:
        self.options = options
        self.partition = partition

    @classmethod
    def value_format_of(cls, options: O) -> Any:
        """The default format of values, where it depends on the options. Gives `value_format`, if not overridden."""
        return cls.value_format

    async def open(self) -> None:
        """Called after the state is loaded and before the first record, for example to open connections.

        When the state is loaded again, as after a failure, a new instance is made and opened. An exception ends the
        run.
        """

    async def close(self) -> None:
        """Called once for each instance when it is no longer used, also after errors and after a failed `open`.

        It may be called on an instance that was never opened. An exception is logged, and has no other effect.
        """

    def process(self, record: Record[K, V], state: State[K, S], out: Output) -> Awaitable[None] | None:
        """Apply one record: change `state`, and send outputs with `out.send`. May be `async def`.

        An exception rejects the record, and undoes its changes and outputs. `framework.RecordError` is meant for a
        refusal on purpose, but any exception does.
        """
        raise NotImplementedError

    def process_batch(self, batch: Batch[K, V], state: State[K, S], out: Output) -> None:
        """Apply several records at once, which is faster than `process`."""
        raise NotImplementedError

    def on_timer(self, timer: Timer[K], state: State[K, S], out: Output) -> Awaitable[None] | None:
        """A timer fires, see `Timers`. May be `async def`.

        An exception undoes the changes and outputs of this call. Then `--on-error` applies: the run stops before the
        timer, or the timer is skipped.
        """
        raise NotImplementedError

    def split_timer(self, timer: Timer[K], state: State[K, S]) -> Iterable[Any]:
        """A timer failed. If it stands for several pieces of work: the keys of timers to fire in its place.

        They have the same name and time, and fire at once, one after the other. So a failure concerns only one of them.
        Returns none, if not overridden: then `--retries` and `--on-error` apply to the timer itself.
        """
        return ()

    @classmethod
    def tick_of(cls, options: O) -> str | timedelta | Duration:
        """The step of the watermark, where it depends on the options. Gives `tick`, if not overridden."""
        return cls.tick

    @classmethod
    def ttl_of(cls, options: O) -> str | timedelta | Duration | None:
        """The time to live of a key, where it depends on the options. Gives `ttl`, if not overridden."""
        return cls.ttl

    @classmethod
    def state_definition(cls, options: O) -> str:
        """A short text of all options that decide what the state means, such as `the sums of field amount`.

        It is stored with the state. State that was stored with another text is refused, and a message names both.
        Gives an empty text, which is not compared, if not overridden.
        """
        return ""

    @classmethod
    def entries(cls, state: Mapping[K, Any]) -> Iterable[Mapping[str, Any]]:
        """The entries of a state, as they are printed and exported: mappings with `key`, `value` and other fields.

        Override it if the keys and values of the state are not for readers. An entry may have any fields besides.
        """
        return ({"key": key, "value": value} for key, value in state.items())

    @classmethod
    def migrate(cls, state: State[K, Any], from_version: int) -> None:
        """Convert stored state of the older version `from_version` to `state_version`, in place."""
        raise NotImplementedError
