"""A rebalance or a crash at any moment of a load, with a store that answers late: the state is right, or nothing is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from framework.policy import ErrorPolicy
from framework.runtime import witness
from framework.runtime.limits import Limits
from framework.runtime.ports import LogRange
from tests.runtime.played import PARTITION, Count, Faults, Played, PlayedStore

LIMITS = Limits(fetch_seconds=0, look_seconds=0, slice_seconds=0, first_piece_records=2, piece_records=3)
END = 14


class Log(Count):
    """Remembers each offset."""

    def process(self, record, state, out):
        state[str(record.offset)] = state.get(str(record.offset), 0) + 1
        if record.value == b"bad":
            raise ValueError("no")
        out.send("other", str(record.offset))


Log.name = "count"


async def late(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls as the store's thread does, with an answer that takes some turns of the loop."""
    await asyncio.sleep(0)
    answer = function(*arguments)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return answer


async def first_run(store: PlayedStore, processor: type[Count] = Log) -> witness.Testimony:
    """Five records are stored; gives what the group has committed then."""
    first = Played(processors=[processor], store=store)
    first.source.logs = {PARTITION: LogRange(0, 5, "id")}
    await first.run_to_end()
    return witness.Testimony.of(first.source.offsets[PARTITION])


def second_run(store: PlayedStore, case: str, told: witness.Testimony) -> tuple[Played, int]:
    """A worker that goes on with it, and where its log begins."""
    limits: dict[str, Any] = {"limits": LIMITS, "interval": 0.0, "patience": 100}
    second = Played(processors=[Log], store=store, on_error=ErrorPolicy("skip"), **limits)
    loader = second.worker._loader
    loader.run_io = second.worker.saver._run_io = late
    start = {"as it was": 0, "missing": 2, "out of range": 7, "with a gap": 7}[case]
    if case == "missing":
        loader.on_missing_state = "rebuild"
        told = witness.Testimony(9, told.store, {"count": (told.versions or {})["count"] + 5})
    elif start:
        loader.on_out_of_range = "rebuild" if case == "out of range" else "continue"
    second.source.offsets = {PARTITION: told.to_committed()}
    second.source.logs = {PARTITION: LogRange(start, END, "id")}
    if start < 5:
        second.source.records[(PARTITION, 4)] = second.source.record(PARTITION, 4)
    return second, start


async def state_after(case: str, turns: tuple[int, int], bad: bool) -> tuple[Any, Any]:
    """What is stored where the partition is taken away after so many turns of the loop, twice; and what is right."""
    store = PlayedStore(Faults())
    second, start = second_run(store, case, await first_run(store))
    if bad:
        second.source.values[(PARTITION, 9)] = b"bad"
    run = second.start()
    while second.source.listener is None:  # noqa: ASYNC110 - turns are counted
        await asyncio.sleep(0)
    for count in turns:
        for _ in range(count):
            await asyncio.sleep(0)
        if run.done():
            break
        await second.source.revoke()
        second.source.assign()
    second.worker.stop_when({PARTITION: END})
    async with asyncio.timeout(10):
        await run
    begin = start if case in ("missing", "out of range") else 0
    right = {str(offset): 1 for offset in range(begin, END) if not (bad and offset == 9)}
    if case == "with a gap":
        right = {offset: 1 for offset in right if not 5 <= int(offset) < start}
    return second.stored_state(), right


@pytest.mark.parametrize("bad", [False, True], ids=["good records", "one fails"])
@pytest.mark.parametrize("case", ["as it was", "missing", "out of range", "with a gap"])
async def test_a_rebalance_at_any_turn_of_a_load_loses_nothing(case, bad):
    for first in range(0, 45, 2):
        for second in (0, 3, 7, 11, 16, 23):
            stored, right = await state_after(case, (first, second), bad)
            assert stored == right, f"after {first} and {second} turns"


async def test_a_rebuild_that_is_cut_off_begins_at_the_logs_beginning_all_the_same():
    """Also where a partition without state begins elsewhere: it had state."""
    store = PlayedStore(Faults())
    await first_run(store, Count)

    def worker() -> Played:
        played = Played(processors=[Count], store=store)
        played.worker._loader.on_out_of_range = "rebuild"
        played.worker._loader.start = "latest"
        played.source.logs = {PARTITION: LogRange(7, 12, "id")}
        return played

    set_aside = store.set_aside

    def set_aside_and_fail(unit, epoch):
        aside = set_aside(unit, epoch)
        store.faults.plant("store.claim", MemoryError("as if the power was cut"))
        return aside

    store.set_aside = set_aside_and_fail  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        await worker().run_to_end()
    store.set_aside = set_aside  # type: ignore[method-assign]
    after = worker()
    await after.run_to_end()
    assert after.stored_state() == {"key": 5}
