"""The inbox: events in the order in which they came."""

import asyncio

import pytest

from framework.runtime.inbox import Assigned, Failed, Inbox, Ready, Revoked
from tests.runtime.played import PARTITION, until

READY = Ready(PARTITION)


@pytest.fixture
async def inbox() -> Inbox:
    return Inbox()


def never() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_events_come_out_in_order(inbox):
    events = [Assigned({PARTITION: 3}), READY, Failed(ValueError())]
    for event in events:
        inbox.post(event)
    assert [inbox.take() for _ in range(4)] == [*events, None]


@pytest.mark.parametrize(
    "call", [lambda inbox: inbox.post(READY), lambda inbox: inbox.wake_up()], ids=["post", "wake_up"]
)
async def test_an_event_wakes_up_and_so_does_a_call(inbox, call):
    waiting = asyncio.create_task(inbox.wait(never()))
    await asyncio.sleep(0)
    assert not waiting.done()
    call(inbox)
    await waiting
    again = asyncio.create_task(inbox.wait(never()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not again.done()
    call(inbox)
    call(inbox)
    await again


async def test_what_was_posted_before_the_wait_wakes_up_too(inbox):
    inbox.post(READY)
    await inbox.wait(never())


async def test_the_other_thing_wakes_up_whatever_becomes_of_it(inbox):
    other = never()
    other.set_exception(ValueError())
    await inbox.wait(other)
    other.exception()


async def test_events_may_come_later(inbox):
    loop = asyncio.get_running_loop()
    inbox.post_at(loop.time() + 0.001, READY)
    assert inbox.take() is None
    await inbox.wait(never())
    assert inbox.take() == READY


async def test_a_revocation_is_waited_for(inbox):
    assert not inbox.has_revocation
    revoking = asyncio.create_task(inbox.revoke())
    await until(lambda: inbox.has_revocation)
    event = inbox.take()
    assert isinstance(event, Revoked)
    assert not inbox.has_revocation
    assert not revoking.done()
    event.done.set_result(None)
    await revoking


async def test_nobody_waits_once_it_is_closed(inbox):
    revoking = asyncio.create_task(inbox.revoke())
    await until(lambda: inbox.has_revocation)
    inbox.close()
    await inbox.revoke()
    assert not revoking.done()
    inbox.release_all()
    inbox.release_all()
    await revoking


async def test_a_revocation_that_nobody_waits_for_any_more_can_be_released(inbox):
    revoking = asyncio.create_task(inbox.revoke())
    await until(lambda: inbox.has_revocation)
    revoking.cancel()
    await asyncio.wait([revoking])
    inbox.release_all()
    assert revoking.cancelled()
