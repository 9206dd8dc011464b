"""The contract of stores: where checkpoints live.

A store knows bytes and nothing of Kafka, codecs or processors. Each *unit* (one processor's state over one partition in
one group) is stored on its own: its epoch, its version, its progress and the rows of its tables form one atomic whole.

**Rows.** A table is stored as *rows*: bytes in an order. A store with `keeps_rows` gets what a checkpoint changes as
further rows and, from time to time, a new *base* in pieces that replaces the rows before it. A store without gets the
whole table as a single row each time. Each table of a unit has rows and bases of its own.

**Fencing.** `claim` raises a unit's epoch; from then on, whoever holds an older epoch can store nothing. The version
counts the unit's checkpoints. `save` takes version + 1 and no other, so a checkpoint that is saved twice counts once.

**Threads.** The runtime calls a store from one thread that is not the event loop's, one call at a time, and iterates
`load` there, too. Any call may block. Calls of other processes may come at any moment. A generator that `load` gave may
be closed early, in that same thread.

**Errors.** Every method raises `StoreError` where the store cannot read or write, and `StateCorruptError` where stored
bytes are damaged. Whatever is raised, also by a callback or by an object that the caller handed over, what is stored
stays as it was: before the call, or as the whole call made it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

from framework.errors import StateError
from framework.progress import Anchor, Progress
from framework.records import TopicPartition

__all__ = [
    "ALREADY_SAVED",
    "ROW_FORMAT",
    "SAVED",
    "STATE_TABLE",
    "Accept",
    "Anchor",
    "Changes",
    "Checkpoint",
    "Claim",
    "Description",
    "Outcome",
    "Progress",
    "Store",
    "StoreOptions",
    "StoredTable",
    "StoredUnit",
    "Unit",
]

STATE_TABLE: Final = ""
"""Name of the table that holds a processor's state. The framework's own tables begin with `$`."""

ROW_FORMAT: Final = 1
"""The format of rows that this framework writes; see `framework.changes`."""


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Whose state it is: one processor's, over one partition, in one group."""

    group: str
    plugin: str
    topic: str
    partition: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition that names the unit."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.plugin} on {self.topic}-{self.partition} (group {self.group})"


@dataclass(frozen=True, slots=True)
class Description:
    """How stored bytes are to be understood, and where they belong. A load compares it with the running plugin."""

    codec: str
    """Name of the codec that wrote the rows."""
    state_version: int
    """`Processor.state_version` of the processor that wrote the state."""
    partitions: int
    """How many partitions the topic had. Keys move when this number changes."""
    cluster_id: str | None
    """Id of the Kafka cluster; None where it is unknown."""
    row_format: int = ROW_FORMAT
    """How rows are laid out."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """What the store holds of a table, without its rows."""

    keys: int
    """How many keys the table had at its last checkpoint. A load that finds another number is an error."""
    bytes: int
    """Size of the rows that `load` would read of this table."""
    base_bytes: int
    """How much of that is base; all of it in a store without `keeps_rows`."""


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """What the store holds of a unit, without its rows."""

    unit: Unit
    epoch: int
    version: int = 0
    """Number of the last checkpoint; 0 for none. A unit that was set aside and began anew goes on counting."""
    description: Description | None = None
    """None where nothing is saved (yet, or since the state was set aside)."""
    progress: Mapping[TopicPartition, Progress] = field(default_factory=dict)
    event_time: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Watermarks, in milliseconds since the epoch."""
    tables: Mapping[str, StoredTable] = field(default_factory=dict)
    outputs: bytes | None = None
    """Token of the outputs' transaction; None: outputs are sent at least once."""
    saved_at: float | None = None
    """When it was last saved, in seconds since the epoch."""

    @property
    def own_progress(self) -> Progress:
        """Progress of the partition that names the unit."""
        return self.progress.get(self.unit.topic_partition, Progress())

    @property
    def keys(self) -> int:
        """How many keys the state has."""
        return self.tables[STATE_TABLE].keys if STATE_TABLE in self.tables else 0

    @property
    def bytes(self) -> int:
        """Size of the rows of all tables."""
        return sum(table.bytes for table in self.tables.values())


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a unit: good until somebody else claims it."""

    epoch: int
    """The epoch of this owner, higher than every one before."""
    previous: StoredUnit | None
    """What was stored at the claim, with the previous owner's epoch; None for a new unit."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a checkpoint changes in one table."""

    keys: int
    """How many keys the table has now."""
    changed: int = 0
    """How many keys changed, for observers."""
    rows: Sequence[bytes] = ()
    """The changes in pieces (or the whole table as one row, see `Store.keeps_rows`)."""
    base: Sequence[bytes] = ()
    """Further pieces of a new base. Its first piece comes with `base_begins`; a base that is not finished is void."""
    base_begins: bool = False
    base_ends: bool = False
    """The new base is complete: the old base, and rows saved before the new one began, are no longer needed. Rows saved
    since `base_begins`, those of that very checkpoint included, are loaded after it."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One atomic step of a unit: what changed, and how far the log is applied with it."""

    unit: Unit
    epoch: int
    """The epoch of the owner that saves."""
    version: int
    """The stored version + 1."""
    progress: Mapping[TopicPartition, Progress]
    """Replaces the stored progress. One entry today; several once a processor reads several topics."""
    description: Description
    tables: Mapping[str, Changes] = field(default_factory=dict)
    """The tables that change. A table that is not named stays as it is stored."""
    event_time: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Replaces the stored watermarks."""
    outputs: bytes | None = None
    """Token of the outputs' transaction; None: outputs are sent at least once."""

    @property
    def own_progress(self) -> Progress:
        """Progress of the partition that names the unit."""
        return self.progress[self.unit.topic_partition]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one checkpoint that was given to `save`.

    ===============  ================================================================================================
    kind             meaning
    ===============  ================================================================================================
    `saved`          It is stored now.
    `already saved`  It was stored before: the same epoch had saved this version. A repeat after a lost answer.
    `fenced`         Not stored: another owner has claimed the unit. `error` is a `FencedError`.
    `conflict`       Not stored: the unit was removed, or something else wrote it. `error` is a `StateConflictError`.
    `corrupt`        Not stored: what is stored of the unit is damaged. `error` is a `StateCorruptError`.
    ===============  ================================================================================================
    """

    kind: Literal["saved", "already saved", "fenced", "conflict", "corrupt"]
    error: StateError | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the checkpoint is stored."""
        return self.error is None


