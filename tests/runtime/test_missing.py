"""Formats that must get something, such as a schema, before they can decode: the partition waits, nothing is lost."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from framework.errors import InternalError, PluginError
from framework.formats import Format, FormatOptions
from framework.plugins import load
from tests.runtime.played import KINDS, PARTITION, Played, until


class Framed(Format):
    """Can read a value only once `schema` has come; asks for it before that."""

    name = "framed"

    def __init__(self) -> None:
        super().__init__(FormatOptions(), "value")
        self.schema = asyncio.Event()
        self.asked = 0
        self.cancelled = 0
        self.error: BaseException | None = None
        self.raises_at_once: BaseException | None = None

    def missing(self, column: Sequence[bytes | None]) -> Awaitable[None] | None:
        if self.raises_at_once is not None:
            raise self.raises_at_once
        return None if self.schema.is_set() else self._get()

    async def _get(self) -> None:
        self.asked += 1
        try:
            await self.schema.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            self.schema.clear()
            raise self.error

    def read(self, data: bytes) -> Any:
        assert self.schema.is_set(), "read before the schema has come"
        return data


def played(form: Framed) -> Played:
    make = load([]).format
    return Played(
        make_format=lambda declared, part, **more: form if part == "value" else make(declared, part, **more),
    )


async def test_a_partition_waits_and_goes_on_when_all_has_come():
    form = Framed()
    run = played(form)
    run.worker.stop_when({partition: log.end for partition, log in run.source.logs.items()})
    working = run.start()
    await until(lambda: form.asked)
    for _ in range(50):
        await asyncio.sleep(0)
    assert run.worker.assignment.positions() == {PARTITION: 0}
    form.schema.set()
    await working
    assert run.stored_state() == {"key": 10}
    assert form.asked == 1


async def test_a_stop_does_not_wait_for_it():
    form = Framed()
    run = played(form)
    working = run.start()
    await until(lambda: form.asked)
    run.worker.stop()
    await working
    assert form.cancelled == 1
    assert run.stored_offset() == -1


async def test_a_revocation_does_not_wait_for_it():
    form = Framed()
    run = played(form)
    working = run.start()
    await until(lambda: form.asked)
    await run.worker.on_revoked([PARTITION])
    assert form.cancelled == 1
    assert not run.worker.tasks
    run.worker.stop()
    await working


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not StopIteration])
async def test_whatever_it_raises_ends_the_run(kind):
    form = Framed()
    form.error = kind("no schema")
    run = played(form)
    working = run.start()
    await until(lambda: form.asked)
    form.schema.set()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any kind
        await working
    assert isinstance(raised.value, InternalError | kind)
    assert run.stored_offset() == -1


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_the_question_raises_ends_the_run(kind):
    form = Framed()
    form.raises_at_once = kind("no registry")
    run = played(form)
    with pytest.raises(PluginError, match="format framed: missing failed"):
        await run.run_to_end()
    assert run.stored_offset() == -1


async def test_an_awaitable_that_is_never_done_is_cancelled_where_the_run_fails():
    form = Framed()
    run = played(form)
    working = run.start()
    await until(lambda: form.asked)
    run.worker.on_source_failed(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await working
    assert form.cancelled == form.asked
