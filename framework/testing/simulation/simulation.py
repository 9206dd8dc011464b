"""One simulated history: processes, faults, and the checks between them, all from one seed."""

import logging
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import pluggy

from framework import hookspecs
from framework.errors import OffsetOutOfRangeError, RecordError, StateIncompatibleError
from framework.event_time import EventTimeChoice
from framework.observers import Observers
from framework.output import OutputRecord
from framework.plugins import load
from framework.records import TopicPartition
from framework.runtime.declarations import state_definition
from framework.runtime.definition import Definition
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import FormatChoice, Formats
from framework.stores import Store
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore
from framework.testing.simulation.codecs import SimulatedCodec
from framework.testing.simulation.foreign import Foreign, is_foreign
from framework.testing.simulation.group import Coordinator
from framework.testing.simulation.history import History, Scribe, SimulationError
from framework.testing.simulation.io import Disk
from framework.testing.simulation.log import PartitionLog
from framework.testing.simulation.loop import SimulatedLoop
from framework.testing.simulation.oracle import Oracle
from framework.testing.simulation.process import EXPECTED_ENDS, Process, World
from framework.testing.simulation.processors import Model, Remedy
from framework.testing.simulation.setting import Setting, Step, StoreName, draw_steps
from framework.testing.simulation.source import Broker
from framework.testing.simulation.stores import WatchedStore

__all__ = ["Simulation"]

_GROUP: Final = "simulated"
_TOPIC: Final = "records"
_KEYS: Final = 8
_PATIENCE: Final = 300.0
"""Simulated seconds without faults in which all must be applied, and all processes must stop."""
_PIECE: Final = 50
"""Handles between two looks at whether it is so."""
_STORES: Final[dict[StoreName, type[Store]]] = {"memory": MemoryStore, "file": FileStore, "sqlite": SqliteStore}


@dataclass(slots=True)
class _Course:
    """How far a history has come."""

    started: int = 0
    """Processes so far."""
    upgraded: bool = False
    refused: bool = False
    """Whether the log has become one that the policy refuses to go on with."""
    calm: bool = False
    """Whether the faults are over."""
    ending: bool = False


