"""For the tests of plugins and stores: run a processor in memory, check that it keeps the contract. No Kafka needed."""

from typing import TYPE_CHECKING, Any

from framework.testing.conformance import check_processor
from framework.testing.driver import Result, run_processor

if TYPE_CHECKING:
    from framework.testing.stores import StoreConformance

__all__ = ["Result", "StoreConformance", "check_processor", "run_processor"]


def __getattr__(name: str) -> Any:
    """`StoreConformance`, which alone needs pytest, is imported when it is asked for."""
    if name != "StoreConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from framework.testing.stores import StoreConformance

    return StoreConformance
