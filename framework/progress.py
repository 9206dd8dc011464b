"""Progress: how far a unit has applied a topic-partition."""

from dataclasses import dataclass

__all__ = ["Anchor", "Progress"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Tells whether a log is still the one that the state was built from. None stands for an unknown value."""

    topic_id: str | None = None
    """The broker's id of the topic; a re-created topic has another one."""
    timestamp: int | None = None
    """Timestamp of the record at the last offset, in milliseconds since the epoch."""
    checksum: int | None = None
    """CRC-32 over that record's key and value."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one topic-partition is applied. A value: it is replaced as a whole, never changed in part."""

    last_offset: int = -1
    """Offset of the last applied record; -1 for none."""
    position: int | None = None
    """Offset at which reading goes on. It may lie beyond the last offset + 1, behind gaps that were read. None: it is
    not decided yet where reading begins."""
    anchor: Anchor = Anchor()
    missing_offsets: int = 0
    """How many offsets the log had lost before they were read, so that the state goes on without them."""
