"""WindowedProcessor: the base class of processors that group records by event time."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Generic

from typing_extensions import TypeVar

from framework.errors import LateRecordError, PluginError
from framework.output import Output
from framework.processor import Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.timers import Timer
from framework.windows.aligned import AlignedKeeper, WindowState
from framework.windows.by_key import SessionKeeper, SlidingKeeper
from framework.windows.keeper import Keeper, Window
from framework.windows.kinds import Hopping, Session, Sliding, Tumbling, Windows
from framework.windows.outputs import Positioned
from framework.windows.places import shown_windows

__all__ = ["WindowedProcessor"]

K = TypeVar("K", default=Any)
V = TypeVar("V", default=Any)
A = TypeVar("A", default=Any)
O = TypeVar("O", default=Any)  # noqa: E741


class WindowedProcessor(Processor[K, V, Any, O], Generic[K, V, A, O]):
    """Groups the records of each key into windows of event time, and keeps an accumulator for each window.

    Set `windows`, and override `start`, `add`, and `emit`. Sessions and sliding windows also need `merge`. The types
    that can be named are those of the keys, the values, the accumulators and the options.
    """

    windows: ClassVar[Windows]
    """The windows, such as `Tumbling("1m")`."""

    def __init__(self, options: O, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._keeper = _keeper_of(self, self.windows_of(options))

    @classmethod
    def windows_of(cls, options: O) -> Windows:
        """The windows, where they depend on the options. Gives `windows`, if not overridden.

        Raises `PluginError` if the class declares none.
        """
        if not isinstance(getattr(cls, "windows", None), Windows):
            raise PluginError(f'{cls.__name__} declares no windows; set, for example, windows = Tumbling("1m")')
        return cls.windows

    # ---- what to do with windows

    def start(self) -> A:
        """The accumulator of a new window, before its first record."""
        raise NotImplementedError

    def add(self, accumulator: A, record: Record[K, V]) -> A:
        """The accumulator after one more record. It may be the same object, changed."""
        raise NotImplementedError

    def merge(self, accumulator: A, other: A) -> A:
        """The accumulator of the records of both. The first one may be changed and returned."""
        raise NotImplementedError

    def result(self, accumulator: A) -> Any:
        """The result of a window. Gives the accumulator, if not overridden. It must not change the accumulator."""
        return accumulator

    def emit(self, window: Window[K], value: Any, out: Output) -> None:
        """Send the result `value` of a window, with `out.send`. Does nothing, if not overridden.

        It is called as `Windows.emit` and `Windows.early` say.
        """

    def add_batch(self, batch: Batch[K, V], accumulators: WindowState, out: Output) -> None:
        """Add the records of a batch at once, which is faster than `add`. Only for tumbling and hopping windows.

        All records belong to one window, of which `accumulators` has the accumulators by key. The result must be that
        of `add`. With `out.refuse`, a record is rejected. It is not called for windows that emit on update.
        """
        raise NotImplementedError

    # ---- the processor

    @classmethod
    def tick_of(cls, options: O) -> str | timedelta:
        """The largest tick at which all windows close in time. Override it for another one."""
        return timedelta(milliseconds=cls.windows_of(options).tick)

    @classmethod
    def state_definition(cls, options: O) -> str:
        """The windows. Override it if other options, too, decide what the state means."""
        return str(cls.windows_of(options))

    @classmethod
    def entries(cls, state: Mapping[Any, Any]) -> Iterable[Mapping[str, Any]]:
        """The windows, with key, start, end, value, and whether they are open."""
        return shown_windows(state)

    def process(self, record: Record[K, V], state: State[Any, Any], out: Output) -> None:
        """Add a record to its windows."""
        self._keeper.add(record, state, out)

    def process_batch(self, batch: Batch[K, V], state: State[Any, Any], out: Output) -> None:
        """Add the records of a batch to their windows."""
        keeper = self._keeper
        if (
            isinstance(keeper, AlignedKeeper)
            and type(self).add_batch is not WindowedProcessor.add_batch
            and self.windows_of(self.options).emit == "close"
        ):
            keeper.add_batch(batch, state, out)
            return
        here = [0]
        part_out = Positioned(out, here)
        for position, record in enumerate(batch):
            here[0] = position
            try:
                keeper.add(record, state, part_out)
            except LateRecordError as error:
                out.refuse(position, error)

    def on_timer(self, timer: Timer[Any], state: State[Any, Any], out: Output) -> None:
        """Close windows, and remove those that were kept for long enough."""
        self._keeper.on_timer(timer, state, out)

    def split_timer(self, timer: Timer[Any], state: State[Any, Any]) -> list[Any]:
        """The keys of a window one by one, so that a failure concerns one of them."""
        return self._keeper.split(timer, state)


def _keeper_of(processor: WindowedProcessor, windows: Windows) -> Keeper:
    match windows:
        case Tumbling() | Hopping():
            return AlignedKeeper(processor, windows)
        case Session():
            _check_merges(processor, windows)
            return SessionKeeper(processor, windows)
        case Sliding():
            _check_merges(processor, windows)
            return SlidingKeeper(processor, windows)
    raise PluginError(f"{type(processor).__name__} has windows of an unknown kind: {windows}")


def _check_merges(processor: WindowedProcessor, windows: Windows) -> None:
    if type(processor).merge is WindowedProcessor.merge:
        raise PluginError(f"{type(processor).__name__} has {windows}, so it needs the method merge")
