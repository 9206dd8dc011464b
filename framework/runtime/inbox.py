"""The inbox: events that callbacks and loaders post, for the worker to handle between two batches."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framework.records import TopicPartition

__all__ = ["Assigned", "Failed", "Inbox", "Ready", "Revoked"]


@dataclass(frozen=True, slots=True)
class Revoked:
    """All partitions are to be handed over; `done` is awaited by the group."""

    done: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Assigned:
    """These are the partitions now, each with how many its topic has."""

    partitions: Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """The tasks of a partition are loaded, or may go on."""

    partition: TopicPartition


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong outside the worker's own loop."""

    error: BaseException


Event = Revoked | Assigned | Ready | Failed


class Inbox:
    """Events in the order in which they came."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._wake: asyncio.Future[None] = self._loop.create_future()
        self._closed = False

    def post(self, event: Event) -> None:
        """Add an event, and wake the worker up."""
        self._events.append(event)
        self.wake_up()

    def post_at(self, when: float, event: Event) -> None:
        """Add an event at that time of the event loop's clock."""
        self._loop.call_at(when, self.post, event)

    def wake_up(self) -> None:
        """Let the worker look for what is new."""
        if not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, other: "asyncio.Future[Any]") -> None:
        """Wait for an event, or for the other thing."""
        await asyncio.wait({other, self._wake}, return_when=asyncio.FIRST_COMPLETED)
        if self._wake.done():
            self._wake = self._loop.create_future()

    def take(self) -> Event | None:
        """The next event; None where there is none."""
        return self._events.popleft() if self._events else None

    @property
    def has_revocation(self) -> bool:
        """Whether the group waits for partitions."""
        return any(isinstance(event, Revoked) for event in self._events)

    async def revoke(self) -> None:
        """Post a revocation, and wait until it is dealt with; nothing, once the inbox is closed."""
        if not self._closed:
            done = self._loop.create_future()
            self.post(Revoked(done))
            await done

    def close(self) -> None:
        """From now on nobody waits for a revocation."""
        self._closed = True

    def release_all(self) -> None:
        """Let everybody go on who still waits for a revocation."""
        for event in self._events:
            if isinstance(event, Revoked) and not event.done.done():
                event.done.set_result(None)
