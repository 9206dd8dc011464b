"""Python's cyclic garbage collector, kept from walking over state and records again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["quiet_collector"]

_THRESHOLDS: Final = (100_000, 5, 1000)
"""Containers that come before the young ones are looked at, and how many such looks before older ones are, too.

A fetch makes tens of thousands, none of them in a cycle: with Python's own (700, 10, 10), a third of a run's time goes
into looking. Each look at the older ones, at up to 500,000, takes some 40 ms (both measured)."""


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Have it look less often, and never at what is there now; as it was again at the end."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
