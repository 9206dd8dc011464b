"""The thread in which a store is used."""

import asyncio
import threading
from typing import Any

import pytest

from framework.runtime.io import IOThread
from tests.runtime.played import KINDS


async def test_calls_run_in_one_other_thread_in_order():
    order: list[int] = []
    with IOThread() as run_io:
        threads = await asyncio.gather(*[run_io(lambda: threading.get_ident()) for _ in range(3)])
        await asyncio.gather(*[run_io(order.append, number) for number in range(50)])
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    assert order == [*range(50)]


async def test_arguments_and_results_pass():
    with IOThread() as run_io:
        assert await run_io(divmod, 7, 3) == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_raised_comes_out_where_it_is_awaited(kind):
    def fail() -> None:
        raise kind

    expected: Any = RuntimeError if kind is StopIteration else kind
    with IOThread() as run_io:
        with pytest.raises(expected) as caught:
            await run_io(fail)
        assert await run_io(lambda: 5) == 5
    if kind is StopIteration:
        assert isinstance(caught.value.__cause__, StopIteration)


async def test_leaving_waits_for_what_is_under_way():
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(20)
        ended.set()

    with IOThread() as run_io:
        working = asyncio.ensure_future(run_io(work))
        await asyncio.to_thread(begun.wait, 20)
        may_end.set()
    assert ended.is_set()
    await working
