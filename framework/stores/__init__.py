"""The contract of stores. A store keeps checkpoints.

A store handles bytes only. It has nothing to do with Kafka, codecs or processors. A *unit* is one processor's state
over one partition in one group. Units are stored independently. The epoch, the version, the progress and the rows of
all tables of a unit are changed together, in one atomic step.

**Rows.** A table is stored as a sequence of *rows*. A row is a `bytes` object. A store with `keeps_rows` receives the
changes of each checkpoint as further rows. From time to time it also receives a new *base*: the whole table, in pieces,
which replaces older rows. A store without `keeps_rows` receives the whole table as a single row each time. Each table
of a unit has its own rows and its own base.

**Fencing.** `claim` raises a unit's epoch. From then on, an owner with an older epoch can store nothing. The version
counts the unit's checkpoints. `save` accepts the stored version + 1 only, so that a checkpoint that is saved twice
counts once.

**Threads.** The runtime calls a store from one thread, which is not the thread of the event loop, and makes one call
at a time. It iterates `load` in that thread, too, and may close that iterator early. Each call may block. Other
processes may call the same store at any moment.

**Errors.** Each method raises `StoreError` if the store cannot read or write, and `StateCorruptError` if stored bytes
are damaged. A call is atomic: when it raises, it has stored either nothing or everything. This also holds for
exceptions of a callback and of an object that the caller passed.
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
    "EXPIRY_TABLE",
    "ROW_FORMAT",
    "SAVED",
    "STATE_TABLE",
    "TIMERS_TABLE",
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

TIMERS_TABLE: Final = "$timers"
"""Name of the table that holds the timers."""

EXPIRY_TABLE: Final = "$expiry"
"""Name of the table that holds the times at which the keys of the state were written last."""

ROW_FORMAT: Final = 1
"""The format of rows that this framework writes; see `framework.changes`."""


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Names one processor's state over one partition in one group."""

    group: str
    plugin: str
    topic: str
    partition: int

    @property
    def topic_partition(self) -> TopicPartition:
        """The unit's own partition."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.plugin} on {self.topic}-{self.partition} (group {self.group})"


@dataclass(frozen=True, slots=True)
class Description:
    """How to read the stored bytes, and where they come from. A load compares it with the running plugin."""

    codec: str
    """Name of the codec that wrote the rows."""
    state_version: int
    """`Processor.state_version` of the processor that wrote the state."""
    partitions: int
    """Number of the topic's partitions. When it changes, keys move to other partitions."""
    cluster_id: str | None
    """Id of the Kafka cluster; None if unknown."""
    state_definition: str = ""
    """`Processor.state_definition` of the processor that wrote the state."""
    row_format: int = ROW_FORMAT
    """Format of the rows, see `ROW_FORMAT`."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """Sizes of a stored table."""

    keys: int
    """Number of keys that the table had at its last checkpoint. Loading another number of keys is an error."""
    bytes: int
    """Total size in bytes of the rows that `load` would yield for this table."""
    base_bytes: int
    """The part of `bytes` that belongs to the base. Equal to `bytes` in a store without `keeps_rows`."""


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A stored unit, without its rows."""

    unit: Unit
    epoch: int
    version: int = 0
    """Version of the last checkpoint; 0 if there is none. `Store.set_aside` does not reset it."""
    description: Description | None = None
    """None if no checkpoint is stored: none was saved yet, or none since `Store.set_aside`."""
    progress: Mapping[TopicPartition, Progress] = field(default_factory=dict)
    event_time: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Watermarks, in milliseconds since the epoch."""
    tables: Mapping[str, StoredTable] = field(default_factory=dict)
    outputs: bytes | None = None
    """Token of the outputs' transaction; None if outputs are sent at least once."""
    saved_at: float | None = None
    """Time of the last checkpoint, in seconds since the epoch."""

    @property
    def own_progress(self) -> Progress:
        """Progress of the unit's own partition."""
        return self.progress.get(self.unit.topic_partition, Progress())

    @property
    def keys(self) -> int:
        """Number of keys in the state."""
        return self.tables[STATE_TABLE].keys if STATE_TABLE in self.tables else 0

    @property
    def bytes(self) -> int:
        """Total size in bytes of the rows of all tables."""
        return sum(table.bytes for table in self.tables.values())


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a unit. It ends when another owner claims the unit."""

    epoch: int
    """The epoch of this owner, higher than all earlier epochs of the unit."""
    previous: StoredUnit | None
    """The stored unit before the claim, with the previous owner's epoch; None for a new unit."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that a checkpoint makes to one table."""

    keys: int
    """Number of keys in the table after the changes."""
    changed: int = 0
    """Number of keys that changed, for observers."""
    rows: Sequence[bytes] = ()
    """The changes, in pieces. Without `Store.keeps_rows`: the whole table as one row."""
    base: Sequence[bytes] = ()
    """The next pieces of a new base. Several checkpoints may bring one base; until it ends, the old base counts."""
    base_begins: bool = False
    """The first of `base` is the first piece of a new base. An earlier base that has not ended is dropped."""
    base_ends: bool = False
    """The last of `base` completes the new base. The old base is no longer needed, and neither are the rows that were
    saved before the checkpoint with `base_begins`. Rows of that checkpoint and of later ones are loaded after the new
    base."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One atomic step of a unit: the changes to its tables, and the progress that they belong to."""

    unit: Unit
    epoch: int
    """The epoch of the owner that saves."""
    version: int
    """The stored version + 1."""
    progress: Mapping[TopicPartition, Progress]
    """Replaces the stored progress. It has one entry, that of the unit's own partition."""
    description: Description
    tables: Mapping[str, Changes] = field(default_factory=dict)
    """Changes by table name. Other stored tables are not changed."""
    event_time: Mapping[TopicPartition, int] = field(default_factory=dict)
    """Replaces the stored watermarks, in milliseconds since the epoch."""
    outputs: bytes | None = None
    """Token of the outputs' transaction; None if outputs are sent at least once."""

    @property
    def own_progress(self) -> Progress:
        """Progress of the unit's own partition."""
        return self.progress[self.unit.topic_partition]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of saving one checkpoint.

    ===============  ===============================================================================================
    kind             meaning
    ===============  ===============================================================================================
    `saved`          This call stored the checkpoint.
    `already saved`  An earlier call had stored it: same epoch, same version. This call repeats it after a lost answer.
    `fenced`         Not stored: another owner has claimed the unit. `error` is a `FencedError`.
    `conflict`       Not stored: the unit was removed, or another program wrote it. `error` is a `StateConflictError`.
    `corrupt`        Not stored: the stored unit is damaged. `error` is a `StateCorruptError`.
    ===============  ===============================================================================================
    """

    kind: Literal["saved", "already saved", "fenced", "conflict", "corrupt"]
    error: StateError | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the checkpoint is stored, by this call or an earlier one."""
        return self.error is None


