"""What the benchmark knows of a contestant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

__all__ = ["Contestant", "chosen", "named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A program that reads a topic, and counts or sums; see `benchmarks.protocol`."""

    name: str
    description: str
    settings: Callable[[], str]
    """Its settings, as shown beside its figures."""
    version: Callable[[], str]
    command: Callable[[], Sequence[str]]
    """Builds the contestant if needed, and returns its command. Raises `Unavailable`."""
    durable: bool = True
    """Whether its state outlives its process."""
    sums: bool = False
    """Whether it sums a field of the values. It then has to report the total of its sums."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of its task, beside the topic."""
    scales: Sequence[int] = (1,)
    """Multiples of the usual number of records over which it is measured."""
    at_most: int | None = None
    """Largest number of records over which a slow one is measured."""

    def records(self, usual: int) -> list[int]:
        """Numbers of records over which it is measured."""
        return [min(usual * scale, self.at_most or usual * scale) for scale in self.scales]


def named(name: str, among: Sequence[Contestant]) -> Contestant:
    """The contestant with this name. Raises KeyError."""
    return {contestant.name: contestant for contestant in among}[name]


def chosen(patterns: Sequence[str], among: Sequence[Contestant]) -> list[Contestant]:
    """The contestants whose names match any of these globs. Raises KeyError for a glob without a match."""
    for pattern in patterns:
        if not any(fnmatch(contestant.name, pattern) for contestant in among):
            raise KeyError(pattern)
    return [one for one in among if any(fnmatch(one.name, pattern) for pattern in patterns)]
