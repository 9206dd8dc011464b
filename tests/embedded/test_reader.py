import threading
from collections.abc import Iterator

import pytest

from framework.embedded.reader import ThreadedReader


async def take_all(reader: ThreadedReader[int]) -> list[int]:
    taken: list[int] = []
    while (items := await reader.take(None)) is not None:
        taken += items
    return taken


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 100_000])
async def test_every_item_comes_once_and_in_order(count: int) -> None:
    assert await take_all(ThreadedReader(iter(range(count)))) == list(range(count))


async def test_after_the_end_it_stays_at_the_end() -> None:
    reader = ThreadedReader([1])
    assert await take_all(reader) == [1]
    assert await reader.take(None) is None


async def test_patience_ends_while_the_source_blocks() -> None:
    go_on = threading.Event()

    def blocking() -> Iterator[int]:
        yield 1
        go_on.wait()
        yield 2

    reader = ThreadedReader(blocking())
    assert await reader.take(None) == [1]
    assert await reader.take(0.01) == []
    go_on.set()
    assert await take_all(reader) == [2]


async def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    reader = ThreadedReader(broken())
    assert await reader.take(None) == [1]
    with pytest.raises(LookupError, match="no more"):
        await reader.take(None)


async def test_it_reads_only_a_little_ahead_and_ends_when_closed() -> None:
    read: list[int] = []
    ended = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                read.append(len(read))
                yield len(read)
        finally:
            ended.set()

    reader = ThreadedReader(endless())
    await reader.take(None)
    reader.close()
    del reader
    assert ended.wait(60)
    assert len(read) < 10_000
