"""What the tests of the stores share: a unit, checkpoints of it, a model of what is stored, and readers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from framework.errors import FrameworkError
from framework.stores import Anchor, Checkpoint, Claim, Description, Store, StoredUnit, Unit

UNIT = Unit("group", "keycount", "topic", 0)
DESCRIPTION = Description("json", 1, 4, "cluster")
ANCHOR = Anchor("c33bce09", 1_714_564_800_000, 0xFFFF_FFFF)


def accept_all(stored: StoredUnit) -> None:
    """Accept whatever is stored."""


@dataclass
class Owner:
    """Claims a unit, and saves as the owner that it then is."""

    store: Store
    unit: Unit = UNIT

    def __post_init__(self) -> None:
        self.claim: Claim = self.store.claim(self.unit, accept_all)
        self.epoch = self.claim.epoch
        self.last_offset = -1 if self.claim.previous is None else self.claim.previous.last_offset

    def checkpoint(
        self,
        *rows: bytes,
        records: int = 1,
        base: Sequence[bytes] = (),
        begins: bool = False,
        ends: bool = False,
    ) -> Checkpoint:
        """The next checkpoint, `records` further on."""
        last_offset = self.last_offset + records
        return Checkpoint(
            unit=self.unit,
            epoch=self.epoch,
            previous_offset=self.last_offset,
            last_offset=last_offset,
            position=last_offset + 1,
            keys=7,
            description=DESCRIPTION,
            rows=rows,
            base=base,
            base_begins=begins,
            base_ends=ends,
            anchor=ANCHOR,
            missing_offsets=3,
        )

    def try_save(self, checkpoint: Checkpoint) -> FrameworkError | None:
        [outcome] = self.store.save([checkpoint])
        if outcome is None:
            self.last_offset = checkpoint.last_offset
        return outcome

    def save(
        self,
        *rows: bytes,
        records: int = 1,
        base: Sequence[bytes] = (),
        begins: bool = False,
        ends: bool = False,
    ) -> None:
        """Save the next checkpoint, which must succeed."""
        assert self.try_save(self.checkpoint(*rows, records=records, base=base, begins=begins, ends=ends)) is None


@dataclass
class Known:
    """What the model knows of a unit. `new_base` is one that has begun, with the changes saved since."""

    epoch: int = 0
    last_offset: int = -1
    base: list[bytes] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    new_base: list[bytes] | None = None
    new_changes: list[bytes] = field(default_factory=list)

    @property
    def rows(self) -> list[bytes]:
        return [*self.base, *self.changes]

    def apply(self, checkpoint: Checkpoint, keeps_rows: bool) -> None:
        self.last_offset = checkpoint.last_offset
        if checkpoint.base_begins:
            self.new_base, self.new_changes = [], []
        if checkpoint.rows:
            self.changes = [*self.changes, *checkpoint.rows] if keeps_rows else list(checkpoint.rows)
            self.new_changes += checkpoint.rows
        if self.new_base is not None:
            self.new_base += checkpoint.base
        if checkpoint.base_ends and self.new_base is not None:
            self.base, self.changes, self.new_base = self.new_base, self.new_changes, None


def snapshot(store: Store, unit: Unit = UNIT) -> tuple[list[StoredUnit], list[bytes]]:
    """All that can be read of a unit."""
    return [stored for stored in store.stored() if stored.unit == unit], list(store.rows(unit))