SAVED: Final = Outcome("saved")
ALREADY_SAVED: Final = Outcome("already saved")

Accept = Callable[[Unit, StoredUnit | None], None]
"""Called with a unit that is to be claimed and its stored form, None if there is none. Raises to refuse the claim."""


class StoreOptions(BaseModel):
    """Base class of a store's options (`--store-option NAME=VALUE`). Unknown names and invalid values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Store(ABC):
    """Keeps checkpoints. The module's docstring has the rules for rows, fencing, threads and errors.

    `framework.testing.stores.StoreConformance` tests a store against this contract.
    """

    name: ClassVar[str]
    """The scheme of the store's locations: `--store NAME` or `--store NAME:WHERE`."""
    keeps_rows: ClassVar[bool]
    """Whether a checkpoint brings the changes of a table as further rows (True), or the whole table as one row."""
    survives: ClassVar[bool]
    """Whether the stored state outlives the process."""
    Options: ClassVar[type[StoreOptions]] = StoreOptions

    @classmethod
    @abstractmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        """Open the store at `location`, a URL-like text that begins with the store's name, such as `sqlite:state` or
        `postgresql://host/database`. Create the store if it does not exist.

        `options` is an instance of `cls.Options`. With `read_only`, nothing is created, and a store that does not exist
        counts as empty. Raises `UsageError` for an invalid location.
        """

    @abstractmethod
    def id_of(self, group: str) -> str:
        """Returns the id of this store for a group.

        It is drawn at random when something of the group is first stored, and kept with the group's units. So a copy of
        a store has the id of its original, and two independent stores have different ids. Returns "" if the store is
        read-only and holds nothing of the group.
        """

    @abstractmethod
    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        """Raise the epochs of these units durably. Returns one claim for each unit, in the same order.

        All units belong to one group. `accept` is called for each unit before anything is changed. If it raises, no
        unit is changed, and its exception is passed on.
        """

    @abstractmethod
    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Yields pairs of a table's name and a row: for each table the pieces of its base, then the changes that were
        saved since that base began. All rows are those of one checkpoint, also if another is saved meanwhile.

        Each row is checked before it is yielded. Raises `StateCorruptError` if a row is damaged or missing. If `epoch`
        is given, raises `FencedError` if another owner has claimed the unit since, and `StateConflictError` if the unit
        was removed or replaced by an older copy.
        """

    @abstractmethod
    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        """Store checkpoints of different units, each atomically. Returns their outcomes, in the same order.

        Raises `StoreError` if the outcome of at least one checkpoint is unknown. The caller may repeat the call with
        the same checkpoints. Those that are stored already then have the outcome `already saved`.
        """

    @abstractmethod
    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        """Move the stored state of a unit to another group, in one atomic step. Returns the unit in that group.

        Afterwards the given unit has no state, but keeps its epoch and its version. Raises `FencedError` if another
        owner has claimed it, and `StateConflictError` if it was removed or replaced by an older copy.
        """

    @abstractmethod
    def stored(self, group: str | None = None) -> list[StoredUnit]:
        """Returns the stored units, of all groups or of one, ordered by unit. Never blocks or fences an owner."""

    @abstractmethod
    def place(self, unit: Unit) -> str:
        """Returns where the unit is stored, such as a file's path, for messages. Must not contain a password."""

    def close(self) -> None:
        """Close files and connections. Called once, also after errors."""
        return
