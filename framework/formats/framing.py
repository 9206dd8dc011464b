"""The framing of schema registries: a zero byte, four bytes of the schema's id, and then the value."""

import struct
from typing import Final

__all__ = ["framing_hint"]

_HEAD: Final = struct.Struct(">bI")
_MOST_PLAUSIBLE_ID: Final = 10_000_000


def framing_hint(data: bytes) -> str:
    """What to add to the error of a value that another format refused; empty if the value does not look framed."""
    if len(data) <= _HEAD.size:
        return ""
    magic, schema_id = _HEAD.unpack_from(data)
    if magic != 0 or not 0 < schema_id <= _MOST_PLAUSIBLE_ID:
        return ""
    return (
        f"; the bytes look like Schema Registry framing, schema id {schema_id}: read them in the format sr-avro, "
        "sr-json or sr-protobuf of the package framework-schemaregistry"
    )