class Simulation:
    """A history that repeats exactly from its arguments.

    `steps`: how many things happen; `plan` gives them, else the seed does. `store`: the store under test, else the
    seed chooses.
    """

    def __init__(
        self, seed: int, steps: int = 40, *, store: StoreName | None = None, plan: Sequence[Step] | None = None
    ) -> None:
        random = Random(seed)
        self._setting = setting = Setting.draw(random, store)
        self._plan = draw_steps(random, steps) if plan is None else plan
        self._random = Random(random.getrandbits(64))
        self.history = History(seed, str(setting))
        self._loop = SimulatedLoop(self._random)
        self._scribe = Scribe(self.history, self._loop.time, lambda: self._loop.lane.name)
        partitions = [TopicPartition(_TOPIC, number) for number in range(setting.partitions)]
        self._logs = {partition: PartitionLog(partition) for partition in partitions}
        self._coordinator = Coordinator(
            self._loop, self._random, self._scribe, partitions, setting.session_timeout, setting.rebalance_timeout
        )
        self._foreign = Foreign(self._random, self._scribe, lambda: 0.0 if self._course.calm else setting.foreign_rate)
        self._broker = Broker(
            self._loop, self._random, self._scribe, self._logs, self._coordinator, setting.broker_delay, self._foreign
        )
        self._disk = Disk(setting.store_fault_rate)
        self._remedy = Remedy(self._foreign)
        self._processes: list[Process] = []
        self._course = _Course()

    def run(self) -> History:
        """Raises `SimulationError`, with the seed and the history, where a promise is broken."""
        with ExitStack() as stack:
            stack.enter_context(_logs_to(self._scribe))
            open_store = _opener(self._setting.store, stack)
            stack.callback(self._loop.close)
            self._build(open_store)
            try:
                self._play()
            except SimulationError as error:
                raise SimulationError(f"{self.history}\nseed {self.history.seed}: {error}") from None
            finally:
                self._sum_up()
        return self.history

    def _build(self, open_store: Callable[[], Store]) -> None:
        setting = self._setting
        self._oracle = Oracle(
            _GROUP,
            open_store(),
            setting.codec(),
            {model.name: model for model in setting.models},
            self._logs,
            setting.on_error,
            self._scribe,
            setting.idle_after,
            self._loop.time,
        )
        self._world = World(
            loop=self._loop,
            random=self._random,
            scribe=self._scribe,
            broker=self._broker,
            disk=self._disk,
            open_store=lambda: WatchedStore(
                open_store(), self._oracle.on_claimed, self._oracle.on_saved, self._oracle.on_set_aside
            ),
            write_output=self._write_output,
            output_fault_rate=lambda: 0.0 if self._course.calm else setting.output_fault_rate,
            observers=_observers(self._foreign),
            foreign=self._foreign,
            limits=setting.limits,
            group=_GROUP,
            start=setting.start,
            on_out_of_range=setting.on_out_of_range,
            checkpoint_interval=setting.checkpoint_interval,
            store_delay=setting.store_delay,
            output_delay=setting.output_delay,
        )

    def _sum_up(self) -> None:
        self.history.handles, self.history.seconds = self._loop.handles, self._loop.time()
        self.history.records = sum(len(log.written) for log in self._logs.values())

    def _write_output(self, record: OutputRecord) -> None:
        self.history.outputs += 1
        self._oracle.on_output(record)

    # ---- the play

    def _play(self) -> None:
        self._start()
        for step in self._plan:
            getattr(self, f"_{step.action}")(Random(step.draw))
            self._advance(step.handles)
        self._drain()
        self._end()
        self._oracle.check(everything=True)

    def _advance(self, handles: int) -> None:
        self._loop.advance(handles)
        if self._loop.errors:
            raise SimulationError(self._loop.errors[0])
        self._oracle.check()

    def _drain(self) -> None:
        """The faults are over: everything must be applied and stored."""
        self._scribe.add("the faults are over")
        self._disk.full = False
        self._course.calm = self._broker.up = True
        self._remedy.mended = self._stops_on_error
        self._disk.fault_rate = 0.0
        self._broker.tell()
        for process in self._processes:
            process.thaw()
        if self._course.refused:
            self._advance(_PIECE)
        else:
            self._wait_until(self._is_drained, "are applied and stored")

    def _is_drained(self) -> bool:
        positions = self._oracle.stored_positions()
        return all(
            (position := positions[each]) is not None and position >= log.end for each, log in self._logs.items()
        )

    def _end(self) -> None:
        self._course.ending = True

        def ended() -> bool:
            for process in self._processes:
                process.stop()
            return not self._processes

        self._wait_until(ended, "and told to stop")

    def _wait_until(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = self._loop.time() + _PATIENCE
        while not done():
            if self._loop.time() > deadline:
                positions = self._oracle.stored_positions()
                found = ", ".join(f"{each} at {positions[each]} of {log.end}" for each, log in self._logs.items())
                names = ", ".join(process.name for process in self._processes)
                raise SimulationError(
                    f"no progress in {_PATIENCE:g} s without faults: {found} {otherwise}; {names} run"
                )
            self._advance(_PIECE)

    # ---- processes

    def _start(self, random: Random | None = None) -> None:
        """A process starts, if fewer than the setting's are there."""
        if self._course.ending or len(self._processes) >= self._setting.processes:
            return
        self._course.started += 1
        process = Process(f"w{self._course.started}", self._world, self._definitions(), self._on_end)
        self._processes.append(process)
        self._scribe.add(f"{process.name} starts")

    def _definitions(self) -> list[Definition]:
        return [self._definition(model) for model in self._setting.models]

    def _definition(self, model: Model) -> Definition:
        setting = self._setting
        processor = model.successor if self._course.upgraded and model.successor else model.processor
        idle = EventTimeChoice(idle_after=setting.idle_after)
        formats = Formats.of(model.processor, self._remedy, FormatChoice(), load([]).format)
        return Definition(
            name=model.name,
            processor=processor,
            options=self._remedy,
            codec=SimulatedCodec(setting.codec(), self._random, self._foreign),
            formats=formats,
            time=TimeSettings.of(processor, self._remedy, idle, formats.value, self._loop.time),
            on_error=setting.on_error,
            keeps_rows=_STORES[setting.store].keeps_rows,
            on_records_failed=self._on_records_failed,
            on_records_late=self._on_records_late,
            state_definition=state_definition(processor, self._remedy),
        )

    def _on_records_failed(self, plugin: str, partition: TopicPartition, errors: Any) -> None:
        self._scribe.fault("record failed", f"{plugin} {partition} offsets {list(errors)}")
        self._world.observers.records_failed(
            plugin=plugin, partition=partition, errors=errors, on_error=self._setting.on_error.on_error
        )

    def _on_records_late(self, plugin: str, partition: TopicPartition, offsets: Sequence[int]) -> None:
        self._scribe.fault("record late", f"{plugin} {partition} offsets {list(offsets)}")

    def _on_end(self, process: Process) -> None:
        self._processes.remove(process)
        if process.error is not None and not self._is_expected(process.error):
            self._oracle.fail("".join(traceback.format_exception(process.error)))
        self._restart_later()

    def _is_expected(self, error: BaseException) -> bool:
        if is_foreign(error):
            return True
        if isinstance(error, RecordError):
            return self._stops_on_error
        if isinstance(error, OffsetOutOfRangeError):
            return self._course.refused
        if isinstance(error, StateIncompatibleError):
            return self._course.upgraded
        return isinstance(error, EXPECTED_ENDS)

    @property
    def _stops_on_error(self) -> bool:
        return self._setting.on_error.on_error == "stop"

    def _restart_later(self) -> None:
        self._loop.in_world(self._random.random(), self._start)

    def _choose(self, random: Random) -> Process | None:
        return random.choice(self._processes) if self._processes else None

    # ---- what a step may do

    def _wait(self, random: Random) -> None:
        """Nothing."""

    def _produce(self, random: Random) -> None:
        """Records for some partitions, among them marked, broken and empty ones, and gaps."""
        for log in random.sample(list(self._logs.values()), random.randint(1, len(self._logs))):
            for _ in range(random.choice((1, 3, 10, 40))):
                if random.random() < 0.1:
                    log.skip(random.randint(1, 3))
                log.append(self._some_time(random), self._some_key(random), self._some_value(random))
            if random.random() < 0.2:
                log.skip(random.randint(1, 3))
        self._broker.tell()

    def _some_time(self, random: Random) -> int:
        """Now, or before, so that some records are late."""
        return max(0, int(self._loop.time() * 1000) - random.choice((0, 0, 0, 40, 90, 300, 900)))

    def _some_key(self, random: Random) -> bytes | None:
        return None if random.random() < 0.02 else str(random.randrange(_KEYS)).encode()

    def _some_value(self, random: Random) -> bytes | None:
        kind = random.random()
        if kind < 0.05:
            return None
        if kind < 0.05 + self._setting.marked_rate:
            return b"-2"
        if kind > 0.99 and not self._stops_on_error:
            return b"broken"
        return str(random.randrange(20)).encode()

    def _delete(self, random: Random) -> None:
        """Records that are stored leave the log, so that a state that was thrown away cannot heal itself."""
        positions = self._oracle.stored_positions()
        for partition, log in self._logs.items():
            until = positions[partition] or 0
            if random.random() < 0.3:
                until = random.randint(log.start, max(log.start, until))
            if until > log.start:
                log.delete_before(until)
                self._scribe.fault("records deleted", f"{partition} before {until}")

    def _kill(self, random: Random) -> None:
        """kill -9, and a restart."""
        if process := self._choose(random):
            self._scribe.fault("killed", process.name)
            process.kill()
            self._processes.remove(process)
            self._restart_later()

    def _freeze(self, random: Random) -> None:
        """SIGSTOP, for less or more than the session timeout."""
        process = self._choose(random)
        if process and not process.is_frozen:
            seconds = random.choice((0.3, 1.2, 4)) * self._setting.session_timeout
            self._scribe.fault("frozen", f"{process.name} for {seconds:g} s")
            process.freeze()
            self._loop.in_world(seconds, process.thaw)

    def _thaw(self, random: Random) -> None:
        """SIGCONT before its time."""
        frozen = [process for process in self._processes if process.is_frozen]
        if frozen:
            process = random.choice(frozen)
            self._scribe.add(f"{process.name} goes on")
            process.thaw()

    def _stop(self, random: Random) -> None:
        """SIGTERM, and another process when it has ended."""
        if process := self._choose(random):
            self._scribe.add(f"{process.name} is told to stop")
            process.stop()

    def _expel(self, random: Random) -> None:
        """The group gives a member's partitions away, and it learns that late."""
        if members := self._coordinator.members:
            member = random.choice(members)
            self._scribe.fault("expelled", member)
            self._coordinator.remove(member)

    def _rebalance(self, random: Random) -> None:
        """Everything is dealt out anew."""
        self._scribe.fault("rebalance")
        self._coordinator.rebalance()

    def _upgrade(self, random: Random) -> None:
        """Processes that start from now on have newer plugins."""
        if not self._course.upgraded:
            self._scribe.add("the plugins are upgraded")
            self._course.upgraded = True

    def _expire(self, random: Random) -> None:
        """Retention takes records that may not be stored yet."""
        if self._may_lose(random, self._setting.on_out_of_range != "stop"):
            partition, log = random.choice(list(self._logs.items()))
            until = random.randint(log.start, log.end)
            self._scribe.fault("records expired", f"{partition} before {until}")
            log.delete_before(until)

    def _recreate(self, random: Random) -> None:
        """The topic is deleted, and made anew."""
        if self._may_lose(random, self._setting.on_out_of_range == "rebuild"):
            self._scribe.fault("topic made anew")
            for partition, log in self._logs.items():
                self._logs[partition] = PartitionLog(partition, before=log)
            self._coordinator.rebalance()

    def _may_lose(self, random: Random, goes_on: bool) -> bool:
        """Whether to do what the policy may refuse to go on after; that ends the use of a history, so it is rare."""
        if goes_on or random.random() < 0.1:
            self._course.refused = self._course.refused or not goes_on
            return True
        return False

    def _fill_disk(self, random: Random) -> None:
        """Nothing can be written for a while."""
        self._scribe.fault("disk fills")
        self._disk.full = True
        self._loop.in_world(random.random() * 2, setattr, self._disk, "full", False)

    def _cut_broker(self, random: Random) -> None:
        """The broker answers nobody for a while."""
        self._scribe.fault("broker down")
        self._broker.up = False
        self._loop.in_world(random.random() * 5, self._bring_back_broker)

    def _bring_back_broker(self) -> None:
        self._broker.up = True
        self._broker.tell()


def _opener(name: StoreName, stack: ExitStack) -> Callable[[], Store]:
    """Opens the store as one more process would; a memory store outlives its processes here."""
    if name == "memory":
        shared = MemoryStore.open("memory:", MemoryStore.Options())
        return lambda: shared
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="simulation-", dir=_fast_directory()))

    def open_one() -> Store:
        store = _STORES[name].open(f"{name}:{directory}", _STORES[name].Options())
        stack.callback(store.close)
        return store

    return open_one


