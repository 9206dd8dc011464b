"""Waiting for a registry that is away or slow, so that somebody who reads the log knows it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Patience", "Waiting"]

T = TypeVar("T")

log = logging.getLogger("framework.schemaregistry")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each step of waiting takes, in seconds."""

    request: float = 30.0
    """A request that has got no answer for so long is given up, and sent again."""
    slow: float = 3.0
    """A request without an answer for so long is worth a warning."""
    first_pause: float = 0.2
    longest_pause: float = 5.0
    between_warnings: float = 10.0
    absence: float = 1.0
    """A schema that is still absent after so long does not exist. A registry of several nodes may lag behind."""


class Waiting:
    """Asks one registry until it answers. All requests share it, so that many waiting ones do not flood the log."""

    def __init__(self, registry: str, patience: Patience) -> None:
        self._registry = registry
        self._patience = patience
        self._warned: float | None = None  # when; None while the registry answers

    async def ask(
        self, what: str, who: str, send: Callable[[], Coroutine[Any, Any, T]], judge: Callable[[Exception], str]
    ) -> T:
        """The answer to `send`, which is called until it gives one.

        `what` is asked for, and `who` waits. `judge` turns an exception of `send` into the reason for another try, or
        raises what ends the waiting.
        """
        pause = self._patience.first_pause
        while True:
            try:
                answer = await self._watch(what, who, send())
            except Exception as error:
                self._warn(what, who, judge(error))
            else:
                self._tell_end()
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause)

    async def _watch(self, what: str, who: str, sending: Coroutine[Any, Any, T]) -> T:
        """Warn as long as the answer does not come."""
        task = asyncio.ensure_future(sending)
        try:
            while True:
                done, _ = await asyncio.wait([task], timeout=self._patience.slow)
                if done:
                    return task.result()
                self._warn(what, who, "it has not answered yet")
        finally:
            task.cancel()

    def _warn(self, what: str, who: str, reason: str) -> None:
        now = time.monotonic()
        if self._warned is None or now - self._warned >= self._patience.between_warnings:
            self._warned = now
            log.warning("the Schema Registry %s does not give %s: %s; %s", self._registry, what, reason, who)

    def _tell_end(self) -> None:
        if self._warned is not None:
            self._warned = None
            log.info("the Schema Registry %s answers again", self._registry)
