"""The floors: the factors by which framework must be faster than others, in one run of the benchmarks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.measure import Entry, counterpart, ratio

__all__ = ["FLOORS", "Floor", "Measured", "Target", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Floor:
    """The contestant `ours` must have at least `at_least` times the rate of the contestant `other`."""

    ours: str
    other: str
    at_least: float

    def __str__(self) -> str:
        return f"{self.ours} / {self.other}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A floor that was measured."""

    floor: Floor
    ratio: float
    records: int
    """Number of records over which the other contestant was measured."""

    @property
    def is_kept(self) -> bool:
        return self.ratio >= self.floor.at_least


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for a figure of framework itself."""

    what: str
    limit: float
    unit: str = ""
    is_least: bool = False
    """Whether the limit is a lower one, rather than an upper one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A target that was measured."""

    target: Target
    value: float

    @property
    def is_kept(self) -> bool:
        return self.value >= self.target.limit if self.target.is_least else self.value <= self.target.limit


FLOORS: Final = (
    Floor("ours", "fetch-only", 0.45),
    Floor("ours", "seed", 3.5),
    Floor("ours-per-record", "seed", 3.5),
    Floor("ours", "ours-no-checkpoints", 0.9),
    Floor("ours", "flink-heap", 1.2),
    Floor("ours", "flink-rocksdb", 7),
    Floor("ours", "streams-eos-rocksdb", 15),
    Floor("ours", "bytewax-recovery", 12),
    Floor("ours", "quix-changelog", 40),
    Floor("ours", "flechtwerk", 25),
    Floor("ours-tumbling", "ours", 0.5),
    Floor("ours-tumbling", "flink-tumbling", 1.2),
    Floor("ours-sumbykey", "seed-json", 5),
    Floor("ours-typed-batch", "seed-json-float", 6),
    Floor("ours-sumbykey", "flink-jackson", 1.2),
)


def judge(entries: Sequence[Entry]) -> list[Verdict]:
    """The floors that these entries measure."""
    return list(_judge([entry for entry in entries if entry.runs]))


def _judge(entries: Sequence[Entry]) -> Iterator[Verdict]:
    for floor in FLOORS:
        for other in entries:
            if other.name == floor.other and (ours := counterpart(floor.ours, other, entries)) is not None:
                yield Verdict(floor, ratio(ours, other), other.records)
