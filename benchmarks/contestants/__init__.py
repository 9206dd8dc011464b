"""The contestants: programs that read a topic, and count its records by key or sum a field of its values by key."""

from benchmarks.contestants.contestant import Contestant, chosen, named
from benchmarks.contestants.counting import COUNTING
from benchmarks.contestants.summing import SUMMING

__all__ = ["COUNTING", "SUMMING", "Contestant", "chosen", "named"]
