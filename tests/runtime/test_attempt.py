"""Attempts: some records wholly, or no trace of them."""

import asyncio
from typing import Any

import pytest

from framework import InternalError, OutputError, Processor, TallyError, TopicPartition
from framework.runtime.attempt import Attempt
from framework.runtime.outbox import Outbox
from framework.runtime.timers import UnitTimers
from framework.table import PlainTable, Table
from tests.runtime.played import KINDS, NO_WRITERS, PARTITION, make_batch


class Raises(Processor):
    """Changes and sends something, then raises what a record's value names."""

    api_version = 1
    kind: type[BaseException] = ValueError

    def process(self, record, state, out):
        state["list"].append(record.offset)
        state.tally([record.key])
        out.send("out", record.offset)
        if record.value == b"bad":
            raise self.kind

    def process_batch(self, batch, state, out):
        for position, offset in enumerate(batch.offsets):
            state["list"].append(offset)
            state.tally([batch.keys[position]])
            out.send("out", offset, position=position)
            if batch.values[position] == b"refuse":
                out.refuse(position, RuntimeError("refused"))
            if batch.values[position] == b"bad":
                raise self.kind


class Rig:
    def __init__(self, processor: type[Processor] = Raises, table: Any = Table) -> None:
        self.table = table({"list": []})
        self.outbox = Outbox("plugin", PARTITION, NO_WRITERS)
        self.processor: Any = processor(None, TopicPartition("topic", 0))
        self.attempt = Attempt(self.processor, self.table, UnitTimers(), self.outbox)

    def seen(self) -> tuple[Any, int]:
        return dict(self.table.view()), len(self.outbox)


@pytest.fixture(params=[PlainTable, Table], ids=["python", "installed"])
def rig(request) -> Rig:
    return Rig(table=request.param)


def values(*bad: int, what: bytes = b"bad") -> Any:
    return make_batch(["a"] * 4, values=[what if position in bad else b"" for position in range(4)])


async def test_records_that_are_well_are_applied(rig):
    assert await rig.attempt.records(list(values())) == (4, None)
    assert rig.seen() == ({"list": [0, 1, 2, 3], b"a": 4}, 4)
    assert len(rig.table.take_changed()[0]) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [0, 2])
async def test_one_that_fails_leaves_no_trace_and_tells_how_many_came_before(rig, kind, bad):
    rig.processor.kind = kind
    good, error = await rig.attempt.records(list(values(bad)))
    assert (good, type(error)) == (bad, kind)
    assert rig.seen() == ({"list": []}, 0)
    assert await rig.attempt.records(list(values())) == (4, None)
    assert rig.seen() == ({"list": [0, 1, 2, 3], b"a": 4}, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_fails_leaves_no_trace(rig, kind):
    rig.processor.kind = kind
    got_through, error = rig.attempt.batch(values(2), lambda refused: None)
    assert isinstance(error, kind)
    assert got_through > 0
    assert rig.seen() == ({"list": []}, 0)
    assert rig.attempt.batch(values(), lambda refused: None) == (0, None)
    assert rig.seen() == ({"list": [0, 1, 2, 3], b"a": 4}, 4)


def test_what_was_refused_is_dealt_with(rig):
    told: list[Any] = []
    assert rig.attempt.batch(values(1, 3, what=b"refuse"), lambda refused: told.append(refused)) == (0, None)
    assert [list(refused) for refused in told] == [[1, 3]]
    assert rig.seen()[1] == 4


def test_where_refusing_fails_the_batch_leaves_no_trace(rig):
    error = RuntimeError("each must be looked at")
    assert rig.attempt.batch(values(1, what=b"refuse"), lambda refused: error) == (0, error)
    assert rig.seen() == ({"list": []}, 0)
    assert not rig.outbox.refused


def test_a_batch_that_fails_refuses_nothing(rig):
    batch = make_batch(["a"] * 2, values=[b"refuse", b"bad"])
    rig.attempt.batch(batch, lambda refused: pytest.fail("it was told"))
    assert not rig.outbox.refused


async def test_outputs_from_before_stay(rig):
    await rig.attempt.records(list(values()))
    await rig.attempt.records(list(values(3)))
    assert rig.seen()[1] == 4


async def test_interrupts_and_real_cancellations_are_raised_on(rig):
    rig.processor.kind = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        await rig.attempt.records(list(values(0)))
    with pytest.raises(KeyboardInterrupt):
        rig.attempt.batch(values(0), lambda refused: None)


async def test_a_real_cancellation_is_raised_on():
    class Waits(Processor):
        api_version = 1

        async def process(self, record, state, out):
            await asyncio.Event().wait()

    rig = Rig(Waits)
    attempt = asyncio.create_task(rig.attempt.records(list(values())))
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


class Tallies(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.value == b"own":
            raise TallyError("of my own")
        state.tally(["list"])
        len(state)


async def test_a_tally_that_the_plugin_raises_itself_is_its_failure():
    rig = Rig(Tallies)
    own = make_batch(["a"], values=[b"own"])
    _, error = await rig.attempt.records(list(own))
    assert isinstance(error, TallyError)
    assert rig.table.broken is None


async def test_a_tally_of_the_state_itself_is_raised():
    rig = Rig(Tallies)
    with pytest.raises(TallyError, match="key 'list' was tallied"):
        await rig.attempt.records(list(values()))


async def test_a_tally_that_the_plugin_caught_is_raised_all_the_same():
    class Catches(Tallies):
        def process(self, record, state, out):
            try:
                super().process(record, state, out)
            except TallyError:
                raise OutputError("something else") from None

    rig = Rig(Catches)
    with pytest.raises(TallyError, match="key 'list' was tallied"):
        await rig.attempt.records(list(values()))


async def test_a_state_that_is_half_changed_is_no_records_fault():
    class Odd:
        """A number that cannot be added to."""

        def __add__(self, other: object) -> int:
            raise MemoryError("too much")

    class Adds(Processor):
        api_version = 1

        def process(self, record, state, out):
            state["odd"] = Odd()
            state.tally(["odd"])
            len(state)

    rig = Rig(Adds)
    with pytest.raises(InternalError, match="a change to the state was interrupted: MemoryError: too much"):
        await rig.attempt.records(list(values()))
