"""The `msgpack` codec: compact and fast.

What msgpack lacks is an extension type, numbered as in `TAGS`, whose data is the plain value in msgpack. A str that
is not Unicode keeps its lone surrogates as bytes that only a lenient reader takes.
"""

from typing import Any, Final

import msgpack

from framework.codecs._tagged import TAGS, Kinds, TaggedCodec

__all__ = ["MsgpackCodec"]

_TAG_CODED: Final = {tag.code: tag for tag in TAGS if tag.code is not None}
_TAG_OF: Final = {tag.kind: tag for tag in _TAG_CODED.values()}


class MsgpackCodec(TaggedCodec):
    """MessagePack that comes back as the same Python values."""

    name = "msgpack"

    def _write(self, value: Any, kinds: Kinds) -> bytes:
        return _pack(value)

    def _read(self, data: bytes) -> Any:
        return _unpack(data)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=_extend, strict_types=True, unicode_errors="surrogatepass")
    return packed


def _extend(value: Any) -> msgpack.ExtType:
    """Called for what msgpack lacks, an int beyond 64 bits included."""
    tag = _TAG_OF[type(value)]
    return msgpack.ExtType(tag.code, _pack(tag.to_plain(value)))


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(
        data,
        ext_hook=_restore,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        timestamp=1,  # never written, and never given to the hook: of the four, a float is a supported type
    )


def _restore(code: int, data: bytes) -> Any:
    if code not in _TAG_CODED:
        raise ValueError(f"unknown extension type {code}")
    return _TAG_CODED[code].restore(_unpack(data))