SAVED: Final = Outcome("saved")
ALREADY_SAVED: Final = Outcome("already saved")

Accept = Callable[[Unit, StoredUnit | None], None]
"""Called for a unit that is being claimed, with what is stored of it; raises to refuse the claim."""


class StoreOptions(BaseModel):
    """Base of a store's options (`--store-option NAME=VALUE`): unknown names are refused, values are checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Store(ABC):
    """Where checkpoints live. The module's text tells which thread calls what, and what holds when something raises.

    `framework.testing.stores.StoreConformance` tests a store against this contract.
    """

    name: ClassVar[str]
    """The scheme of its locations: `--store NAME` or `--store NAME:WHERE`."""
    keeps_rows: ClassVar[bool]
    """Whether it wants the changes of a table, or the whole table as one row each time."""
    survives: ClassVar[bool]
    """Whether the state outlives the process."""
    Options: ClassVar[type[StoreOptions]] = StoreOptions

    @classmethod
    @abstractmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        """Open the store at `location`, a URL-like text that begins with the store's name, such as `sqlite:state` or
        `postgresql://host/database`; create it where it is not there yet.

        `options` is an instance of `cls.Options`. `read_only` creates nothing; where nothing is stored, it is empty.
        Raises `UsageError` for a location that cannot be one.
        """

    @abstractmethod
    def id_of(self, group: str) -> str:
        """The id under which this store keeps a group's units.

        It is drawn at random when the group is first written to, kept with its units, and the same in every copy. Two
        stores that know nothing of each other have different ids. A read-only store where nothing is stored of the
        group gives "".
        """

    @abstractmethod
    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        """Raise the epochs of these units, all of one group, durably; give the claims in order.

        `accept` is called for each unit before anything is changed. If it raises, nothing is changed.
        """

    @abstractmethod
    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        """The unit's rows, each with the name of its table, as of one moment: for each table the pieces of its base,
        then the changes saved since that base began.

        Each row is checked before it is yielded. Raises `StateCorruptError` where one is damaged or missing. Where
        `epoch` is given, raises `FencedError` if another owner has claimed the unit since, and `StateConflictError` if
        it was removed or replaced by an older copy: the rows would not be this owner's.
        """

    @abstractmethod
    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        """Store checkpoints of different units, each atomically; give the outcome of each, in order.

        Raises `StoreError` where it is not known of all what became of them. A caller may then ask again with the same
        checkpoints; those that were stored are answered `already saved`.
        """

    @abstractmethod
    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        """Move what is stored to a new name (another group, which is returned), in one atomic step.

        The unit is then new but for its epoch and its version, which stay. Raises `FencedError` if another owner has
        claimed it, and `StateConflictError` if it was removed or replaced by an older copy.
        """

    @abstractmethod
    def stored(self, group: str | None = None) -> list[StoredUnit]:
        """What is stored, ordered by unit. It never disturbs an owner."""

    @abstractmethod
    def place(self, unit: Unit) -> str:
        """Where the unit is kept, for messages: a file's path or the like. Never with a password."""

    def close(self) -> None:
        """Let go of files and connections. Called once, also after errors."""
        return
