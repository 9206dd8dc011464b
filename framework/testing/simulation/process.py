"""A simulated process: the production worker and loader over simulated Kafka, thread and disk."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from framework.errors import (
    BrokerError,
    FencedError,
    OutputError,
    RecordError,
    StateIncompatibleError,
    StoreError,
)
from framework.observers import Observers
from framework.output import OutputRecord
from framework.policy import OnOutOfRange, Start
from framework.runtime.definition import Definition
from framework.runtime.limits import Limits
from framework.runtime.loader import Loader
from framework.runtime.worker import Worker
from framework.stores import Store
from framework.testing.simulation.foreign import Foreign
from framework.testing.simulation.history import Scribe
from framework.testing.simulation.io import Disk, SimulatedIO
from framework.testing.simulation.loop import SimulatedLoop
from framework.testing.simulation.sink import SimulatedSink
from framework.testing.simulation.source import Broker, SimulatedSource

__all__ = ["EXPECTED_ENDS", "Process", "World"]

EXPECTED_ENDS = (
    BrokerError,
    FencedError,
    OutputError,
    RecordError,
    StateIncompatibleError,
    StoreError,
)
"""What may end a worker under faults; a restart must do."""


@dataclass(frozen=True, slots=True)
class World:
    """What all processes share."""

    loop: SimulatedLoop
    random: Random
    scribe: Scribe
    broker: Broker
    disk: Disk
    open_store: Callable[[], Store]
    write_output: Callable[[OutputRecord], None]
    output_fault_rate: Callable[[], float]
    observers: Observers
    foreign: Foreign
    limits: Limits
    group: str
    start: Start
    on_out_of_range: OnOutOfRange
    checkpoint_interval: float
    store_delay: float
    output_delay: float


class Process:
    """One worker's life: from its start to its end, its failure or its death."""

    def __init__(self, name: str, world: World, definitions: Sequence[Definition], on_end: Callable[["Process"], None]):
        self.name = name
        self.lane = world.loop.new_lane(name)
        self.source: SimulatedSource | None = None
        self.error: BaseException | None = None
        self._world = world
        self._definitions = definitions
        self._on_end = on_end
        self._store = world.open_store()
        self._worker: Worker | None = None
        world.loop.run_in(self.lane, world.loop.create_task, self._live())

    @property
    def is_frozen(self) -> bool:
        """Whether it is stopped, to go on later."""
        return self.lane.frozen

    def freeze(self) -> None:
        """SIGSTOP."""
        self._world.loop.freeze(self.lane)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.lane.frozen and not self.lane.dead:
            self._world.loop.thaw(self.lane)

    def kill(self) -> None:
        """SIGKILL."""
        self._world.loop.kill(self.lane)
        self._store.close()

    def stop(self) -> None:
        """SIGTERM."""
        if self._worker is not None:
            self._world.loop.run_in(self.lane, self._worker.stop)

    async def _live(self) -> None:
        try:
            await self._work()
        except (Exception, asyncio.CancelledError) as error:
            if self._world.loop.closing:
                raise
            self.error = error
        finally:
            if not self.lane.dead:
                self._store.close()
        how = "stopped" if self.error is None else f"ended: {type(self.error).__name__}: {self.error}"
        self._world.scribe.add(how)
        self._on_end(self)

    async def _work(self) -> None:
        world = self._world
        run_io = SimulatedIO(world.loop, world.random, world.scribe, world.disk, world.foreign, world.store_delay)
        self.source = SimulatedSource(self.name, world.broker)
        self._worker = Worker(
            group=world.group,
            cluster_id="simulated",
            definitions=self._definitions,
            source=self.source,
            sink=SimulatedSink(
                world.loop,
                world.random,
                world.scribe,
                world.foreign,
                world.output_delay,
                world.output_fault_rate,
                world.write_output,
            ),
            store=self._store,
            loader=Loader(
                source=self.source,
                store=self._store,
                run_io=run_io,
                start=world.start,
                on_out_of_range=world.on_out_of_range,
                on_missing_state="stop",
                embedded=False,
                observers=world.observers,
            ),
            run_io=run_io,
            observers=world.observers,
            checkpoint_interval=world.checkpoint_interval,
            fenced_patience=2 * world.broker.coordinator.session_timeout,
            limits=world.limits,
            give_up=self._world.scribe.add,
        )
        await self._worker.run()
