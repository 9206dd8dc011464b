"""Places: where windows lie in the state of a processor, and how they are shown.

Each key of the state is a tuple:

=======================  =======================================================================================
(start, key)             the accumulator of an aligned window and key; the result, once it is closed and kept
(start,)                 the number of chunks of an aligned window
(start, number, 0)       a chunk: a list of the window's end, whether it is open, and some of its keys
("session", key)         the next step at which a session of the key may close, and its open sessions by time: lists of
                         start, end, and the accumulator
("session", key, start)  a session that is closed and kept: a list of its end and its result
("due", step)            the number of chunks of keys with that next step
("due", step, number)    such a chunk: a list of keys
("sliding", key)         the moments of a key, by time: lists of time, whether its window is open, and the accumulator
=======================  =======================================================================================

Times are milliseconds since the epoch. The chunks make it possible to close a window without a search for its keys, and
a bounded number of keys at a time.
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from framework.event_time import time_text

__all__ = [
    "CHUNK",
    "CHUNK_HEAD",
    "chunk_place",
    "closed_session_place",
    "due_place",
    "session_place",
    "shown_windows",
    "sliding_place",
]

CHUNK: Final = 512
"""The most keys of a chunk, which one timer closes. It bounds the time for which `on_timer` holds up the worker."""
CHUNK_HEAD: Final = 2
"""The number of items of a chunk before its keys."""


def chunk_place(start: int, number: int) -> tuple[int, int, int]:
    """Where a chunk of an aligned window lies."""
    return (start, number, 0)


def session_place(key: Any) -> tuple[str, Any]:
    """Where the open sessions of a key lie."""
    return ("session", key)


def sliding_place(key: Any) -> tuple[str, Any]:
    """Where the moments of a key lie."""
    return ("sliding", key)


def due_place(step: int, *number: int) -> tuple[Any, ...]:
    """Where a chunk of keys lies whose sessions may close at a step; without `number`: where their number lies."""
    return ("due", step, *number)


def closed_session_place(key: Any, start: int) -> tuple[str, Any, int]:
    """Where a session lies that has closed and is kept."""
    return ("session", key, start)


def shown_windows(state: Mapping[Any, Any]) -> Iterator[dict[str, Any]]:
    """The windows of a state as they are printed, the earliest first."""
    aligned = sorted(place for place in state if len(place) == 3 and not isinstance(place[0], str))
    for start, number, _ in aligned:
        end, is_open, *keys = state[chunk_place(start, number)]
        for key in keys:
            yield _shown(key, start, end, state[start, key], is_open)
    others = [window for place in state if isinstance(place[0], str) for window in _of_key(place, state[place])]
    for start, end, value, is_open, key in sorted(others, key=itemgetter(0)):
        yield _shown(key, start, end, value, is_open)


def _of_key(place: Any, stored: Any) -> list[tuple[Any, ...]]:
    """Start, end, value, whether it is open, and key, of the windows at a place that begins with a kind."""
    kind, key, *starts = place
    match kind:
        case "session" if starts:
            return [(*starts, *stored, False, key)]
        case "session":
            return [(*session, True, key) for session in stored[1:]]
        case "sliding":
            return [(time, time + 1, value, is_open, key) for time, is_open, value in stored]
        case _:
            return []


def _shown(key: Any, start: int, end: int, value: Any, is_open: bool) -> dict[str, Any]:
    return {"key": key, "start": time_text(start), "end": time_text(end), "value": value, "open": is_open}
