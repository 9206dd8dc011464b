"""Tells when a key has been silent for too long, and when it is back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from framework import Duration, Options, Output, Processor, Record, State, Timer, hookimpl
from framework.event_time import time_text

__all__ = ["Absent", "AbsentOptions", "framework_processors"]

_Seen = list[Any]
"""The event time of a key's latest record, in milliseconds since the epoch, and whether the key is absent."""


class AbsentOptions(Options):
    """When a key is absent, and where that is told."""

    output: str = Field(description="The topic to which messages about absent keys are sent")
    after: Duration = Field(default=Duration("5m"), description="A key is absent if it was silent for this long: 5m")
    forget: Duration | None = Field(
        default=None, description="Forget a key that was silent for this long; without it, keys are never forgotten"
    )


class Absent(Processor[Any, Any, _Seen, AbsentOptions]):
    """Sends a message when a key had no record for `after`, in event time, and another one at its next record.

    A message is JSON: `{"key": …, "absent": true, "since": TIME}`. `since` is the time of the last record before the
    silence, or of the first one after it.
    """

    api_version = 1
    Options = AbsentOptions

    @classmethod
    def ttl_of(cls, options: AbsentOptions) -> Duration | None:
        return options.forget

    @classmethod
    def entries(cls, state: Mapping[Any, _Seen]) -> Iterable[Mapping[str, Any]]:
        return ({"key": key, "value": time_text(time), "absent": absent} for key, (time, absent) in state.items())

    def process(self, record: Record[Any, Any], state: State[Any, _Seen], out: Output) -> None:
        seen = state.get(record.key)
        if seen is None:
            seen = state[record.key] = [record.timestamp, False]
        elif seen[1]:
            self._tell(record.key, record.timestamp, out, absent=False)
        seen[:] = [max(seen[0], record.timestamp), False]
        self.timers.set(record.key, seen[0] + self.options.after)

    def on_timer(self, timer: Timer[Any], state: State[Any, _Seen], out: Output) -> None:
        seen = state.get(timer.key)
        if seen is not None:  # else it is forgotten
            seen[1] = True
            self._tell(timer.key, seen[0], out, absent=True)

    def _tell(self, key: Any, since: int, out: Output, *, absent: bool) -> None:
        out.send(self.options.output, {"key": key, "absent": absent, "since": time_text(since)}, key=key)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Absent]
