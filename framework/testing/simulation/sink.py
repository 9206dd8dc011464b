"""The simulated sink: outputs that arrive late or not at all, and acknowledgements that do so, too."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from framework.errors import OutputError
from framework.output import OutputRecord
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
        delay: float,
        fault_rate: Callable[[], float],
        write: Callable[[OutputRecord], None],
    ) -> None:
        self._loop = loop
        self._random = random
        self._scribe = scribe
        self._delay = delay
        self._fault_rate = fault_rate
        self._write = write
        self._leaves_at = self._arrives_at = 0.0

    async def send(self, records: Sequence[OutputRecord]) -> list[Awaitable[Any]]:
        if self._loop.closing:
            raise asyncio.CancelledError
        if self._random.random() < 0.1:
            await asyncio.sleep(self._random.random() * self._delay)
        acknowledgements = [self._loop.create_future() for _ in records]
        self._leaves_at = max(self._leaves_at, self._loop.time()) + self._random.random() * self._delay / 4
        self._loop.call_at(self._leaves_at, self._leave, records, acknowledgements)
        return list(acknowledgements)

    def _leave(self, records: Sequence[OutputRecord], acknowledgements: "Sequence[asyncio.Future[None]]") -> None:
        travels = self._random.random() * self._delay
        self._arrives_at = max(self._arrives_at, self._loop.time() + travels)
        self._loop.in_world(self._arrives_at - self._loop.time(), self._arrive, records, acknowledgements)

    def _arrive(self, records: Sequence[OutputRecord], acknowledgements: "Sequence[asyncio.Future[None]]") -> None:
        fails = self._random.random() < self._fault_rate()
        taken = self._random.randint(0, len(records)) if fails else len(records)
        for record in records[:taken]:
            self._write(record)
        acknowledged = self._random.randint(0, taken) if fails else taken
        if fails:
            self._scribe.fault("outputs failed", f"{taken} of {len(records)} taken, {acknowledged} acknowledged")
        self._loop.in_world(self._random.random() * self._delay, _acknowledge, acknowledgements, acknowledged)

    async def stop(self) -> None:
        await asyncio.sleep(0)


def _acknowledge(acknowledgements: "Sequence[asyncio.Future[None]]", taken: int) -> None:
    for index, each in enumerate(acknowledgements):
        if each.done():
            continue
        if index < taken:
            each.set_result(None)
        else:
            each.set_exception(OutputError("the simulated broker did not acknowledge an output"))
