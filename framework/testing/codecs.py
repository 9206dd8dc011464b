"""The conformance kit for codecs: a pytest class to subclass. It needs hypothesis."""

import sys
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from random import Random
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings

from framework.codecs import Codec
from framework.errors import CodecError
from framework.testing.values import same, values

__all__ = ["CodecConformance"]

NAN = float("nan")

_CORNERS: Final[tuple[Any, ...]] = (
    {1: "int", "1": "str", b"1": "bytes", (1,): "tuple", frozenset({1}): "frozenset", None: "none"},
    [True, 1, 1.0, -0.0, 0.0],
    [NAN, float("inf"), float("-inf"), sys.float_info.min, sys.float_info.max, 5e-324],
    {"value": NAN, "tuple": (NAN, Decimal("nan")), (float("inf"), frozenset({1.5})): [NAN, NAN]},
    [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1],
    [10**5000, -(10**5000), {10**5000: 1, -(10**5000): 2}],
    ["\ud800", "\udc00", "\ud800\udc00", "\U00010000", "a\ud800\u00e9", {"\ud800": "\udfff"}],
    ["", b"", (), [], {}, set(), frozenset()],
    {(): frozenset(), ((), (frozenset({()}),)): [((),)]},
    {(1, (frozenset({(2, "x"), b"y"}), None)): {(3,): {(4,): (5,)}}},
    [
        Decimal(text)
        for text in ("NaN", "-NaN12", "sNaN", "-sNaN7", "Infinity", "-Infinity", "-0", "0E+3", "1.10", "1E-9")
    ],
    [Decimal("1E+999999999999999999"), Decimal("1" * 5000)],
    [date.min, date.max, datetime.min, datetime.max, timedelta.min, timedelta.max, timedelta.resolution],
    [date(2024, 1, 1), datetime(2024, 1, 1)],
    [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=timezone(timedelta(0)))],
    [datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=7, microseconds=1)))],
    [datetime(2024, 1, 1, tzinfo=timezone.min), datetime(2024, 1, 1, tzinfo=timezone.max)],
    [datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), name)) for name in ("MEZ", "", "\ud800", "UTC+02:00")],
    [datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=ZoneInfo("Europe/Berlin")) for fold in (0, 1)],
    [datetime(2024, 10, 27, 2, 30, fold=1), datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=UTC)],
    [datetime.min.replace(tzinfo=ZoneInfo("UTC")), datetime.max.replace(tzinfo=ZoneInfo("America/New_York"))],
    [UUID(int=0), UUID(int=2**128 - 1)],
    [{"$tuple": [1]}, {"$unknown": 1}, {"$": 1}, {"$a": 1, "$b": 2}, {"$dict": {"$dict": []}}],
)
"""Values that codecs are likely to get wrong."""


class _Number(IntEnum):
    ONE = 1


_Point = namedtuple("_Point", "x y")

_REFUSED: Final[tuple[Any, ...]] = (
    Counter(a=1), OrderedDict(), _Point(1, 2), _Number.ONE, object(), len, int, 1j, range(3), bytearray(b"x"),
)  # fmt: skip
"""Values of types that no codec supports, because their types would be lost."""

_any_codec = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])


class CodecConformance:
    """Checks a codec against the contract of `framework.Codec`. Subclass it, in a module of tests::

    class TestMine(CodecConformance):
        @pytest.fixture
        def codec(self):
            return MyCodec()
    """

    @pytest.fixture
    def codec(self) -> Codec:
        raise NotImplementedError("give the codec to check, as the fixture `codec`")

    @_any_codec
    @given(value=values())
    def test_every_supported_value_comes_back_the_same(self, codec: Codec, value: Any) -> None:
        before = deepcopy(value)
        data = codec.encode(value)
        assert type(data) is bytes
        assert same(value, before)
        assert same(codec.decode(data), value)

    @pytest.mark.parametrize("value", _CORNERS)
    def test_corners_come_back_the_same(self, codec: Codec, value: Any) -> None:
        assert same(codec.decode(codec.encode(value)), value)

    def test_dicts_keep_their_order(self, codec: Codec) -> None:
        value = {"b": 1, "a": {3: 1, 2: 2, 1: 3}}
        decoded = codec.decode(codec.encode(value))
        assert list(decoded) == ["b", "a"]
        assert list(decoded["a"]) == [3, 2, 1]

    def test_the_same_value_gives_the_same_bytes(self, codec: Codec) -> None:
        value = {"a": [1, (2, 3)], "b": {"c": Decimal("1.10")}}
        assert codec.encode(value) == codec.encode(deepcopy(value))

    @pytest.mark.parametrize("value", _REFUSED, ids=lambda value: type(value).__name__)
    def test_other_types_are_refused(self, codec: Codec, value: Any) -> None:
        for wrapped in (value, {"a": [1, value]}):
            with pytest.raises(CodecError, match=type(value).__name__):
                codec.encode(wrapped)

    @pytest.mark.parametrize("nan", [NAN, Decimal("nan"), (1, NAN)], ids=repr)
    def test_nan_is_refused_as_a_key_and_as_an_element(self, codec: Codec, nan: Any) -> None:
        for value in ({nan: 1}, {"a": {1, nan}}):
            with pytest.raises(CodecError):
                codec.encode(value)

    @pytest.mark.parametrize(
        "wrap",
        [lambda inner: {"a": inner, "b": inner}, lambda inner: [inner, [inner]], lambda inner: {"a": (inner, inner)}],
        ids=["under two keys", "at two depths", "in a tuple"],
    )
    def test_a_container_at_two_places_is_refused(self, codec: Codec, wrap: Callable[[Any], Any]) -> None:
        for inner in ([1], {"a": 1}, {1}):
            with pytest.raises(CodecError):
                codec.encode(wrap(inner))

    def test_equal_containers_and_what_cannot_change_may_be_at_two_places(self, codec: Codec) -> None:
        shared = (1, ("x", frozenset({2})))
        value = {"a": shared, "b": [shared, shared], shared: [[], []], "c": [{"x": 1}, {"x": 1}, {1}, {1}]}
        assert same(codec.decode(codec.encode(value)), value)
        assert same(codec.decode(codec.encode(value)), value)  # nothing is remembered

    def test_a_value_that_contains_itself_is_refused(self, codec: Codec) -> None:
        value: dict[str, Any] = {}
        value["self"] = [value]
        with pytest.raises(CodecError):
            codec.encode(value)

    def test_damaged_bytes_are_a_codec_error_if_anything(self, codec: Codec) -> None:
        random = Random(0)
        for value in _CORNERS[:4]:
            data = codec.encode(value)
            for _ in range(200):
                place = random.randrange(len(data))
                _decode_or_refuse(codec, data[:place])
                _decode_or_refuse(codec, data[:place] + random.randbytes(1) + data[place + 1 :])
        for size in [*range(40)] * 5:
            _decode_or_refuse(codec, random.randbytes(size))


def _decode_or_refuse(codec: Codec, data: bytes) -> None:
    """Decodes, or raises `CodecError`; every other error fails the test."""
    try:
        codec.decode(data)
    except CodecError:
        return
