from pathlib import Path

import pytest

from framework.stores.file import FileStore
from framework.stores.sqlite import SqliteStore
from tests.stores.on_disk import DiskStore

pytest.register_assert_rewrite("framework.testing.stores", "framework.testing.store_model")


@pytest.fixture(params=[SqliteStore, FileStore], ids=lambda store: store.name)
def store_type(request: pytest.FixtureRequest) -> type[DiskStore]:
    chosen: type[DiskStore] = request.param
    return chosen


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"
