"""Values of every type that a codec supports, and a comparison that sees more than `==` does."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from math import isnan
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

__all__ = ["keys", "same", "values"]

_ZONES = tuple(map(ZoneInfo, ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")))


def same(one: Any, other: Any) -> bool:
    """Whether both are equal and of the same exact types at any depth, dicts in the same order, NaN equal to NaN."""
    return bool(_exact(one) == _exact(other))


def _exact(value: Any) -> tuple[type, Any]:
    kind = type(value)
    if kind is dict:
        return kind, [(_exact(key), _exact(item)) for key, item in value.items()]
    if kind in (list, tuple):
        return kind, [_exact(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(map(_exact, value), key=repr)
    if kind is float:
        return kind, value.hex()
    if kind is int:
        return kind, hex(value)
    if kind is Decimal:
        return kind, str(value)
    if kind is datetime:
        return kind, (value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _exact_zone(value.tzinfo))
    return kind, value


def _exact_zone(zone: Any) -> Any:
    if isinstance(zone, timezone):
        return timezone, zone.utcoffset(None), zone.tzname(None)
    return type(zone), zone


def _is_nan(value: Any) -> bool:
    return value.is_nan() if isinstance(value, Decimal) else isinstance(value, float) and isnan(value)


_texts = st.text(max_size=8) | st.text(st.sampled_from('a$ "\\\n\u2028é\ud800\udc00\U0001f600'), max_size=8)

_DAY = timedelta(days=1) - timedelta.resolution

_offsets = st.timedeltas(-_DAY, _DAY) | st.sampled_from([timedelta(0), timedelta(hours=1), -timedelta.resolution])

_zones = st.none() | st.sampled_from(_ZONES) | st.builds(timezone, _offsets) | st.builds(timezone, _offsets, _texts)

_moments = st.builds(
    lambda moment, fold, zone: moment.replace(fold=fold, tzinfo=zone), st.datetimes(), st.integers(0, 1), _zones
)

_numbers = (
    st.integers()
    | st.builds(lambda sign, bits: sign * (1 << bits), st.sampled_from([-1, 1]), st.integers(60, 20_000))
    | st.floats()
    | st.decimals()
)

_leaves = (
    st.none()
    | st.booleans()
    | _numbers
    | _texts
    | st.binary(max_size=8)
    | _moments
    | st.dates()
    | st.timedeltas()
    | st.uuids()
)

_keys = st.recursive(
    _leaves.filter(lambda leaf: not _is_nan(leaf)),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)


@st.composite
def keys(draw: st.DrawFn) -> Any:
    """Every hashable value that holds no NaN."""
    return draw(_keys)


_values = st.recursive(
    _leaves | keys(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(keys(), max_size=3)
        | st.dictionaries(keys(), inner, max_size=3)
        | st.dictionaries(_texts, inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def values(draw: st.DrawFn) -> Any:
    """Every supported value. No list, dict or set stands in it twice."""
    return draw(_values)