def _fast_directory() -> str | None:
    """A file system in memory, where there is one: what is synced is not in question here."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - names are drawn by tempfile


class _FaultyObserver:
    """Listens to everything, and fails now and then."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign

    @hookspecs.hookimpl
    def framework_assigned(self) -> None:
        self._foreign.maybe("observer: assigned")

    @hookspecs.hookimpl
    def framework_released(self) -> None:
        self._foreign.maybe("observer: released")

    @hookspecs.hookimpl
    def framework_checkpoint_saved(self) -> None:
        self._foreign.maybe("observer: checkpoint_saved")

    @hookspecs.hookimpl
    def framework_records_failed(self) -> None:
        self._foreign.maybe("observer: records_failed")

    @hookspecs.hookimpl
    def framework_gap(self) -> None:
        self._foreign.maybe("observer: gap")


def _observers(foreign: Foreign) -> Observers:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(_FaultyObserver(foreign), "faulty")
    return Observers(manager)


class _ToScribe(logging.Handler):
    def __init__(self, scribe: Scribe) -> None:
        super().__init__()
        self._scribe = scribe

    def emit(self, record: logging.LogRecord) -> None:
        self._scribe.add(f"log: {record.getMessage()}")


@contextmanager
def _logs_to(scribe: Scribe) -> Iterator[None]:
    """What the runtime logs goes into the history, and nowhere else."""
    logger, handler = logging.getLogger("framework"), _ToScribe(scribe)
    propagate, logger.propagate = logger.propagate, False
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
