"""What happened in a simulation, to read and to count."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["History", "SimulationError"]


class SimulationError(AssertionError):
    """A promise was broken in a simulation; tells which, the seed, and what happened before."""


@dataclass(slots=True)
class History:
    """One line an event: simulated seconds, who, what."""

    seed: int
    setting: str = ""
    """What was simulated, in one line."""
    lines: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """How often what went wrong, by kind."""
    records: int = 0
    """Records produced."""
    outputs: int = 0
    checkpoints: int = 0
    handles: int = 0
    """Callbacks of the event loop that were run."""
    seconds: float = 0.0
    """Simulated."""

    def add(self, seconds: float, who: str, what: str) -> None:
        """Write a line."""
        self.lines.append(f"{seconds:10.4f}  {who:<6} {what}")

    def fault(self, seconds: float, who: str, kind: str, detail: str = "") -> None:
        """Write a line about something that goes wrong, and count it."""
        self.faults[kind] += 1
        self.add(seconds, who, f"✗ {kind}{detail and ': '}{detail}")

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}: {self.setting}", *self.lines])


@dataclass(frozen=True, slots=True)
class Scribe:
    """A history with the clock and the lane that its lines come from."""

    history: History
    clock: Callable[[], float]
    lane: Callable[[], str]

    def add(self, what: str) -> None:
        self.history.add(self.clock(), self.lane(), what)

    def fault(self, kind: str, detail: str = "") -> None:
        self.history.fault(self.clock(), self.lane(), kind, detail)
