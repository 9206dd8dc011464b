"""Event time: when the things that records tell of happened, in milliseconds since the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from framework.borders import shown

__all__ = [
    "EARLIEST",
    "LATEST",
    "NO_EVENT_TIME",
    "RECORD",
    "EventTimeChoice",
    "check_event_time",
    "event_time_of",
    "extent",
    "plain_extent",
    "time_text",
]

NO_EVENT_TIME: Final = -(2**63)
"""The watermark before the first record."""
EARLIEST: Final = -62_135_596_800_000
"""The beginning of the year 1."""
LATEST: Final = 253_402_300_799_999
"""The end of the year 9999."""
RECORD: Final = "record"
"""Names the timestamp of the record itself as its event time."""

_FIRST_MILLISECONDS: Final = 100_000_000_000
"""A number from here on counts milliseconds, a smaller one seconds: it is the year 1973 or the year 5138."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def plain_extent(times: Sequence[int]) -> tuple[int, int]:
    """The earliest and the latest of at least one time."""
    return min(times), max(times)


if TYPE_CHECKING:
    extent = plain_extent
else:
    try:
        from framework_speedups import extent as _extent_in_c
    except ImportError:
        extent = plain_extent
    else:

        def extent(times):
            """The same, in C for a list of ints."""
            return _extent_in_c(times) or plain_extent(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTimeChoice:
    """The settings of event time that the user chose. None: as each processor declares. Durations are milliseconds."""

    field: str | None = None
    """`record`, or the path of a field in the value, see `FieldPath`."""
    out_of_order: int | None = None
    max_future: int | None = None
    idle_after: int | None = None


def event_time_of(value: Any) -> int:
    """The time that a field holds, in milliseconds since the epoch.

    `value`: ISO 8601 text (UTC if it names no zone), a datetime, a date, or a number, also as text: seconds since the
    epoch below 100,000,000,000, and milliseconds from there on. Raises `ValueError` for anything else.
    """
    match value:
        case bool() | None:
            pass
        case int() | float() | Decimal():
            return _from_number(value)
        case str():
            return _from_text(value)
        case datetime():
            return _from_datetime(value)
        case date():
            return _from_datetime(datetime.combine(value, time()))
    found = "null" if value is None else shown(value, 40)
    raise ValueError(f"{found} is no time; ISO 8601 or a number of seconds or milliseconds is needed")


def _from_number(number: int | float | Decimal) -> int:
    try:
        is_positive = bool(number >= 0)
    except ArithmeticError:  # NaN as a decimal
        is_positive = False
    if not is_positive:
        raise ValueError(f"{shown(number, 40)} is no time: it is not a number from 0 on")
    _check_range(number)  # first, because a number such as 1e999999999 cannot become an int
    return int(number if number >= _FIRST_MILLISECONDS else number * 1000)


def check_event_time(milliseconds: int) -> int:
    """Returns the time. Raises `ValueError`, with a hint, for one beyond the years 1 to 9999."""
    _check_range(milliseconds)
    return milliseconds


def _check_range(milliseconds: int | float | Decimal) -> None:
    if not EARLIEST <= milliseconds <= LATEST:
        hint = "; it may count microseconds or nanoseconds" if milliseconds > LATEST else ""
        raise ValueError(
            f"{shown(milliseconds, 40)} is no time: it is beyond the years 1 to 9999 in milliseconds{hint}"
        )


def _from_text(text: str) -> int:
    if not text.isdigit() or len(text) == len("20130101"):  # `fromisoformat` reads some longer numbers as dates
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return _from_datetime(moment)
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise ValueError(
            f"{shown(text, 40)} is no time; ISO 8601 or a number of seconds or milliseconds is needed"
        ) from None
    return _from_number(number)


def _from_datetime(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return check_event_time(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000)


def time_text(milliseconds: int) -> str:
    """The time in ISO 8601, in UTC: `2013-01-01T10:00:00Z`, with milliseconds where they are not 0."""
    if not EARLIEST <= milliseconds <= LATEST:
        return f"{milliseconds} ms"
    seconds, rest = divmod(milliseconds, 1000)
    moment = datetime.fromordinal(_EPOCH.toordinal() + seconds // 86_400)
    hours, rest_of_day = divmod(seconds % 86_400, 3600)
    fraction = f".{rest:03d}" if rest else ""
    return f"{moment.date().isoformat()}T{hours:02d}:{rest_of_day // 60:02d}:{rest_of_day % 60:02d}{fraction}Z"
