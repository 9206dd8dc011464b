"""The inbox: a queue of events from callbacks and loaders. The worker handles them between two batches."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framework.records import TopicPartition

__all__ = ["Assigned", "Failed", "Inbox", "Ready", "Revoked"]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group revokes all partitions, and waits for `done`."""

    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Assigned:
    """The group assigned these partitions; each is mapped to the number of partitions of its topic."""

    partitions: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """The tasks of a partition are loaded, or the wait before a retry is over."""

    partition: TopicPartition


@dataclass(frozen=True, slots=True)
class Failed:
    """An error was raised outside the worker's own loop."""

    error: BaseException


Event = Revoked | Assigned | Ready | Failed


class Inbox:
    """A queue of events, first in, first out."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._wake: asyncio.Future[None] = self._loop.create_future()
        self._closed = False

    def post(self, event: Event) -> None:
        """Add an event, and wake up the worker."""
        self._events.append(event)
        self.wake_up()

    def post_at(self, when: float, event: Event) -> None:
        """Add an event at that time of the event loop's clock."""
        self._loop.call_at(when, self.post, event)

    def wake_up(self) -> None:
        """End the worker's `wait`."""
        if not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, other: "asyncio.Future[Any]") -> None:
        """Wait until an event is posted, `wake_up` is called, or `other` is done."""
        await asyncio.wait({other, self._wake}, return_when=asyncio.FIRST_COMPLETED)
        if self._wake.done():
            self._wake = self._loop.create_future()

    def take(self) -> Event | None:
        """Remove and return the next event; None if there is none."""
        return self._events.popleft() if self._events else None

    @property
    def has_revocation(self) -> bool:
        """Whether a revocation waits to be handled."""
        return any(isinstance(event, Revoked) for event in self._events)

    async def revoke(self) -> None:
        """Post a revocation, and wait until it is handled. Does nothing once the inbox is closed."""
        if not self._closed:
            done = self._loop.create_future()
            self.post(Revoked(done))
            await done

    def close(self) -> None:
        """From now on, `revoke` returns at once."""
        self._closed = True

    def release_all(self) -> None:
        """End the waits of all `revoke` calls that are still posted."""
        for event in self._events:
            if isinstance(event, Revoked) and not event.done.done():
                event.done.set_result(None)
