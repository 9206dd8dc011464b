"""The `msgpack` codec: compact and fast.

A value of a type that msgpack lacks is written as an extension type, numbered as in `TAGS`, whose data is the plain
value in msgpack. Lone surrogates in a str are written as bytes that a strict UTF-8 reader refuses.
"""

from functools import partial
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
    "timestamp": 1,  # floats, a supported type: timestamps are never written, and the hook never gets them
}
_MAPS: Final = frozenset(bytes([byte]) for byte in (*range(0x80, 0x90), 0xDE, 0xDF))
_PAIR: Final = b"\x92"

_ext_type: Final = partial(tuple.__new__, msgpack.ExtType)
"""Makes an `ExtType` of its code and data without checking them, in a third of the time; *measured*."""

_PLAIN_PACKER: Final = msgpack.Packer(strict_types=True, unicode_errors="surrogatepass")
"""For values of msgpack's own types. To make a packer takes longer than to pack a small tuple; *measured*."""

_MOST_BYTES: Final = 2**31 - 1
"""Most bytes that msgpack's `Unpacker` reads."""


class MsgpackCodec(TaggedCodec):
    """Writes MessagePack that decodes to equal Python values of the same types."""

    name = "msgpack"

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        """`most_bytes` is the largest size of one encoded value, in bytes."""
        self._most_bytes = most_bytes

    def _write(self, value: Any, contents: Contents) -> bytes:
        packed = _pack(value)
        if len(packed) > self._most_bytes:
            raise CodecError(
                f"codec {self.name} can decode {self._most_bytes:,} bytes at most, and this value takes "
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
    """Write a value that msgpack lacks, such as an int beyond 64 bits."""
    tag = _TAG_OF[type(value)]
    plain = tag.to_plain(value)
    try:
        packed = _PLAIN_PACKER.pack(plain)
    except (TypeError, ValueError, OverflowError):  # it holds a value that msgpack lacks, too
        packed = _pack(plain)
    return _ext_type((tag.code, packed))


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, **_READING)


def _unpacker(data: bytes) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(max_buffer_size=0, **_READING)
    unpacker.feed(data)
    return unpacker


def _unpack_map(unpacker: msgpack.Unpacker, end: int | None = None) -> dict[Any, Any]:
    """Read a map item by item. Raises `ValueError` unless it ends at byte `end`, if given, and its keys differ.

    When msgpack reads a map as a whole, it interns the keys for good. That costs 40 bytes for each key, and much time
    with millions of keys (measured).
    """
    size = unpacker.read_map_header()
    items = islice(unpacker, 2 * size)
    found = dict(zip(items, items, strict=True))
    if len(found) != size or end not in (None, unpacker.tell()):
        raise ValueError(f"a map of {size} entries has {len(found)}, up to byte {unpacker.tell()}")
    return found


def _unpack_pair(data: bytes) -> list[Any]:
    """Read a list of a map and another value, the form of changes."""
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
