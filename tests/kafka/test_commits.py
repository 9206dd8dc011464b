"""Commits in a rebalance, on a broker."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from framework.kafka.source import KafkaSource
from framework.records import TopicPartition
from framework.runtime.ports import Committed


@pytest.fixture
async def unretrieved() -> list[dict[str, Any]]:
    """What asyncio would log of exceptions that nobody took notice of."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context))
    return found


class Listener:
    def __init__(self) -> None:
        self.assigned = asyncio.Event()

    async def on_revoked(self, partitions: Any) -> None:
        return

    def on_assigned(self, partitions: Any) -> None:
        self.assigned.set()

    def on_source_failed(self, error: BaseException) -> None:
        raise error


def requests() -> Iterator["asyncio.Task[Any]"]:
    """aiokafka's commits that are under way."""
    for task in asyncio.all_tasks():
        if "_do_commit_offsets" in repr(task.get_coro()):
            yield task


@pytest.mark.kafka
async def test_a_commit_that_is_cut_off_in_a_rebalance_leaves_nothing_unretrieved(broker, topic, unretrieved, caplog):
    name, listener = topic(1), Listener()
    source = KafkaSource(
        [name], name, {"bootstrap_servers": broker.bootstrap_servers}, isolation_level="read_committed"
    )
    await source.start(listener)
    try:
        await listener.assigned.wait()
        source._consumer._coordinator.generation += 1000  # as after a rebalance without this member
        committing = asyncio.create_task(source.commit({TopicPartition(name, 0): Committed(0, "")}))
        while not (under_way := list(requests())):  # noqa: ASYNC110 - nothing tells that it was sent
            await asyncio.sleep(0)
        committing.cancel()
        await asyncio.wait([committing, *under_way])
        assert committing.cancelled()
        del committing, under_way
        gc.collect()
    finally:
        await source.stop()
    gc.collect()
    assert "IllegalGenerationError" in caplog.text
    assert unretrieved == []
