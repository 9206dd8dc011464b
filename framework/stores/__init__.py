"""Stores keep checkpoints: bytes, with the offset and the epoch that they belong to, as one atomic unit.

A store knows nothing of Kafka or codecs. A unit is stored as *rows*: bytes in an order. A store with
`keeps_rows` gets the changes of each checkpoint as further rows and, from time to time, a new *base* in pieces
that replaces the rows before it; one without gets the whole state as a single row each time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from framework.errors import FrameworkError

__all__ = ["Anchor", "Checkpoint", "Claim", "Description", "Store", "StoredUnit", "Unit"]


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Whose state it is: one processor's, over one partition, in one group."""

    group: str
    plugin: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.plugin} on {self.topic}-{self.partition} (group {self.group})"


@dataclass(frozen=True, slots=True)
class Description:
    """What must match for stored bytes to be understood, and by whom they were written."""

    codec: str
    state_version: int
    partitions: int
    """How many partitions the topic had; keys move when it changes."""
    cluster_id: str | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """What tells whether a log is still the one that the state was built from; None is what is not known."""

    topic_id: str | None = None
    """As the broker has it; another one for a topic that was re-created."""
    timestamp: int | None = None
    """Of the record at the last offset, in milliseconds since the epoch."""
    checksum: int | None = None
    """CRC-32 over that record's key and value."""


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """What the store holds of a unit, without its rows."""

    unit: Unit
    description: Description | None
    """None: claimed, but nothing saved yet."""
    epoch: int
    last_offset: int
    """The last record that is applied; -1 for none."""
    position: int | None
    """Where reading goes on: beyond the last offset, and beyond gaps that were read. None: nowhere yet."""
    keys: int
    bytes: int
    """Size of the rows that `load` would read."""
    base_bytes: int
    """How much of that is base; always all of it in a store without `keeps_rows`."""
    saved_at: float | None
    """Seconds since the epoch."""
    anchor: Anchor = Anchor()
    missing_offsets: int = 0
    """How many offsets the log had lost before they were read, so that the state goes on without them."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a unit: good until somebody else claims it."""

    epoch: int
    """The epoch of this owner, higher than every one before."""
    previous: StoredUnit | None
    """What was stored at the claim, with the previous owner's epoch; None for a new unit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One atomic step of a unit: what changed, and how far the log is applied with it."""

    unit: Unit
    epoch: int
    previous_offset: int
    """The last offset that this owner knows to be stored."""
    last_offset: int
    position: int
    keys: int
    """How many keys the state has now."""
    description: Description
    rows: Sequence[bytes] = field(default=())
    """The changes in pieces (or the whole state as one, see `Store.keeps_rows`); none where only the position moved."""
    base: Sequence[bytes] = field(default=())
    """Further pieces of a new base. Its first piece comes with `base_begins`; what is not finished is void."""
    base_begins: bool = False
    base_ends: bool = False
    """The new base is complete: rows saved before it began, and the old base, are no longer needed. Rows saved
    since `base_begins`, those of that very checkpoint included, are loaded after it."""
    changes: int = 0
    """How many keys changed, for observers."""
    anchor: Anchor = Anchor()
    missing_offsets: int = 0


class Store(ABC):
    """Where checkpoints live.

    Every method may block and runs off the event loop, one call at a time; other processes may use the same store
    at any moment. Reading (`stored`, `rows`) never disturbs an owner.

    Errors, from every method: `StoreError` for I/O, `StateCorruptError` for damage. Whatever is raised, what is
    stored stays as it was.
    """

    name: ClassVar[str]
    keeps_rows: ClassVar[bool]
    survives: ClassVar[bool]
    """Whether the state outlives the process."""

    @abstractmethod
    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        """Open or create the store under `directory`; a store that has no files ignores it.

        `read_only` creates nothing; where nothing is stored, it is empty.
        """

    @abstractmethod
    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        """Raise the unit's epoch, in one atomic step and durably.

        `accept` is called with what is stored, if anything; if it raises, nothing is changed.
        """

    def claim_all(self, units: Sequence[Unit], accept: Callable[[StoredUnit], None]) -> list[Claim]:
        """Claim units of one group, in their order; a store that can does it in one atomic step.

        Where it raises, any of them may be claimed, or none.
        """
        return [self.claim(unit, accept) for unit in units]

    @abstractmethod
    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        """The unit's rows in order, as of one moment: the base's pieces, then the changes saved since it began.

        Each is checked before it is yielded. Raises `StateCorruptError` where one is damaged or missing, and
        `FencedError` where `epoch` is given and does not own the unit any more: its rows would be another owner's.
        """

    @abstractmethod
    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
        """Store checkpoints of different units, each atomically; give the outcome of each, in order.

        An outcome is None, `FencedError` where epoch or previous offset are not the stored ones any more, or
        `StateCorruptError` where what is stored is damaged. Raises `StoreError` where none could be written.
        """

    @abstractmethod
    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        """Move what is stored to a new name (another group, which is returned), in one atomic step.

        The unit is then new but for its epoch, which stays. Raises `FencedError` if `epoch` is not the stored one.
        """

    @abstractmethod
    def stored(self, group: str | None = None) -> list[StoredUnit]:
        """What is stored, ordered by unit."""

    @abstractmethod
    def place(self, unit: Unit) -> str:
        """Where the unit is kept, for messages: a file's path or the like."""

    def close(self) -> None:
        """Let go of files and connections."""
        return
