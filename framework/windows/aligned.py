"""Aligned windows: tumbling and hopping windows, whose borders do not depend on the records."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import add, is_not
from typing import TYPE_CHECKING, Any, Final

from framework.errors import LateRecordError
from framework.event_time import extent
from framework.output import Output
from framework.records import Batch, Record
from framework.state import State
from framework.timers import Timer
from framework.windows.grid import Grid, Span
from framework.windows.keeper import Keeper, Window
from framework.windows.kinds import Hopping, Tumbling
from framework.windows.outputs import Positioned
from framework.windows.places import CHUNK, CHUNK_HEAD, chunk_place

if TYPE_CHECKING:
    from framework.windows.processor import WindowedProcessor

__all__ = ["AlignedKeeper", "WindowState"]

_FEW: Final = 3
"""If keys occur this often in a batch on average, it is faster to count them before the state is read; *measured*."""
_NONE: Final[Any] = object()


class AlignedKeeper(Keeper):
    """Keeps the aligned windows of one processor."""

    def __init__(self, processor: "WindowedProcessor", windows: Tumbling | Hopping) -> None:
        super().__init__(processor, windows)
        self._grid: Grid = windows.grid
        self._spans: list[Span] = []
        """The windows of the last record, which the next record is in as a rule."""
        self._known: dict[int, dict[Any, Any]] = {}
        """The keys of windows by their start, each with its place in the state: a copy of what it has, for speed."""

    # ---- records

    def add(self, record: Record, state: State[Any, Any], out: Output) -> None:
        for span in self._open_spans(record.timestamp):
            self._add_to(span, record, state, out)

    def _add_to(self, span: Span, record: Record, state: State[Any, Any], out: Output) -> None:
        processor, place = self._processor, (span.start, record.key)
        accumulator = state.get(place, _NONE)
        if accumulator is _NONE:
            accumulator = processor.start()
            self._register(span, [record.key], state)
        state[place] = accumulator = processor.add(accumulator, record)
        if self._windows.emit == "update":
            self._emit(Window(record.key, *span, is_final=False), accumulator, out)

    def add_batch(self, batch: Batch, state: State[Any, Any], out: Output) -> None:
        """Add a batch through the processor's `add_batch`, a window at a time."""
        for span, positions in self._positions_of(batch, out).items():
            whole = len(positions) == len(batch)
            part, part_out = (batch, out) if whole else (_taken(batch, positions), Positioned(out, positions))
            self._processor.add_batch(part, WindowState(self, span, state), part_out)

    def _positions_of(self, batch: Batch, out: Output) -> Mapping[Span, Sequence[int]]:
        """The windows of the batch, and the positions of their records. Rejects the records that are late."""
        times = batch.timestamps
        first, last = self._first_and_last_spans(times)
        if first and first == last and self._is_open(first[0]):
            return dict.fromkeys(first, range(len(batch)))
        if len(first) == len(last) == 1 and first[0].end == last[0].start and self._is_open(first[0]):
            is_later = [time >= last[0].start for time in times]
            return {
                first[0]: [position for position, later in enumerate(is_later) if not later],
                last[0]: [position for position, later in enumerate(is_later) if later],
            }
        found: dict[Span, list[int]] = {}
        for position, time in enumerate(times):
            try:
                spans = self._open_spans(time)
            except (LateRecordError, ValueError) as error:
                out.refuse(position, error)
                continue
            for span in spans:
                found.setdefault(span, []).append(position)
        return found

    def _first_and_last_spans(self, times: Sequence[int]) -> tuple[list[Span], list[Span]]:
        """The windows of the earliest and the latest of these times; none if they cannot be."""
        earliest, latest = extent(times)
        try:
            return self._spans_of(earliest), self._spans_of(latest)
        except ValueError:
            return [], []

    def _spans_of(self, time: int) -> list[Span]:
        spans = self._spans
        if not spans or not spans[-1].start <= time < spans[0].end or self._is_hopping:
            self._spans = spans = self._grid.spans(time)
        return spans

    @property
    def _is_hopping(self) -> bool:
        return isinstance(self._windows, Hopping)

    def _is_open(self, span: Span) -> bool:
        return span.end + self._grace > self._processor.event_time

    def _open_spans(self, time: int) -> list[Span]:
        spans = self._spans_of(time)
        if self._is_open(spans[0]):
            return spans
        still_open = [span for span in spans if self._is_open(span)]
        if not still_open:
            raise self._late(time, spans[-1].end + self._grace)
        return still_open

    # ---- chunks

    def places_of(self, span: Span, keys: Sequence[Any], state: State[Any, Any]) -> tuple[list[Any], int]:
        """The places of these keys in the state, and the number of keys of the window, which then has all of them."""
        known = self._known_places(span.start, state)
        try:
            return list(map(known.__getitem__, keys)), len(known)
        except KeyError:
            self._register(span, [key for key in dict.fromkeys(keys) if key not in known], state)
            return list(map(known.__getitem__, keys)), len(known)

    def _known_places(self, start: int, state: State[Any, Any]) -> dict[Any, Any]:
        """The keys of a window. They are read from the state again if there are fewer of them, as after an undo."""
        count = state.get((start,), 0)
        last = len(state[chunk_place(start, count - 1)]) - CHUNK_HEAD if count else 0
        known = self._known.get(start)
        if known is None or len(known) != max(0, count - 1) * CHUNK + last:
            chunks = (state.get(chunk_place(start, number), ()) for number in range(count))
            known = self._known[start] = {key: (start, key) for chunk in chunks for key in chunk[CHUNK_HEAD:]}
        return known

    def _register(self, span: Span, keys: Sequence[Any], state: State[Any, Any]) -> None:
        """Remember that a window has these keys, which are new in it, and when to close it."""
        start, count, done = span.start, state.get((span.start,), 0), 0
        if start in self._known:
            self._known[start].update((key, (start, key)) for key in keys)
        chunk: Any = state.get(chunk_place(start, count - 1)) if count else None
        while done < len(keys):
            room = 0 if chunk is None else CHUNK + CHUNK_HEAD - len(chunk)
            if chunk is None or room <= 0:
                state[chunk_place(start, count)] = chunk = [span.end, True]
                self._set_timers(span, count)
                count, room = count + 1, CHUNK
                state[start,] = count
            chunk += keys[done : done + room]
            done += room

    def _set_timers(self, span: Span, number: int) -> None:
        timers, closes = self._processor.timers, span.end + self._grace
        timers.set((span.start, number), closes, name="close")
        if self._keep is not None:
            timers.set((span.start, number), closes + self._keep, name="drop")
        self._set_early((span.start, number), max(span.start, self._processor.event_time), closes)

    def _set_early(self, place: tuple[int, int], now: int, closes: int) -> None:
        if self._early and (time := (now // self._early + 1) * self._early) < closes:
            self._processor.timers.set(place, time, name="early")

    # ---- timers

    def on_timer(self, timer: Timer, state: State[Any, Any], out: Output) -> None:
        start, number, *single = timer.key
        place = chunk_place(start, number)
        match timer.name:
            case "drop":
                self._drop(place, state)
            case "early":
                end, _, *keys = state[place]
                for key in keys:
                    self._emit(Window(key, start, end, is_final=False), state[start, key], out)
                self._set_early((start, number), self._processor.event_time, end + self._grace)
            case _:
                self._close(place, single, state, out)

    def split(self, timer: Timer, state: State[Any, Any]) -> list[Any]:
        """The timers that close the keys of a chunk one by one."""
        start, number, *single = timer.key
        if timer.name != "close" or single:
            return []
        return [(start, number, key) for key in state[chunk_place(start, number)][CHUNK_HEAD:]]

    def _close(self, place: tuple[int, int, int], single: list[Any], state: State[Any, Any], out: Output) -> None:
        start, chunk = place[0], state[place]
        keys = single or chunk[CHUNK_HEAD:]
        places = list(zip(repeat(start), keys))
        accumulators = [state[each] for each in places]
        values = self._close_windows(keys, start, chunk[0], accumulators, out)
        if self._keep is not None:
            if any(map(is_not, values, accumulators)):
                state.update(zip(places, values, strict=True))
            chunk[1] = False
            return
        for each in places:
            del state[each]
        if single:
            chunk.remove(single[0])
        if not single or len(chunk) == CHUNK_HEAD:
            self._remove_chunk(place, state)

    def _drop(self, place: tuple[int, int, int], state: State[Any, Any]) -> None:
        for key in state[place][CHUNK_HEAD:]:
            del state[place[0], key]
        self._remove_chunk(place, state)

    def _remove_chunk(self, place: tuple[int, int, int], state: State[Any, Any]) -> None:
        start, number, _ = place
        self._known.pop(start, None)
        del state[place]
        if state.get((start,)) == number + 1:
            del state[start,]


class WindowState:
    """The accumulators of one window by key, for `WindowedProcessor.add_batch`."""

    __slots__ = ("_keeper", "_span", "_state")

    def __init__(self, keeper: AlignedKeeper, span: Span, state: State[Any, Any]) -> None:
        self._keeper = keeper
        self._span = span
        self._state = state

    def get(self, key: Any, default: Any = None) -> Any:
        """The accumulator of a key, or `default`."""
        return self._state.get((self._span.start, key), default)

    def update(self, accumulators: Mapping[Any, Any]) -> None:
        """Set the accumulators of these keys."""
        places, _ = self._keeper.places_of(self._span, list(accumulators), self._state)
        self._state.update(zip(places, accumulators.values(), strict=True))

    def tally(self, keys: Sequence[Any]) -> None:
        """Add 1 to the accumulator of a key for each time that it occurs in `keys`. A new key begins at 0."""
        state = self._state
        places, known = self._keeper.places_of(self._span, keys, state)
        if _FEW * known > len(keys):
            state.tally(places)
        else:
            counts = Counter(places)
            before = map(state.get, counts, repeat(0))
            state.update(zip(counts, map(add, before, counts.values()), strict=True))


def _taken(batch: Batch, positions: Sequence[int]) -> Batch:
    """The records at these positions. Its offsets have gaps."""
    columns = (batch.offsets, batch.timestamps, batch.keys, batch.values, batch.headers)
    taken: Any = ([column[at] for at in positions] for column in columns)
    return Batch(batch.topic_partition, batch.start, batch.end, *taken)
