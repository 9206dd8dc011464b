"""Whether the accelerator is there: framework-speedups, an optional package that reads fetched batches in C."""

import logging

from framework.kafka.internals import Speedups, runs_missing

__all__ = ["working_speedups"]

log = logging.getLogger("framework")


def working_speedups() -> Speedups | None:
    """The accelerator, if it is installed and does what it should; where it does not, that is told."""
    try:
        import framework_speedups as speedups
    except ImportError as error:
        missing = None if error.name == "framework_speedups" else repr(error)
        found = None
    else:
        missing = runs_missing(speedups)
        found = speedups if missing is None else None
    if missing is not None:
        log.warning("framework-speedups is installed but cannot be used, so it is slower: %s", missing)
    return found
