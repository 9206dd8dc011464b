"""Message indexes: where the type of a message is in its schema. `[2, 0]` is the first type in the third type.

They are written as varints in zigzag encoding, their number first; the byte 0 alone stands for `[0]`.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["encode_indexes", "read_indexes"]

_DEEPEST: Final = 100
_LONGEST_VARINT: Final = 5


def read_indexes(data: bytes, begin: int) -> tuple[tuple[int, ...], int]:
    """The indexes that begin at a place, and the place behind them. Raises `ValueError`."""
    count, place = _read_varint(data, begin)
    if count == 0:
        return (0,), place
    if not 0 < count <= _DEEPEST:
        raise ValueError(f"{count} message indexes cannot be; perhaps this is not Protocol Buffers")
    indexes = []
    for _ in range(count):
        index, place = _read_varint(data, place)
        indexes.append(index)
    return tuple(indexes), place


def encode_indexes(indexes: Sequence[int]) -> bytes:
    """The bytes of indexes."""
    if [*indexes] == [0]:
        return b"\x00"
    return b"".join(_varint(number) for number in (len(indexes), *indexes))


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number = 0
    for length, byte in enumerate(data[place : place + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * length
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), place + length + 1
    raise ValueError("the message indexes after the schema's id end early or are too large")


def _varint(number: int) -> bytes:
    left, written = number << 1, bytearray()  # zigzag; indexes are never negative
    while left >= 0x80:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    written.append(left)
    return bytes(written)
