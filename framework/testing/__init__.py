"""For the tests of plugins: a driver in memory, conformance kits, brokers, and runs in processes of their own.

pytest finds the fixtures `embedded_broker`, `kafka_broker` and `framework_run` by itself, see
`framework.testing.fixtures`. The kits and the brokers need the packages of `pip install "framework[testing]"`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from framework.testing.brokers import Broker
    from framework.testing.codecs import CodecConformance
    from framework.testing.conformance import check_processor
    from framework.testing.driver import Driver, run_processor
    from framework.testing.formats import FormatConformance
    from framework.testing.instance import Result
    from framework.testing.processors import ProcessorConformance
    from framework.testing.runs import Run
    from framework.testing.stores import StoreConformance
    from framework.testing.strategies import records_of

__all__ = [
    "Broker",
    "CodecConformance",
    "Driver",
    "FormatConformance",
    "ProcessorConformance",
    "Result",
    "Run",
    "StoreConformance",
    "check_processor",
    "records_of",
    "run_processor",
]

_HOMES: Final = {
    "Broker": "brokers",
    "CodecConformance": "codecs",
    "Driver": "driver",
    "FormatConformance": "formats",
    "ProcessorConformance": "processors",
    "Result": "instance",
    "Run": "runs",
    "StoreConformance": "stores",
    "check_processor": "conformance",
    "records_of": "strategies",
    "run_processor": "driver",
}
"""The module of each name. It is imported when the name is used first, because pytest imports this package for all."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
