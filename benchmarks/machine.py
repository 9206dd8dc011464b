"""The machine and the versions of a measurement."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.broker import JAVA_OPTIONS, VERSION, java_version
from benchmarks.environments import installed_version

__all__ = ["machine"]


def machine() -> dict[str, Any]:
    """The date, the hardware, and the versions of software that all contestants share."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "kafka": VERSION,
        "java": java_version(),
        "broker_java_options": list(JAVA_OPTIONS),
        "packages": {name: installed_version(name) for name in ("framework", "aiokafka", "confluent-kafka")},
    }


def _commit() -> str:
    """The commit of this repository, with a mark if files were changed since; empty if unknown."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()
