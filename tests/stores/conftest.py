from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from framework.stores import Store
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore

OpenStore = Callable[..., Store]


def only(*stores: type[Store]) -> pytest.MarkDecorator:
    """Try a test on these stores alone."""
    return pytest.mark.parametrize("store_type", stores, indirect=True, ids=lambda store: store.name)


@pytest.fixture(params=[SqliteStore, FileStore, MemoryStore], ids=lambda store: store.name)
def store_type(request: pytest.FixtureRequest) -> type[Store]:
    chosen: type[Store] = request.param
    return chosen


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def open_store(store_type: type[Store], directory: Path) -> Iterator[OpenStore]:
    """Opens the store again and again, as another process would; all are closed at the end."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(store_type(directory, **options)))


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()
