"""The anchor's checksum: by it a record is known again when it is read a second time."""

import struct
import zlib

from framework.records import Record

__all__ = ["checksum_of"]

_LENGTH = struct.Struct(">q")


def checksum_of(record: Record) -> int:
    """CRC-32 over a record's key and value as Kafka has them: bytes, or None."""
    checksum = 0
    for part in (record.key, record.value):
        checksum = zlib.crc32(_LENGTH.pack(-1 if part is None else len(part)), checksum)
        checksum = zlib.crc32(part or b"", checksum)
    return checksum
