"""Calls in tasks of their own, of which none may end the process as if that were wanted."""

import asyncio

import pytest

from framework import InternalError
from framework.runtime.background import as_error, contained
from tests.runtime.played import KINDS


async def fail(kind: type[BaseException]) -> None:
    raise kind


async def give(value: int) -> int:
    return value


async def test_a_result_passes():
    assert await asyncio.create_task(contained(give, 5)) == 5


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_raised_is_an_error_of_the_task(kind):
    task = asyncio.create_task(contained(fail, kind))
    await asyncio.wait([task])
    assert not task.cancelled()
    error = task.exception()
    expected: type[BaseException] = RuntimeError if kind is StopIteration else kind
    if not issubclass(expected, Exception):
        assert error is not None
        assert error.__cause__.__class__ is kind
        expected = InternalError
    assert type(error) is expected


async def test_a_real_cancellation_passes():
    task = asyncio.create_task(contained(asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_itself_and_anything_else_becomes_one(kind):
    failure = kind()
    error = as_error(failure)
    if isinstance(failure, Exception):
        assert error is failure
    else:
        assert isinstance(error, InternalError)
        assert error.__cause__ is failure
        assert str(error).startswith(f"{kind.__name__} was raised in a call that must not end or cancel the run")
