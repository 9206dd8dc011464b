"""Every store against the model, in random walks that Hypothesis chooses, and makes short where one goes wrong."""

import tempfile
from contextlib import ExitStack, closing
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.stores import Store
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import Walk


@pytest.mark.parametrize("store_type", [SqliteStore, FileStore, MemoryStore], ids=lambda store: store.name)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(random=st.randoms(use_true_random=False), steps=st.integers(1, 30))
def test_whatever_is_done_the_store_agrees_with_the_model(store_type: type[Store], random: Random, steps: int) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        location = f"{store_type.name}:{name if store_type.survives else ''}"

        def open_one(*, read_only: bool = False, elsewhere: bool = False) -> Store:
            return stack.enter_context(closing(store_type.open(location, store_type.Options(), read_only=read_only)))

        Walk(open_one, random).run(steps)
