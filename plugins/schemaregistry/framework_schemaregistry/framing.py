"""The framing of values: a zero byte, four bytes of the schema's id, big-endian, and then the payload."""

import struct
from typing import Final

__all__ = ["HEAD_SIZE", "head_of", "is_head", "problem_of", "schema_id_of"]

_HEAD: Final = struct.Struct(">BI")
HEAD_SIZE: Final = _HEAD.size


def head_of(schema_id: int) -> bytes:
    """The bytes in front of a payload of this schema. Raises `ValueError` for an id that does not fit."""
    try:
        return _HEAD.pack(0, schema_id)
    except struct.error:
        raise ValueError(f"{schema_id!r} is not an id of a schema") from None


def is_head(head: bytes) -> bool:
    """Whether the first bytes of a value name a schema."""
    return len(head) == HEAD_SIZE and head[0] == 0


def schema_id_of(head: bytes) -> int:
    """The schema's id in the first bytes of a value."""
    return int.from_bytes(head[1:HEAD_SIZE], "big")


def problem_of(data: bytes, part: str) -> str:
    """Why a value, of keys or values as `part` tells, names no schema."""
    if not data:
        return "no Schema Registry framing: it is empty"
    if data[0] == 0:
        return f"no Schema Registry framing: it has {len(data)} bytes, and at least {HEAD_SIZE} are needed"
    text = f"no Schema Registry framing: the {part} begins with 0x{data[0]:02x}"
    if data[:1] in b'{["':
        text += f"; perhaps it is JSON: --{part}-format json"
    return text
