"""Feeds damaged batches to the extension, `python fuzz.py SECONDS [SEED]`. README.md says how it is to be compiled."""

import random
import sys
import time
from contextlib import suppress

import framework_speedups
from aiokafka.codec import gzip_decode, gzip_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder

BODY = 61
COLUMNS = ["offsets", "timestamps", "keys", "values", "headers", "key_texts"]


def main(seconds: float, seed: int) -> None:
    """Print how many batches were read, and how many refused."""
    draw = random.Random(seed)
    end = time.monotonic() + seconds
    read = refused = 0
    while time.monotonic() < end:
        try:
            read_all(damaged(draw, fetched(draw)), draw.randrange(40))
            read += 1
        except ValueError:
            refused += 1
    print(f"seed {seed}: {read:,} fetches read, {refused:,} refused")


def fetched(draw: random.Random) -> bytes:
    """The bytes of some batches, compressed or not."""
    return b"".join(batch(draw, 30 * number) for number in range(draw.randint(1, 3)))


def batch(draw: random.Random, base: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, draw.randrange(2), draw.randrange(-1, 3), -1, -1, 1 << 16)
    for offset in range(draw.randint(1, 6)):
        headers = [(draw.choice(["", "name", "\xe4\u20ac"]), text(draw)) for _ in range(draw.choice([0, 0, 1, 3]))]
        builder.append(offset, draw.randrange(2**40), text(draw), text(draw), headers)
    whole = bytes(builder.build())
    if draw.random() < 0.2:
        body = gzip_encode(damaged(draw, whole[BODY:], often=0.5))
        whole = whole[:8] + (BODY - 12 + len(body)).to_bytes(4, "big") + whole[12:22] + b"\x01" + whole[23:BODY] + body
    return base.to_bytes(8, "big") + whole[8:]


def text(draw: random.Random) -> bytes | None:
    size = draw.choice([-1, 0, 1, 5, 70, 300])
    return None if size < 0 else draw.randbytes(size)


def damaged(draw: random.Random, data: bytes, often: float = 0.9) -> bytes:
    """The same with some bytes changed, left out, put in, or cut off."""
    changed = bytearray(data)
    while changed and draw.random() < often:
        place = draw.randrange(len(changed))
        if draw.random() < 0.7:
            changed[place] = draw.choice([0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, draw.randrange(256)])
        else:
            stop = min(len(changed), place + draw.choice([0, 1, 1, 2, 8]))
            changed[place:stop] = draw.randbytes(draw.choice([0, 0, 1, 2]))
        often *= 0.8
    return bytes(changed[: draw.randrange(len(changed) + 1)]) if draw.random() < 0.1 else bytes(changed)


def read_all(data: bytes, position: int) -> None:
    """Everything that can be read of these bytes."""
    batches = framework_speedups.batches(data)
    for found in batches:
        found.validate_crc()
    columns = framework_speedups.Columns(batches, position, decompress)
    del batches, data
    for part in slice(None), slice(1, -1), slice(2, None):
        columns = columns[part]  # which lives on when what it is cut from does not
        for name in COLUMNS:
            with suppress(UnicodeDecodeError):
                getattr(columns, name)()


def decompress(codec: int, data: bytes) -> bytes:
    try:
        return bytes(gzip_decode(data))
    except Exception as error:
        raise ValueError from error


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32))
