"""The anchor's checksum. It tells whether a record that is read again is still the same record."""

import struct
import zlib

from framework.records import Record

__all__ = ["checksum_of"]

_LENGTH = struct.Struct(">q")


def checksum_of(record: Record) -> int:
    """CRC-32 over a record's key and value, which are bytes or None, not yet decoded."""
    checksum = 0
    for part in (record.key, record.value):
        checksum = zlib.crc32(_LENGTH.pack(-1 if part is None else len(part)), checksum)
        checksum = zlib.crc32(part or b"", checksum)
    return checksum
