"""Policies that the user chooses: where reading begins, and how the runtime reacts to problems."""

from dataclasses import dataclass
from typing import Final, Literal

from framework.errors import UsageError

__all__ = ["ErrorPolicy", "OnError", "OnMissingState", "OnOutOfRange", "OnStall", "Start"]

OnError = Literal["stop", "skip", "dead-letter"]
"""Reaction to a record that cannot be applied."""

OnMissingState = Literal["stop", "rebuild", "continue"]
"""Reaction to a store that lacks a partition's newest checkpoint, according to the committed offset in Kafka."""

OnOutOfRange = Literal["stop", "rebuild", "continue"]
"""Reaction to a log that no longer holds the stored position."""

OnStall = Literal["warn", "stop"]
"""Reaction to a partition that makes no progress."""

Start = Literal["earliest", "latest"] | int
"""Where reading begins in a partition without state. An int is a timestamp in milliseconds since the epoch."""

_LONGEST_WAIT: Final = 60.0
"""The doubling of waits between retries stops here, in seconds."""


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """Retry a failing record `retries` times, then do `on_error`. `str` gives the text for the guarantee line.

    Raises `UsageError` if `on_error` and `dead_letter_topic` do not fit together.
    """

    on_error: OnError = "stop"
    dead_letter_topic: str | None = None
    """Topic for dead letters. Required with `dead-letter`, and refused otherwise."""
    retries: int = 0
    retry_backoff: float = 0.1
    """Seconds before the first retry. The wait doubles with each further retry, up to a minute."""
    late_topic: str | None = None
    """Topic for late records; None: they are dropped."""

    def __post_init__(self) -> None:
        if self.on_error == "dead-letter" and not self.dead_letter_topic:
            raise UsageError("--on-error dead-letter needs a topic; name it with --dead-letter-topic")
        if self.on_error != "dead-letter" and self.dead_letter_topic:
            raise UsageError(
                f"--dead-letter-topic {self.dead_letter_topic} has no effect with --on-error {self.on_error}; "
                "use --on-error dead-letter, or leave it out"
            )

    def wait_after(self, failures: int) -> float | None:
        """Seconds to wait before the next retry, after `failures` failed attempts; None if no retry is left."""
        if failures > self.retries:
            return None
        doublings = min(failures - 1, 64)
        return float(min(self.retry_backoff * 2**doublings, max(_LONGEST_WAIT, self.retry_backoff)))

    def __str__(self) -> str:
        what = f"dead letter to {self.dead_letter_topic}" if self.dead_letter_topic else self.on_error
        if not self.retries:
            return what
        return f"{what}, after {self.retries} {'retry' if self.retries == 1 else 'retries'}"
