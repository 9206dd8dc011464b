from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.power.outages import fast_directory


@pytest.fixture
def disk() -> Iterator[Path]:
    """For what is recorded, and for what is left of it."""
    with fast_directory() as directory:
        yield directory
