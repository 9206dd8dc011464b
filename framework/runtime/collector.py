"""Settings for Python's cyclic garbage collector, so that it does not visit state and records again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["quiet_collector"]

_THRESHOLDS: Final = (100_000, 5, 1000)
"""Thresholds for `gc.set_threshold`.

A fetch creates tens of thousands of containers, none of them in a cycle. With Python's default of (700, 10, 10), a
third of a run's time is spent in collections. Each collection of an older generation, of up to 500,000 containers,
takes some 40 ms (both measured)."""


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Collect less often, and never the objects that exist now. The previous settings are restored at the end."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
