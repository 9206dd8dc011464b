"""What holds for both codecs."""

import inspect
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.codecs import Codec
from framework.codecs._tagged import MAX_NESTING, TAGS, Tag
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.errors import CodecError
from framework.testing.values import keys, same, values

JSON, MSGPACK = JsonCodec(), MsgpackCodec()

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)


@given(changes=st.dictionaries(keys(), values(), max_size=5), gone=st.lists(keys(), max_size=5))
def test_changes_pass_from_codec_to_codec(changes: dict[Any, Any], gone: list[Any]) -> None:
    written = [changes, gone]
    assert same(MSGPACK.decode(MSGPACK.encode(JSON.decode(JSON.encode(written)))), written)


NAN = float("nan")


def test_every_supported_type_has_at_most_one_tag() -> None:
    assert len({tag.kind for tag in TAGS}) == len({tag.name for tag in TAGS}) == len(TAGS)


class Text(str):
    """A str that is none."""


class Number(IntEnum):
    ONE = 1


class Colour(Enum):
    RED = "red"


class Zone(tzinfo):
    """A time zone of one's own."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(0)

    dst = utcoffset

    def tzname(self, moment: datetime | None, /) -> str:
        return "UTC"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


Point = namedtuple("Point", "x y")


class Moment(datetime):
    """A datetime that is none."""


def zone_from_file(key: str | None) -> ZoneInfo:
    header = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(BytesIO(header + struct.pack(">lBB", 0, 0, 0) + b"UTC\0"), key)


REFUSED: list[tuple[Any, str]] = [
    (Counter(a=1), "collections.Counter"),
    (defaultdict(int), "collections.defaultdict"),
    (OrderedDict(), "collections.OrderedDict"),
    (Point(1, 2), "Point"),
    (Text("x"), "Text"),
    (Number.ONE, "Number"),
    (Colour.RED, "Colour"),
    (Moment(2024, 1, 1), "Moment"),
    (object(), "object"),
    (Unprintable(), "Unprintable"),
    (len, "builtin_function_or_method"),
    (int, "type"),
    (1j, "complex"),
    (range(3), "range"),
    (bytearray(b"x"), "bytearray"),
    (memoryview(b"x"), "memoryview"),
    (time(1), "datetime.time"),
    (UTC, "datetime.timezone"),
    (Fraction(1, 2), "fractions.Fraction"),
    (SimpleNamespace(), "types.SimpleNamespace"),
    (Ellipsis, "ellipsis"),
    (iter([]), "list_iterator"),
    ({}.keys(), "dict_keys"),
    (msgpack.ExtType(1, b""), "ExtType"),
    (msgpack.Timestamp(1), "Timestamp"),
    (datetime(2024, 1, 1, tzinfo=Zone()), "Zone"),
]


@both
@pytest.mark.parametrize(("value", "kind"), REFUSED, ids=[kind for _, kind in REFUSED])
def test_the_rest_is_refused_with_its_type_and_place(codec: Codec, value: Any, kind: str) -> None:
    with pytest.raises(CodecError, match=rf"^codec {codec.name} cannot hold a .*of type .*{kind}: "):
        codec.encode(value)
    with pytest.raises(CodecError, match=rf"{kind} at \[0\]\['abc'\]\[2\]: "):
        codec.encode([{"x": 1, "abc": (1, 2, value)}, []])


@both
@pytest.mark.parametrize("key", [None, "Europe/Berlin", "of/its/own"])
def test_a_zone_that_its_key_does_not_give_is_refused(codec: Codec, key: str | None) -> None:
    with pytest.raises(CodecError, match=r"a datetime whose tzinfo is of type zoneinfo\.ZoneInfo at \[0\]: convert"):
        codec.encode([datetime(2024, 1, 1, tzinfo=zone_from_file(key))])


@both
@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([{(1, Colour.RED): 1}], "[0]<key (1, <Colour.RED: 'red'>)>[1]"),
        ({"a": {Colour.RED}}, "['a']<element <Colour.RED: 'red'>>"),
        ({"a": frozenset({(Colour.RED,)})}, "['a']<element (<Colour.RED: 'red'>,)>[0]"),
        ({10**5000: Colour.RED}, "[<int>]"),
        ({"k" * 1000: Colour.RED}, "['kkkkkkkkkkkk...kkkkkkkkkkkkk']"),
    ],
)
def test_the_place_may_be_a_key_or_an_element(codec: Codec, value: Any, place: str) -> None:
    with pytest.raises(CodecError) as refusal:
        codec.encode(value)
    assert f"Colour at {place}: convert it to one of Decimal, None, UUID, bool, bytes," in str(refusal.value)


@both
def test_a_subclass_is_told_what_it_would_come_back_as(codec: Codec) -> None:
    with pytest.raises(CodecError, match=r"Counter at \['a'\]: it would come back as dict; convert it to that$"):
        codec.encode({"a": Counter()})


def nested(wrap: Callable[[Any], Any], levels: int) -> Any:
    value: Any = ()
    for _ in range(levels - 1):
        value = wrap(value)
    return value


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "frozenset": lambda inner: frozenset({inner}),
    "dict": lambda inner: {"a": inner},
    "looks like a tag": lambda inner: {"$tuple": inner},
    "int key": lambda inner: {1: inner},
}


@both
@pytest.mark.parametrize("wrap", WRAPS)
def test_what_is_nested_to_the_limit_comes_back(codec: Codec, wrap: str) -> None:
    value = nested(WRAPS[wrap], MAX_NESTING)
    assert same(codec.decode(codec.encode(value)), value)


@both
def test_keys_nest_to_the_limit(codec: Codec) -> None:
    value = {nested(WRAPS["tuple"], MAX_NESTING - 1): nested(WRAPS["int key"], MAX_NESTING - 1)}
    assert same(codec.decode(codec.encode(value)), value)


@both
@pytest.mark.parametrize("wrap", WRAPS)
def test_deeper_nesting_is_refused(codec: Codec, wrap: str) -> None:
    with pytest.raises(CodecError, match=f"nested deeper than {MAX_NESTING} levels"):
        codec.encode(nested(WRAPS[wrap], MAX_NESTING + 1))


@both
@pytest.mark.parametrize("inner", [[1], {"a": 1}, {1}, [], {}, set()], ids=repr)
@pytest.mark.parametrize(
    ("wrap", "first", "second"),
    [
        (lambda inner: [{"a": inner, "b": 1, "c": inner}, []], "[0]['a']", "[0]['c']"),
        (lambda inner: [{"a": [1, {2: inner}], (3, 4): ("x", inner)}, []], "[0]['a'][1][2]", "[0][(3, 4)][1]"),
        (lambda inner: {"a": (inner, inner)}, "['a'][0]", "['a'][1]"),
        (lambda inner: [(pair := ("x", inner)), pair], "[0][1]", "[1][1]"),
    ],
    ids=["under two keys", "deep", "in one value", "in a tuple that stands twice"],
)
def test_a_container_that_stands_twice_is_refused_with_both_places(
    codec: Codec, inner: Any, wrap: Callable[[Any], Any], first: str, second: str
) -> None:
    with pytest.raises(CodecError) as refusal:
        codec.encode(wrap(inner))
    assert f"the same {type(inner).__name__} object at {first} and at {second}: a load" in str(refusal.value)


@both
def test_a_value_that_holds_itself_is_refused(codec: Codec) -> None:
    parent: dict[str, Any] = {}
    parent["children"] = [{"parent": parent}, {"parent": parent}]
    with pytest.raises(
        CodecError, match=r"a dict that holds itself: the one at the top is also at \['children'\]\[0\]"
    ):
        codec.encode(parent)
    with pytest.raises(CodecError, match=r"holds itself: the one at \['a'\] is also at \['a'\]\['children'\]\[0\]"):
        codec.encode({"a": parent})


@both
@pytest.mark.parametrize("nan", [NAN, Decimal("nan"), (1, ("x", NAN)), frozenset({Decimal("-nan")})], ids=repr)
def test_nan_is_refused_as_a_key_and_as_an_element(codec: Codec, nan: Any) -> None:
    places = {"<key ": {"a": {1: 2, nan: 1}}, "<element ": {"a": {1, nan}}}
    for place, value in places.items():
        with pytest.raises(CodecError, match=rf"cannot hold NaN at \['a'\]{place}.*(?i:nan).*>: it does not equal"):
            codec.encode(value)


@pytest.mark.parametrize("error", [BufferError, AssertionError, MemoryError, KeyboardInterrupt])
def test_whatever_reading_raises_is_an_error_of_the_codec_but_for_what_stops_a_run(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Codec, data: bytes) -> Any:
        raise error("planted")

    monkeypatch.setattr(JsonCodec, "_read", fail)
    with pytest.raises(error if error in (MemoryError, KeyboardInterrupt) else CodecError, match="planted"):
        JSON.decode(b"1")


def at_depth(frames: int, call: Callable[[], Any]) -> Any:
    return call() if frames == 0 else at_depth(frames - 1, call)


@both
@pytest.mark.parametrize("wrap", ["tuple", "int key"])
def test_an_exhausted_call_stack_is_an_error_of_the_codec(codec: Codec, wrap: str) -> None:
    value = nested(WRAPS[wrap], MAX_NESTING)
    data = codec.encode(value)
    used = len(inspect.stack(0))
    refused = 0
    for left in range(60, 600, 20):
        frames = sys.getrecursionlimit() - used - left
        with suppress(CodecError):
            assert same(at_depth(frames, lambda: codec.decode(data)), value)
        try:
            assert at_depth(frames, lambda: codec.encode(value)) == data
        except CodecError:
            refused += 1
    assert refused


@both
def test_foreign_bytes_nested_without_end_are_refused(codec: Codec) -> None:
    data = {"json": b"[" * 100_000, "msgpack": b"\x91" * 100_000}[codec.name]
    with pytest.raises(CodecError):
        codec.decode(data)


def decode_or_refuse(codec: Codec, data: bytes) -> None:
    with suppress(CodecError):
        codec.decode(data)


@both
@given(data=st.binary())
def test_any_bytes_are_read_or_refused(codec: Codec, data: bytes) -> None:
    decode_or_refuse(codec, data)


@both
@given(value=values(), edits=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_bytes_are_read_or_refused(codec: Codec, value: Any, edits: list[tuple[int, int]]) -> None:
    damaged = bytearray(codec.encode(value))
    for at, byte in edits:
        damaged[at % len(damaged)] = byte
    decode_or_refuse(codec, bytes(damaged))


@both
@given(value=st.lists(values(), max_size=3), cut=st.integers(1))
def test_truncated_bytes_are_refused(codec: Codec, value: Any, cut: int) -> None:
    data = codec.encode(value)
    with pytest.raises(CodecError):
        codec.decode(data[: len(data) - 1 - cut % len(data)])


@both
@given(value=values(), tail=st.binary(min_size=1).filter(bytes.strip))
def test_bytes_with_a_tail_are_refused(codec: Codec, value: Any, tail: bytes) -> None:
    with pytest.raises(CodecError):
        codec.decode(codec.encode([value]) + tail)


@given(tag=st.sampled_from(TAGS), plain=values())
def test_any_plain_value_beside_a_tag_is_read_or_refused(tag: Tag, plain: Any) -> None:
    decode_or_refuse(JSON, b'{"$%s": %s}' % (tag.name.encode(), JSON.encode(plain)))
    if tag.code is not None:
        decode_or_refuse(MSGPACK, msgpack.packb(msgpack.ExtType(tag.code, MSGPACK.encode(plain))))


def calls_of(call: Callable[[], Any]) -> int:
    """How many Python functions run."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        call()
    finally:
        sys.setprofile(None)
    return events.count("call")


def flat_changes(key: Callable[[int], Any], items: list[Any]) -> list[Any]:
    return [{key(i): items[i % len(items)] for i in range(1000)}, [key(i) for i in range(1000, 2000)]]


BULK: dict[str, tuple[Codec, list[Any]]] = {
    "json, str keys": (JSON, flat_changes(str, [1, "x", 0.5, None, True])),
    "json, int keys": (JSON, flat_changes(int, [1, "x", 0.5, None, True])),
    "msgpack, str keys": (MSGPACK, flat_changes(str, [1, "x", 0.5, None, True, b"x"])),
    "msgpack, int keys": (MSGPACK, flat_changes(int, [1, "x", 0.5, None, True, b"x"])),
    "msgpack, bytes keys": (MSGPACK, flat_changes(lambda i: b"%d" % i, [1, "x", 0.5, None, True, b"x"])),
}


@pytest.mark.parametrize("case", BULK)
def test_flat_changes_are_written_and_read_in_bulk(case: str) -> None:
    codec, changes = BULK[case]
    data = codec.encode(changes)
    assert calls_of(lambda: codec.encode(changes)) < 50
    assert calls_of(lambda: codec.decode(data)) < 50
