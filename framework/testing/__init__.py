"""For the tests of plugins and stores: run a processor in memory, check that it keeps the contract. No Kafka needed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from framework.testing.conformance import check_processor
from framework.testing.driver import Result, run_processor

if TYPE_CHECKING:
    from framework.testing.formats import FormatConformance
    from framework.testing.stores import StoreConformance

__all__ = ["FormatConformance", "Result", "StoreConformance", "check_processor", "run_processor"]

_NEED_PYTEST: Final = {
    "FormatConformance": "framework.testing.formats",
    "StoreConformance": "framework.testing.stores",
}


def __getattr__(name: str) -> Any:
    """The kits that need pytest are imported when they are asked for."""
    if name not in _NEED_PYTEST:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEED_PYTEST[name]), name)
