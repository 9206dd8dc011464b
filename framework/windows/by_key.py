"""Windows of single keys: sessions and sliding windows, whose borders depend on the records."""

from bisect import bisect_left, insort
from copy import deepcopy
from functools import reduce
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from framework.durations import Duration
from framework.output import Output
from framework.records import Record
from framework.state import State
from framework.timers import Timer
from framework.windows.keeper import Keeper, Window
from framework.windows.kinds import Session, Sliding
from framework.windows.places import CHUNK, closed_session_place, due_place, session_place, sliding_place

if TYPE_CHECKING:
    from framework.windows.processor import WindowedProcessor

__all__ = ["SessionKeeper", "SlidingKeeper"]

_TIME: Final = itemgetter(0)


class SessionKeeper(Keeper):
    """Keeps sessions. Those of a key that are open lie together: when to look at them, then lists as in `places`.

    A session that is kept after it has closed lies alone, so that it does not burden the later ones of its key.

    One timer looks at up to 512 keys, which are listed in a chunk. It is for a step of the watermark, so sessions close
    at the same steps as with a timer for each of them. A session that has become longer is listed again when it is
    looked at.
    """

    def __init__(self, processor: "WindowedProcessor", windows: Session) -> None:
        super().__init__(processor, windows)
        self._gap = Duration(windows.gap)
        self._tick = Duration(processor.tick_of(processor.options))

    # ---- records

    def add(self, record: Record, state: State[Any, Any], out: Output) -> None:
        processor, key, time = self._processor, record.key, record.timestamp
        end = time + self._gap
        entry: Any = state.get(session_place(key))  # a list, which counts as changed now
        touched = [] if entry is None else [each for each in entry[1:] if each[0] < end and time < each[1]]
        if touched:
            session = touched[0] if len(touched) == 1 else self._joined(touched, entry)
            session[0], session[1] = min(session[0], time), max(session[1], end)
        elif end + self._grace <= processor.event_time:
            raise self._late(time, end + self._grace)
        else:
            session = [time, end, processor.start()]
            self._insert(key, session, entry, state)
        session[2] = processor.add(session[2], record)
        if self._windows.emit == "update":
            self._emit(Window(key, session[0], session[1], is_final=False), session[2], out)
        elif self._early and not touched:
            self._set_early(key, time)

    def _joined(self, touched: list[Any], entry: list[Any]) -> Any:
        """Join these sessions, which a record touches, to the first of them."""
        first, *others = touched
        for other in others:
            first[2] = self._processor.merge(first[2], other[2])
            first[1] = max(first[1], other[1])
            entry.remove(other)
        return first

    def _insert(self, key: Any, session: list[Any], entry: list[Any] | None, state: State[Any, Any]) -> None:
        """Begin a session."""
        step = self._step_after(session[1])
        if entry is None:
            state[session_place(key)] = [step, session]
        else:
            insort(entry, session, lo=1, key=_TIME)
            if step >= entry[0]:
                return
            entry[0] = step
        self._list(key, step, state)

    # ---- when to look at keys

    def _step_after(self, end: int) -> int:
        """The step of the watermark at which a session closes."""
        return -(-(end + self._grace) // self._tick) * self._tick

    def _list(self, key: Any, step: int, state: State[Any, Any]) -> None:
        """Look at the key when the watermark reaches `step`."""
        last = state.get(due_place(step), 0)
        chunk = state.get(due_place(step, last - 1)) if last else None
        if chunk is None or len(chunk) == CHUNK:
            state[due_place(step)] = last + 1
            state[due_place(step, last)] = [key]
            self._processor.timers.set((step, last), step, name="close")
        else:
            chunk.append(key)

    def _set_early(self, key: Any, time: int) -> None:
        """Emit early results of the key at the first multiple after `time` and after the watermark."""
        timers = self._processor.timers
        if timers.get(key, name="early") is None:
            after = max(time, self._processor.event_time)
            timers.set(key, (after // self._early + 1) * self._early, name="early")

    # ---- timers

    def on_timer(self, timer: Timer, state: State[Any, Any], out: Output) -> None:
        match timer.name:
            case "drop":
                del state[closed_session_place(*timer.key)]
            case "early":
                self._emit_early(timer.key, state.get(session_place(timer.key), [0])[1:], out)
            case _:
                self._close_listed(timer.key, state, out)

    def split(self, timer: Timer, state: State[Any, Any]) -> list[Any]:
        """The timers that look at the keys of a chunk one by one."""
        step, number, *single = timer.key if timer.name == "close" else (0, 0, True)
        return [] if single else [(step, number, key) for key in dict.fromkeys(state[due_place(step, number)])]

    def _emit_early(self, key: Any, sessions: list[Any], out: Output) -> None:
        for start, end, accumulator in sessions:
            self._emit(Window(key, start, end, is_final=False), accumulator, out)
        if sessions:
            self._set_early(key, self._processor.event_time)

    def _close_listed(self, timer_key: Any, state: State[Any, Any], out: Output) -> None:
        step, number, *single = timer_key
        chunk: list[Any] = state[due_place(step, number)]
        for key in single or chunk:
            entry = state.get(session_place(key))
            if entry is not None and entry[0] == step:  # else it is listed elsewhere, too
                self._close_due(key, entry, state, out)
        if single:
            chunk[:] = [key for key in chunk if key not in single]
        if not single or not chunk:
            del state[due_place(step, number)]
            if state.get(due_place(step)) == number + 1:
                del state[due_place(step)]

    def _close_due(self, key: Any, entry: list[Any], state: State[Any, Any], out: Output) -> None:
        now, still_open = self._processor.event_time, []
        for session in entry[1:]:
            start, end, accumulator = session
            closes = end + self._grace
            if closes > now:
                still_open.append(session)
                continue
            [value] = self._close_windows([key], start, end, [accumulator], out)
            if self._keep is not None and closes + self._keep > now:
                state[closed_session_place(key, start)] = [end, value]
                self._processor.timers.set((key, start), closes + self._keep, name="drop")
        if not still_open:
            del state[session_place(key)]
            return
        entry[:] = [min(map(self._step_after, (end for _, end, _ in still_open))), *still_open]
        self._list(key, entry[0], state)


class SlidingKeeper(Keeper):
    """Keeps the moments at which keys have records. An entry is a list of time, whether it is open, and accumulator.

    The accumulator is of the records of that moment alone. The result of a window merges those of its moments.
    """

    def __init__(self, processor: "WindowedProcessor", windows: Sliding) -> None:
        super().__init__(processor, windows)
        self._size = Duration(windows.size)

    def split(self, timer: Timer, state: State[Any, Any]) -> list[Any]:
        return []

    def _wake_at(self, key: Any, time: int) -> None:
        """Look at the key again at `time`, or before."""
        timers = self._processor.timers
        known = timers.get(key)
        if known is None or time < known:
            timers.set(key, time)

    def add(self, record: Record, state: State[Any, Any], out: Output) -> None:
        processor, key, time = self._processor, record.key, record.timestamp
        closes = time + 1 + self._grace
        if closes <= processor.event_time:
            raise self._late(time, closes)
        place = sliding_place(key)
        moments = state.get(place, [])
        at = bisect_left(moments, time, key=_TIME)
        if at == len(moments) or moments[at][0] != time:
            moments.insert(at, [time, True, processor.start()])
            self._wake_at(key, closes)
        moments[at][2] = processor.add(moments[at][2], record)
        state[place] = moments
        if self._windows.emit == "update":
            for each in moments[at:]:
                if each[0] < time + self._size:
                    self._emit_at(key, each[0], moments, out, is_final=False)

    def _emit_at(self, key: Any, time: int, moments: list[Any], out: Output, *, is_final: bool) -> None:
        first = time + 1 - self._size
        within = [deepcopy(each[2]) for each in moments if first <= each[0] <= time]
        window = Window(key, first, time + 1, is_final=is_final)
        self._emit(window, reduce(self._processor.merge, within), out)

    def on_timer(self, timer: Timer, state: State[Any, Any], out: Output) -> None:
        key, now = timer.key, self._processor.event_time
        moments = state.get(sliding_place(key), [])
        for moment in moments:
            if moment[1] and moment[0] + 1 + self._grace <= now:
                if self._windows.emit == "close":
                    self._emit_at(key, moment[0], moments, out, is_final=True)
                moment[1] = False
        kept = [each for each in moments if each[1] or each[0] + self._size + self._grace > now]
        if not kept:
            state.pop(sliding_place(key), None)
            return
        state[sliding_place(key)] = kept
        waits = [each[0] + (1 if each[1] else self._size) + self._grace for each in kept]
        self._processor.timers.set(key, min(waits))
