"""Progress: the offsets up to which a unit has applied a topic-partition."""

from dataclasses import dataclass

__all__ = ["Anchor", "Progress"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Identifies the log that the state was built from. None stands for an unknown value."""

    topic_id: str | None = None
    """The broker's id of the topic. A re-created topic has another id."""
    timestamp: int | None = None
    """Timestamp of the record at the last offset, in milliseconds since the epoch."""
    checksum: int | None = None
    """CRC-32 over the key and value of the record at the last offset."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The offsets up to which one topic-partition is applied. Immutable."""

    last_offset: int = -1
    """Offset of the last applied record; -1 for none."""
    position: int | None = None
    """Offset of the next record to read. It may be beyond the last offset + 1, because offsets have gaps. None if the
    first position is not decided yet."""
    anchor: Anchor = Anchor()
    missing_offsets: int = 0
    """Number of offsets that the log lost before they were read. The state lacks their records."""
