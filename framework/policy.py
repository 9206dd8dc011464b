"""The user's choices: where reading begins, and what the runtime does when something is wrong."""

from dataclasses import dataclass
from typing import Final, Literal

from framework.errors import UsageError

__all__ = ["ErrorPolicy", "OnError", "OnMissingState", "OnOutOfRange", "OnStall", "Start"]

OnError = Literal["stop", "skip", "dead-letter"]
"""For a record that cannot be applied."""

OnMissingState = Literal["stop", "rebuild", "continue"]
"""For a partition of which Kafka knows newer state than the store has."""

OnOutOfRange = Literal["stop", "rebuild", "continue"]
"""For a log that does not hold the stored position any more."""

OnStall = Literal["warn", "stop"]
"""For a partition that makes no progress."""

Start = Literal["earliest", "latest"] | int
"""Where a partition without state begins; an int is a timestamp in milliseconds since the epoch."""

_LONGEST_WAIT: Final = 60.0
"""Seconds beyond which the wait between two tries does not grow."""


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """Try a failing record again `retries` times, then do `on_error`. Prints as the guarantee line has it.

    Raises `UsageError` for a policy that contradicts itself.
    """

    on_error: OnError = "stop"
    dead_letter_topic: str | None = None
    """Where dead letters go; given with `dead-letter`, and only then."""
    retries: int = 0
    retry_backoff: float = 0.1
    """Seconds before the first retry; they double with each that follows, up to a minute."""

    def __post_init__(self) -> None:
        if self.on_error == "dead-letter" and not self.dead_letter_topic:
            raise UsageError("--on-error dead-letter needs a topic to send to; name it with --dead-letter-topic")
        if self.on_error != "dead-letter" and self.dead_letter_topic:
            raise UsageError(
                f"--dead-letter-topic {self.dead_letter_topic} has no effect with --on-error {self.on_error}; "
                "use --on-error dead-letter, or leave it out"
            )

    def wait_after(self, failures: int) -> float | None:
        """Seconds to wait after that many failed tries of a record; None where it was tried often enough."""
        if failures > self.retries:
            return None
        doublings = min(failures - 1, 64)
        return float(min(self.retry_backoff * 2**doublings, max(_LONGEST_WAIT, self.retry_backoff)))

    def __str__(self) -> str:
        what = f"dead letter to {self.dead_letter_topic}" if self.dead_letter_topic else self.on_error
        if not self.retries:
            return what
        return f"{what}, after {self.retries} {'retry' if self.retries == 1 else 'retries'}"
