"""Record batches as brokers send them, and the decoders that read them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from framework.kafka.speedups import working_speedups
from framework.records import Headers

__all__ = ["DECODERS", "NEEDS_SPEEDUPS", "SPEEDUPS", "Row", "default_batch", "legacy_batch"]

SPEEDUPS: Any = working_speedups()
NEEDS_SPEEDUPS = pytest.mark.skipif(SPEEDUPS is None, reason="framework-speedups is not installed")
DECODERS = [pytest.param(None, id="aiokafka"), pytest.param(SPEEDUPS, id="speedups", marks=NEEDS_SPEEDUPS)]

_AFTER_BASE_OFFSET, _CRC, _ATTRIBUTES, _LAST_OFFSET_DELTA, _MAX_TIMESTAMP = 8, 17, 21, 23, 35
_LOG_APPEND_TIME, _CONTROL = 0x08, 0x20


class Row(NamedTuple):
    """A record, and how many offsets before it compaction has taken."""

    gap: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"value"
    headers: Headers = ()


def default_batch(
    base: int,
    columns: Sequence[Row],
    *,
    compression: int = 0,
    producer: int = -1,
    control: bool = False,
    last_gap: int = 0,
    appended_at: int | None = None,
) -> bytes:
    """A batch of message format v2; of a transaction, where it has a producer.

    `last_gap`: offsets that compaction took behind the last row; `appended_at`: the time of all, set by the broker.
    """
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=producer >= 0,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    delta = -1
    for row in columns:
        delta += 1 + row.gap
        builder.append(delta, row.timestamp, row.key, row.value, list(row.headers))
    batch = builder.build()
    batch[:_AFTER_BASE_OFFSET] = base.to_bytes(8, "big")
    batch[_LAST_OFFSET_DELTA : _LAST_OFFSET_DELTA + 4] = (delta + last_gap).to_bytes(4, "big")
    batch[_ATTRIBUTES + 1] |= control * _CONTROL
    if appended_at is not None:
        batch[_ATTRIBUTES + 1] |= _LOG_APPEND_TIME
        batch[_MAX_TIMESTAMP : _MAX_TIMESTAMP + 8] = appended_at.to_bytes(8, "big")
    return with_crc(batch)


def with_crc(batch: bytes | bytearray) -> bytes:
    """The batch with the checksum that its bytes have now."""
    covered = bytes(batch[_ATTRIBUTES:])
    crc: int = calc_crc32c(covered)
    return bytes(batch[:_CRC]) + crc.to_bytes(4, "big") + covered


def legacy_batch(base: int, columns: Sequence[Row], magic: int, compression: int) -> bytes:
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=compression, batch_size=1 << 20)
    for number, row in enumerate(columns):  # it cannot read again all that it writes
        timestamp = row.timestamp if magic else None
        builder.append(base + number, timestamp=timestamp, key=row.key or b"key", value=row.value or b"value")
    return bytes(builder.build())
