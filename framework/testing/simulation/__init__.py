"""A simulator: the production runtime on simulated Kafka, clock and faults, every history repeatable from its seed.

By hand: `framework-simulate`, or `python -m framework.testing.simulation`. How it works: docs/design/simulation.md.
"""

from framework.testing.simulation.history import History, SimulationError
from framework.testing.simulation.setting import ACTIONS, STORES, Step, StoreName
from framework.testing.simulation.simulation import Simulation

__all__ = ["ACTIONS", "STORES", "History", "Simulation", "SimulationError", "Step", "StoreName"]
