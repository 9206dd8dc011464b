"""Foreign exceptions: what any call across a border may raise although nobody named it."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from framework.testing.simulation.history import Scribe

__all__ = ["FOREIGN", "Foreign", "ForeignError", "is_foreign"]


class ForeignError:
    """Marks an exception as planted."""

    border = ""
    """Where it came out; empty where a plugin raised it for a record."""


class _MemoryError(ForeignError, MemoryError):
    pass


class _ConnectionError(ForeignError, ConnectionError):
    pass


class _ValueError(ForeignError, ValueError):
    pass


class _TypeError(ForeignError, TypeError):
    pass


class _AssertionError(ForeignError, AssertionError):
    pass


class _CancelledError(ForeignError, asyncio.CancelledError):
    pass


FOREIGN: Final[tuple[type[BaseException], ...]] = (
    _MemoryError,
    _ConnectionError,
    _ValueError,
    _TypeError,
    _AssertionError,
    _CancelledError,
)


_HARMLESS: Final = ("observer", "plugin: close", "source.commit")
"""Borders whose exceptions may change nothing, and end no process."""


def is_foreign(error: BaseException | None) -> bool:
    """Whether a planted exception is what this error comes of, and one that may end a process."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ForeignError) and not error.border.startswith(_HARMLESS):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


class Foreign:
    """Raises an exception of some kind, now and then, where it is asked to."""

    def __init__(self, random: Random, scribe: Scribe, rate: Callable[[], float]) -> None:
        self._random = random
        self._scribe = scribe
        self._rate = rate

    def maybe(self, border: str, kinds: tuple[type[BaseException], ...] = FOREIGN) -> None:
        """A call across this border may fail."""
        if self._random.random() < self._rate():
            kind = self._random.choice(kinds)
            self._scribe.fault("foreign exception", f"{kind.__name__.lstrip('_')} out of {border}")
            error = kind(f"planted: out of {border}")
            error.border = border  # type: ignore[attr-defined]
            raise error
