"""The simulated group coordinator: eager rebalances, session timeouts, members that are thrown out."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from framework.records import TopicPartition
from framework.testing.simulation.history import Scribe
from framework.testing.simulation.loop import SimulatedLoop

__all__ = ["Coordinator"]


@dataclass(slots=True)
class _Member:
    heard: float
    joining: "asyncio.Future[list[TopicPartition] | None] | None" = None


class Coordinator:
    """One consumer group. A rebalance waits for all members to join, or throws out who does not come in time."""

    def __init__(
        self,
        loop: SimulatedLoop,
        random: Random,
        scribe: Scribe,
        partitions: Sequence[TopicPartition],
        session_timeout: float,
        rebalance_timeout: float,
    ) -> None:
        self._loop = loop
        self._random = random
        self._scribe = scribe
        self._partitions = list(partitions)
        self._rebalance_timeout = rebalance_timeout
        self._members: dict[str, _Member] = {}
        self._ids = itertools.count(1)
        self._rebalancing = False
        self._generation = 0
        self.session_timeout = session_timeout
        loop.in_world(session_timeout / 2, self._check_sessions)

    def new_member(self, name: str) -> str:
        """A member id."""
        return f"{name}/{next(self._ids)}"

    @property
    def members(self) -> list[str]:
        """The ids of those that the group counts as members."""
        return list(self._members)

    def join(self, member: str) -> "asyncio.Future[list[TopicPartition] | None]":
        """Ask to be in the next generation; gives the assignment, or None for a member that is not known any more."""
        joining = self._loop.create_future()
        self._members.setdefault(member, _Member(self._loop.time())).joining = joining
        self.rebalance()
        self._complete_when_all_joined()
        return joining

    def heartbeat(self, member: str) -> bool:
        """Tells whether the member may go on as it does; else it must join again."""
        if member not in self._members:
            return False
        self._members[member].heard = self._loop.time()
        return not self._rebalancing or self._members[member].joining is not None

    def knows(self, member: str) -> bool:
        """Whether the group counts it as a member."""
        return member in self._members

    def remove(self, member: str) -> None:
        """It leaves, or is thrown out: the others share its partitions, whatever it still does with them."""
        removed = self._members.pop(member, None)
        if removed is None:
            return
        if removed.joining is not None and not removed.joining.done():
            removed.joining.set_result(None)
        if self._members:
            self.rebalance()
            self._complete_when_all_joined()

    def rebalance(self) -> None:
        """Begin a rebalance, unless one is under way."""
        if not self._rebalancing:
            self._rebalancing = True
            self._loop.in_world(self._rebalance_timeout, self._complete, self._generation)

    def _complete_when_all_joined(self) -> None:
        if self._rebalancing and all(member.joining is not None for member in self._members.values()):
            self._loop.in_world(self._random.random() * 0.05, self._complete_if_all_joined, self._generation)

    def _complete_if_all_joined(self, generation: int) -> None:
        if all(member.joining is not None for member in self._members.values()):
            self._complete(generation)

    def _complete(self, generation: int) -> None:
        if generation != self._generation or not self._rebalancing:
            return
        for name, member in list(self._members.items()):
            if member.joining is None:
                del self._members[name]
                self._scribe.fault("too late for the rebalance", name)
        self._rebalancing = False
        self._generation += 1
        self._assign()

    def _assign(self) -> None:
        shares = self._shares()
        text = " · ".join(f"{name}: {', '.join(map(str, share)) or 'nothing'}" for name, share in shares.items())
        self._scribe.add(f"generation {self._generation}: {text or 'nobody'}")
        for name, member in self._members.items():
            member.heard = self._loop.time()
            joining, member.joining = member.joining, None
            self._loop.in_world(self._random.random() * 0.1, _resolve, joining, shares[name])

    def _shares(self) -> dict[str, list[TopicPartition]]:
        """Dealt out in order, or at random."""
        partitions, names = list(self._partitions), list(self._members)
        if self._random.random() < 0.5:
            self._random.shuffle(names)
        return {name: partitions[index :: len(names)] for index, name in enumerate(names)}

    def _check_sessions(self) -> None:
        silent_since = self._loop.time() - self.session_timeout
        for name, member in list(self._members.items()):
            if member.joining is None and member.heard < silent_since:
                self._scribe.fault("session timeout", name)
                self.remove(name)
        self._loop.in_world(self.session_timeout / 2, self._check_sessions)


def _resolve(joining: "asyncio.Future[list[TopicPartition] | None] | None", partitions: list[TopicPartition]) -> None:
    if joining is not None and not joining.done():
        joining.set_result(partitions)
