"""The contestants: programs that read a topic, and count its records, or sum a field of its values, by key."""

from benchmarks.contestants.contestant import Contestant, chosen, named
from benchmarks.contestants.counting import COUNTING
from benchmarks.contestants.summing import SUMMING
from benchmarks.contestants.windows import GAP, SESSIONS, SIZE, TUMBLING

__all__ = ["COUNTING", "GAP", "SESSIONS", "SIZE", "SUMMING", "TUMBLING", "Contestant", "chosen", "named"]
