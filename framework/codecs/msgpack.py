"""The `msgpack` codec: compact and fast.

What msgpack lacks is an extension type, numbered as in `TAGS`, whose data is the plain value in msgpack. A str that
is not Unicode keeps its lone surrogates as bytes that only a lenient reader takes.
"""

from itertools import islice
from typing import Any, Final

import msgpack

from framework.codecs._tagged import TAGS, Contents, TaggedCodec
from framework.errors import CodecError

__all__ = ["MsgpackCodec"]

_TAG_CODED: Final = {tag.code: tag for tag in TAGS if tag.code is not None}
_TAG_OF: Final = {tag.kind: tag for tag in _TAG_CODED.values()}

_READING: Final[dict[str, Any]] = {
    "ext_hook": lambda code, data: _restore(code, data),
    "strict_map_key": False,
    "unicode_errors": "surrogatepass",
    "timestamp": 1,  # never written, and never given to the hook: of the four, a float is a supported type
}
_MAPS: Final = frozenset(bytes([byte]) for byte in (*range(0x80, 0x90), 0xDE, 0xDF))
_PAIR: Final = b"\x92"

_MOST_BYTES: Final = 2**31 - 1
"""What msgpack's `Unpacker` takes."""


class MsgpackCodec(TaggedCodec):
    """MessagePack that comes back as the same Python values."""

    name = "msgpack"

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        """`most_bytes`: how long the bytes of one value may get."""
        self._most_bytes = most_bytes

    def _write(self, value: Any, contents: Contents) -> bytes:
        packed = _pack(value)
        if len(packed) > self._most_bytes:
            raise CodecError(
                f"codec {self.name} can read back {self._most_bytes:,} bytes at most, and this value takes "
                f"{len(packed):,}; keep less in one row (the sqlite store writes rows in pieces)"
            )
        return packed

    def _read(self, data: bytes) -> Any:
        try:
            return self._read_whole(data)
        except msgpack.OutOfData:
            raise ValueError("they are cut short") from None

    def _read_whole(self, data: bytes) -> Any:
        if data[:1] in _MAPS:
            return _unpack_map(_unpacker(data), len(data))
        if data[:1] == _PAIR and data[1:2] in _MAPS:
            return _unpack_pair(data)
        return _unpack(data)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=_extend, strict_types=True, unicode_errors="surrogatepass")
    return packed


def _extend(value: Any) -> msgpack.ExtType:
    """Called for what msgpack lacks, an int beyond 64 bits included."""
    tag = _TAG_OF[type(value)]
    return msgpack.ExtType(tag.code, _pack(tag.to_plain(value)))


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, **_READING)


def _unpacker(data: bytes) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(max_buffer_size=0, **_READING)
    unpacker.feed(data)
    return unpacker


def _unpack_map(unpacker: msgpack.Unpacker, end: int | None = None) -> dict[Any, Any]:
    """A map that ends at `end`, if given, read item by item.

    As a whole, msgpack interns its keys, for good: that costs millions of them 40 bytes each, and much time (measured).
    """
    size = unpacker.read_map_header()
    items = islice(unpacker, 2 * size)
    found = dict(zip(items, items, strict=True))
    if len(found) != size or end not in (None, unpacker.tell()):
        raise ValueError(f"a map of {size} entries has {len(found)}, up to byte {unpacker.tell()}")
    return found


def _unpack_pair(data: bytes) -> list[Any]:
    """A list of a map and something else, as changes are stored."""
    unpacker = _unpacker(data)
    unpacker.read_array_header()
    pair = [_unpack_map(unpacker), unpacker.unpack()]
    if unpacker.tell() != len(data):
        raise ValueError(f"{len(data) - unpacker.tell()} bytes follow after the end")
    return pair


def _restore(code: int, data: bytes) -> Any:
    if code not in _TAG_CODED:
        raise ValueError(f"unknown extension type {code}")
    return _TAG_CODED[code].restore(_unpack(data))
