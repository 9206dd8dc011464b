"""The options of event time, and what they choose."""

from collections.abc import Callable
from typing import Any, TypeVar

from framework.cli.options import DURATION, framework_option
from framework.event_time import EventTimeChoice

__all__ = ["time_choice", "time_options"]

F = TypeVar("F", bound=Callable[..., Any])


def time_options(command: F) -> F:
    """The options about event time. Arguments: those of `time_choice`."""
    for option in (
        framework_option(
            "--idle-after",
            type=DURATION,
            help="Once a partition had no record for that long, its event time follows this machine's clock, that much "
            "behind it. So timers fire and windows close without new records. By default, only records move time.",
        ),
        framework_option(
            "--max-future",
            type=DURATION,
            help="A record whose event time is further ahead of this machine's clock is a bad record, because it would "
            "move the watermark too far. By default, any time is taken.",
        ),
        framework_option(
            "--out-of-order",
            type=DURATION,
            help="How much later than a record of a later event time a record may come. The watermark stays behind by "
            "that much. The default is the plugin's, mostly 0s.",
        ),
        framework_option(
            "--event-time",
            metavar="record|FIELD",
            help="Where the event time of a record comes from: record for its timestamp, or a field of its value with "
            "ISO 8601, seconds or milliseconds since the epoch. The default is the plugin's, mostly record.",
        ),
    ):
        command = option(command)
    return command


def time_choice(given: dict[str, Any]) -> EventTimeChoice:
    """Takes the arguments about event time out of a command's arguments, and returns what they choose."""
    return EventTimeChoice(
        field=given.pop("event_time"),
        out_of_order=_milliseconds(given.pop("out_of_order")),
        max_future=_milliseconds(given.pop("max_future")),
        idle_after=_milliseconds(given.pop("idle_after")),
    )


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
