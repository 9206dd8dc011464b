"""For the tests of plugins: run a processor in memory, and check that it keeps the contract. No Kafka needed."""

from framework.testing.conformance import check_processor
from framework.testing.driver import Result, run_processor

__all__ = ["Result", "check_processor", "run_processor"]
