"""Patience with a broker that is away for a while."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, TypeVar

from aiokafka.errors import AuthenticationFailedError, KafkaError, KafkaTimeoutError

from framework.kafka.errors import reason

__all__ = ["patiently"]

log = logging.getLogger("framework")

_RETRY_SECONDS: Final = 0.5

T = TypeVar("T")


async def patiently(attempt: Callable[[], Awaitable[T]], patience: float, what: str) -> T:
    """What `attempt` gives; while the broker is away, it is tried again for up to `patience` seconds.

    `what` says so in the log. Raises what the last attempt raised: `KafkaError`, `OSError`.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    waiting = False
    while True:
        try:
            return await attempt()
        except (KafkaError, OSError) as error:
            if not _passes(error) or now() >= deadline:
                raise
            if not waiting:
                log.warning(
                    "%s: %s; waiting%s", what, reason(error), f" up to {patience:g} s" if patience < inf else ""
                )
        waiting = True
        await asyncio.sleep(_RETRY_SECONDS)


def _passes(error: KafkaError | OSError) -> bool:
    """Whether it is worth another attempt."""
    if isinstance(error, KafkaError):
        retriable = error.retriable or isinstance(error, KafkaTimeoutError)
        return retriable and not isinstance(error, AuthenticationFailedError)
    return True
