"""What is drawn from a seed: the setting of a history, and its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.policy import ErrorPolicy, OnError, OnOutOfRange, Start
from framework.runtime.limits import Limits
from framework.testing.simulation.processors import DEAD_LETTER_TOPIC, PLUGINS, Model

__all__ = ["ACTIONS", "STORES", "Setting", "Step", "StoreName", "draw_steps"]

StoreName = Literal["memory", "file", "sqlite"]
STORES: Final[tuple[StoreName, ...]] = ("memory", "file", "sqlite")

ACTIONS: Final = {
    "produce": 30,
    "wait": 10,
    "delete": 14,
    "kill": 8,
    "freeze": 8,
    "thaw": 6,
    "start": 6,
    "stop": 4,
    "expel": 5,
    "rebalance": 5,
    "upgrade": 2,
    "expire": 3,
    "recreate": 1,
    "fill_disk": 3,
    "cut_broker": 3,
}
"""What a step may do, and how likely it is; see the methods of `Simulation` by these names."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens."""

    action: str
    """One of `ACTIONS`."""
    handles: int
    """Callbacks of the event loop that run after it."""
    draw: int
    """Decides what is left open: which process, how many records."""


def draw_steps(random: Random, count: int) -> list[Step]:
    """So many steps, close together and far apart."""
    actions = random.choices(list(ACTIONS), list(ACTIONS.values()), k=count)
    return [Step(action, int(2 ** (random.random() * 8)), random.getrandbits(32)) for action in actions]


def _draw_policy(random: Random) -> ErrorPolicy:
    on_error: OnError = random.choice(("stop", "skip", "dead-letter"))
    topic = DEAD_LETTER_TOPIC if on_error == "dead-letter" else None
    return ErrorPolicy(on_error, topic, retries=random.choice((0, 0, 2)), retry_backoff=0.05)


def _draw_limits(random: Random) -> Limits:
    look, row = random.choice((1, 2, 8)), random.choice((1, 2, 5))
    return Limits(
        slice_seconds=random.choice((-1.0, -1.0, 1.0)),  # breathe at every look at the clock, or never
        piece_records=look,
        first_piece_records=look,
        look_records=look,
        piece_outputs=random.choice((1, 3, 100)),
        careful_run=random.choice((1, 10, 1000)),
        longest_careful_run=1000,
        first_careful_slice=random.choice((1, 4, 32)),
        first_row_keys=row,
        largest_row_keys=row,
        base_keys=row * random.choice((1, 2)),
        base_floor=random.choice((50, 200, 1000)),
        row_cost=16,
        tallies_at_once=random.choice((1, 100)),
        fetch_seconds=1.0,
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same in a history. Delays are seconds at the most."""

    store: StoreName
    codec: type[Codec]
    partitions: int
    processes: int
    models: Sequence[Model]
    on_error: ErrorPolicy
    start: Start
    on_out_of_range: OnOutOfRange
    marked_rate: float
    """Records that plugins fail on."""
    checkpoint_interval: float
    session_timeout: float
    rebalance_timeout: float
    broker_delay: float
    store_delay: float
    output_delay: float
    store_fault_rate: float
    output_fault_rate: float
    foreign_rate: float
    """Calls across a border that raise what nobody named."""
    idle_after: int | None
    """As `TimeSettings.idle_after`, in milliseconds."""
    limits: Limits
    """So small that some records reach them."""

    @classmethod
    def draw(cls, random: Random, store: StoreName | None) -> "Setting":
        """A setting; `store` is drawn, too, where it is None."""
        return cls(
            store=random.choices(STORES, (18, 1, 1))[0] if store is None else store,
            codec=random.choice((JsonCodec, MsgpackCodec)),
            partitions=random.randint(1, 4),
            processes=random.randint(1, 4),
            models=random.sample(PLUGINS, random.randint(1, 3)),
            on_error=_draw_policy(random),
            start=random.choice(("earliest", "earliest", "latest", 2000)),
            on_out_of_range=random.choice(("stop", "rebuild", "continue")),
            marked_rate=random.choice((0.0, 0.01, 0.1)),
            checkpoint_interval=random.choice((0.02, 0.1, 0.5)),
            session_timeout=random.choice((0.5, 2.0)),
            rebalance_timeout=random.choice((0.3, 2.0)),
            broker_delay=random.choice((0.005, 0.05, 0.3)),
            store_delay=random.choice((0.001, 0.05, 0.5)),
            output_delay=random.choice((0.005, 0.1, 0.5)),
            store_fault_rate=random.choice((0.0, 0.0, 0.02, 0.1)),
            output_fault_rate=random.choice((0.0, 0.0, 0.02, 0.1)),
            foreign_rate=random.choice((0.0, 0.0, 0.001, 0.01)),
            idle_after=random.choice((None, 300, 2000)),
            limits=_draw_limits(random),
        )

    def __str__(self) -> str:
        plugins = ", ".join(model.name for model in self.models)
        return (
            f"{self.store} store, {self.codec.name}, {self.partitions} partitions, {self.processes} processes, "
            f"{plugins}, bad record: {self.on_error}, out of range: {self.on_out_of_range}, "
            f"idle after {self.idle_after} ms, start {self.start}, checkpoint each {self.checkpoint_interval} s"
        )
