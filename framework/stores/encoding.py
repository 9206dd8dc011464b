"""Encoding of units as JSON, and checksums. No I/O."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from framework.records import TopicPartition
from framework.stores import Anchor, Description, Progress, StoredTable, StoredUnit, Unit

__all__ = ["checksum", "field_values", "from_json", "to_json"]


def to_json(stored: StoredUnit) -> dict[str, Any]:
    """The fields of `stored` without unit, epoch, version and tables, as JSON values."""
    return {
        "description": stored.description and field_values(stored.description),
        "progress": [_progress_to_json(key, progress) for key, progress in stored.progress.items()],
        "event_time": [
            {"topic": key.topic, "partition": key.partition, "milliseconds": time}
            for key, time in stored.event_time.items()
        ],
        "outputs": None if stored.outputs is None else stored.outputs.hex(),
        "saved_at": stored.saved_at,
    }


def from_json(
    document: Mapping[str, Any], unit: Unit, epoch: int, version: int, tables: Mapping[str, StoredTable]
) -> StoredUnit:
    """The inverse of `to_json`. The other arguments are the fields that `to_json` leaves out.

    Raises `KeyError`, `TypeError` or `ValueError` for a document that `to_json` cannot have made.
    """
    return StoredUnit(
        unit=unit,
        epoch=epoch,
        version=version,
        description=document["description"] and Description(**document["description"]),
        progress=dict(map(_progress_from_json, document["progress"])),
        event_time={
            TopicPartition(each["topic"], each["partition"]): each["milliseconds"] for each in document["event_time"]
        },
        tables=tables,
        outputs=None if document["outputs"] is None else bytes.fromhex(document["outputs"]),
        saved_at=document["saved_at"],
    )


def field_values(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name. `asdict` would also copy the values, which takes many times as long."""
    return {name: getattr(value, name) for name in value.__slots__}


def _progress_to_json(key: TopicPartition, progress: Progress) -> dict[str, Any]:
    values = {"topic": key.topic, "partition": key.partition, **field_values(progress)}
    return values | {"anchor": field_values(progress.anchor)}


def _progress_from_json(document: Mapping[str, Any]) -> tuple[TopicPartition, Progress]:
    values = {**document, "anchor": Anchor(**document["anchor"])}
    return TopicPartition(values.pop("topic"), values.pop("partition")), Progress(**values)


def checksum(values: Iterable[Any], body: bytes = b"") -> int:
    """A CRC-32 over values of Python's own simple types and a row's body.

    It finds every burst of up to 32 flipped bits. It protects from accidents, not from malice.
    """
    return zlib.crc32(body, zlib.crc32(ascii(tuple(values)).encode()))
