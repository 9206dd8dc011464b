"""The simulated sink: outputs that arrive late or not at all, and acknowledgements that do so, too."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from random import Random
from typing import Any

from framework.errors import OutputError
from framework.output import OutputRecord
from framework.testing.simulation.foreign import Foreign
from framework.testing.simulation.history import Scribe
from framework.testing.simulation.loop import SimulatedLoop

__all__ = ["SimulatedSink"]


class SimulatedSink:
    """A producer of one process. What has left it arrives even if the process is killed."""

    def __init__(
        self,
        loop: SimulatedLoop,
        random: Random,
        scribe: Scribe,
        foreign: Foreign,
        delay: float,
        fault_rate: Callable[[], float],
        write: Callable[[OutputRecord], None],
    ) -> None:
        self._loop = loop
        self._random = random
        self._scribe = scribe
        self._foreign = foreign
        self._delay = delay
        self._fault_rate = fault_rate
        self._write = write
        self._leaves_at = self._arrives_at = 0.0
        self._under_way: list[asyncio.Future[None]] = []

    async def send(self, records: Sequence[OutputRecord]) -> None:
        if self._loop.closing:
            raise asyncio.CancelledError
        self._foreign.maybe("sink.send, before")
        if self._random.random() < 0.1:
            await asyncio.sleep(self._random.random() * self._delay)
        acknowledged = self._loop.create_future()
        self._under_way.append(acknowledged)
        self._leaves_at = max(self._leaves_at, self._loop.time()) + self._random.random() * self._delay / 4
        self._loop.call_at(self._leaves_at, self._leave, records, acknowledged)
        self._foreign.maybe("sink.send, after")

    def flushed(self) -> Awaitable[None]:
        waited_for, self._under_way = self._under_way, []
        return _Flushed(waited_for, self._foreign)

    def _leave(self, records: Sequence[OutputRecord], acknowledged: "asyncio.Future[None]") -> None:
        travels = self._random.random() * self._delay
        self._arrives_at = max(self._arrives_at, self._loop.time() + travels)
        self._loop.in_world(self._arrives_at - self._loop.time(), self._arrive, records, acknowledged)

    def _arrive(self, records: Sequence[OutputRecord], acknowledged: "asyncio.Future[None]") -> None:
        fails = self._random.random() < self._fault_rate()
        taken = self._random.randint(0, len(records)) if fails else len(records)
        for record in records[:taken]:
            self._write(record)
        if fails:
            self._scribe.fault("outputs failed", f"{taken} of {len(records)} taken")
        self._loop.in_world(self._random.random() * self._delay, _acknowledge, acknowledged, not fails)

    async def stop(self) -> None:
        await asyncio.sleep(0)
        self._foreign.maybe("sink.stop")


class _Flushed(Awaitable[None]):
    """Done when all of these are acknowledged; it may also never be awaited."""

    def __init__(self, waited_for: "Sequence[asyncio.Future[None]]", foreign: Foreign) -> None:
        self._waited_for = waited_for
        self._foreign = foreign

    def __await__(self) -> Generator[Any, None, None]:
        for each in self._waited_for:
            yield from each
        self._foreign.maybe("sink.flushed")


def _acknowledge(acknowledged: "asyncio.Future[None]", taken: bool) -> None:
    if acknowledged.done():
        return
    if taken:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(OutputError("the simulated broker did not acknowledge an output"))
        acknowledged.exception()  # whoever waits for it gets it; nobody may, where the process ends before
