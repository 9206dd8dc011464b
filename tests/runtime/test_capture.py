"""Captures: what a checkpoint writes of a table."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from framework import Changes, CodecError, TallyError
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.runtime.capture import BaseBudget, Capture
from framework.runtime.limits import Limits
from framework.table import Table
from tests.runtime.played import KINDS, Clock, Unspeakable

SMALL = Limits(base_floor=2000, first_row_keys=3, largest_row_keys=3, base_keys=6)


class Kept:
    """A table, its captures, and the rows that a store would have of them."""

    def __init__(self, limits: Limits | None = None, *, keeps_rows: bool = True, data: Any = None, codec: Any = None):
        self.table: Any = Table({} if data is None else data)
        self.codec = codec or JsonCodec()
        self.limits = limits or Limits()
        self.clock = Clock()
        self.capture = Capture(self.codec, self.clock, self.limits, keeps_rows=keeps_rows)
        self.base: list[bytes] = []
        self.rows: list[bytes] = []
        self.bases = 0
        self._growing: list[bytes] | None = None
        self._rows_since: list[bytes] = []

    async def take(self, budget: BaseBudget | None = None) -> Changes:
        changes = await self.capture.take(self.table, budget or BaseBudget(self.limits.base_keys))
        if changes.base_begins:
            self._growing, self._rows_since = [], []
        self.rows += changes.rows
        self._rows_since += changes.rows
        if self._growing is not None:
            self._growing += changes.base
            if changes.base_ends:
                self.base, self.rows, self._growing = self._growing, self._rows_since, None
                self.bases += 1
        return changes

    def loaded(self) -> Mapping[Any, Any]:
        return fold_rows(self.codec, [*self.base, *self.rows])


# ---- rows


async def test_rows_tell_what_is_there_and_what_is_gone():
    kept = Kept()
    kept.table.update({"a": 1, "b": [2]})
    assert (await kept.take()).changed == 2
    del kept.table["a"]
    kept.table["b"].append(3)
    kept.table["c"] = 4
    changes = await kept.take()
    assert (changes.keys, changes.changed, len(changes.rows)) == (2, 3, 1)
    assert kept.loaded() == {"b": [2, 3], "c": 4}
    assert await kept.take() == Changes(2, 0, rows=[])


async def test_tallies_are_counted():
    kept = Kept(Limits(tallies_at_once=2))
    kept.table["a"] = 1
    kept.table.tally(["a", "b", "c", "d", "a"])
    changes = await kept.take()
    assert (changes.keys, changes.changed) == (4, 4)
    assert kept.loaded() == {"a": 3, "b": 1, "c": 1, "d": 1}


async def test_a_tally_that_cannot_be_counted_is_told():
    kept = Kept()
    kept.table["a"] = "text"
    kept.table.tally(["b"])
    kept.table.tally(["a"])
    with pytest.raises(TallyError, match="key 'a' was tallied"):
        await kept.take()


async def test_a_key_that_went_and_came_back_as_another_type_is_exact():
    kept = Kept()
    kept.table.update({1: "x", "same": 1})
    await kept.take()
    for key in (1.0, True, 1):
        del kept.table[1]
        kept.table[key] = "z"
        del kept.table["same"]
        kept.table["same"] = 2
        await kept.take()
        assert {repr(each) for each in kept.loaded()} == {repr(key), "'same'"}


async def test_a_key_that_went_and_did_not_come_back_is_gone():
    kept = Kept(data={"a": 1, 1: 1})
    kept.rows.append(JsonCodec().encode([{"a": 1, 1: 1}, []]))
    for key in ("a", 1):
        del kept.table[key]
        kept.table[key] = 2
        del kept.table[key]
    changes = await kept.take()
    assert changes.keys == 0
    assert kept.loaded() == {}


async def test_many_keys_come_in_pieces_between_which_the_loop_turns():
    kept = Kept(SMALL)
    kept.table.update({f"k{number}": number for number in range(100)})
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    changes = await kept.take()
    turning.cancel()
    assert [len(JsonCodec().decode(row)[0]) for row in changes.rows] == [3] * 33 + [1]
    assert turns >= 30
    assert len(kept.loaded()) == 100


@pytest.mark.parametrize(("seconds", "sizes"), [(1.0, [8, 4, 2, 1, 1]), (0.0, [8, 16, 32, 32, 32])])
async def test_pieces_follow_how_long_they_take(seconds, sizes):
    kept = Kept(Limits(first_row_keys=8, largest_row_keys=32))
    kept.clock.step = seconds
    kept.table.update({f"k{number}": number for number in range(200)})
    rows = (await kept.take()).rows
    assert [len(JsonCodec().decode(row)[0]) for row in rows][:5] == sizes


# ---- bases


async def test_a_new_base_comes_in_pieces_and_with_the_rows_since_gives_the_state():
    kept = Kept(SMALL)
    for at in range(400):
        key = f"k{at % 23}"
        if at % 7 == 0:
            kept.table.pop(key, None)
        else:
            kept.table[key] = at
        changes = await kept.take()
        assert kept.loaded() == kept.table.view()
        assert len(changes.base) <= 2
    assert kept.bases > 2


async def test_a_base_keeps_up_where_the_budget_is_spent():
    kept = Kept(SMALL)
    for at in range(400):
        kept.table[f"k{at % 23}"] = at
        changes = await kept.take(BaseBudget(0))
        assert sum(len(JsonCodec().decode(piece)) for piece in changes.base) <= 2
        assert kept.loaded() == kept.table.view()
    assert kept.bases > 2


async def test_a_base_costs_the_budget_what_it_carries():
    kept = Kept(SMALL, data={f"k{number}": 1 for number in range(10)})
    kept.capture.begin(0, 3000)
    budget = BaseBudget(7)
    assert (await kept.take(budget)).base_begins
    assert budget.keys == 0
    assert not (await kept.take(budget)).base
    budget = BaseBudget(7)
    assert (await kept.take(budget)).base_ends
    assert budget.keys == 4


async def test_no_base_where_rows_are_few():
    kept = Kept(Limits(base_floor=10_000, row_cost=100), data={"a": 1})
    kept.capture.begin(0, 9_900)
    kept.table["a"] = 2
    assert not (await kept.take()).base_begins
    kept.table["a"] = 3
    assert (await kept.take()).base_begins


async def test_no_base_before_rows_outweigh_the_one_before():
    kept = Kept(SMALL, data={"a": 1})
    kept.capture.begin(100_000, 50_000)
    assert not (await kept.take()).base_begins
    kept.capture.begin(50_000, 100_000)
    assert (await kept.take()).base_begins


async def test_a_base_that_is_not_finished_is_begun_anew_after_a_claim():
    kept = Kept(SMALL, data={f"k{number}": 1 for number in range(20)})
    kept.capture.begin(0, 3000)
    assert not (await kept.take()).base_ends
    kept.capture.begin(0, 3000)
    assert (await kept.take()).base_begins


async def test_after_a_migration_all_is_replaced_once():
    kept = Kept(SMALL, data={f"k{number}": 1 for number in range(20)})
    kept.rows.append(JsonCodec().encode([{"old": 1}, []]))
    kept.capture.rewrites = True
    changes = await kept.take()
    assert (changes.base_begins, changes.base_ends, changes.rows) == (True, True, ())
    assert kept.loaded() == kept.table.view()
    assert await kept.take() == Changes(20, 0, rows=[])


async def test_a_store_without_rows_gets_all_as_one():
    kept = Kept(SMALL, keeps_rows=False, data={"a": 1, "b": 2})
    kept.table["a"] = 3
    [row] = (await kept.take()).rows
    assert JsonCodec().decode(row) == {"a": 3, "b": 2}


# ---- what cannot be held


@pytest.mark.parametrize("codec", [JsonCodec, MsgpackCodec])
@pytest.mark.parametrize("keeps_rows", [True, False])
async def test_the_key_of_what_the_codec_cannot_hold_is_named(codec, keeps_rows):
    kept = Kept(keeps_rows=keeps_rows, codec=codec())
    kept.table.update({"a": 1, "b": [object()], "c": 3})
    with pytest.raises(CodecError, match=r"cannot hold the state of key 'b' \(value of type list\): .*object"):
        await kept.take()


async def test_a_key_that_cannot_be_held_is_named():
    kept = Kept()
    kept.table.update({"a": 1, (Unspeakable,): 2})
    with pytest.raises(CodecError, match=r"cannot hold the state of key \(.*Unspeakable"):
        await kept.take()


class Failing(JsonCodec):
    """Fails with `kind` on a whole row; each of its keys alone is well, where `alone` is not set."""

    def __init__(self, kind: type[BaseException], *, alone: bool) -> None:
        self.kind = kind
        self.alone = alone

    def encode(self, value: Any) -> bytes:
        if self.alone or ("a" in repr(value) and "b" in repr(value)):
            raise self.kind
        return super().encode(value)


@pytest.mark.parametrize("alone", [True, False], ids=["each key", "the row alone"])
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_the_codec_raises_is_an_error_that_names_it(kind, alone):
    kept = Kept(codec=Failing(kind, alone=alone))
    kept.table.update({"a": 1, "b": 2})
    told = "the state of key '[ab]'" if alone else "2 keys in one row"
    with pytest.raises(CodecError, match=f"codec json cannot hold {told}.*: {kind.__name__}"):
        await kept.take()


@pytest.mark.parametrize("alone", [True, False], ids=["each key", "the row alone"])
async def test_an_interrupt_is_raised_on(alone):
    kept = Kept(codec=Failing(KeyboardInterrupt, alone=alone))
    kept.table.update({"a": 1, "b": 2})
    with pytest.raises(KeyboardInterrupt):
        await kept.take()


# ---- one value under two keys

SHARED = "the same {} object stands under the keys '[ab]' and '[ab]'; a load would make two objects of it"


@pytest.mark.parametrize("make", [lambda: [1], lambda: {"x": 1}, lambda: {1}], ids=["list", "dict", "set"])
async def test_one_container_under_two_keys_is_refused(make: Callable[[], Any]):
    kept = Kept()
    value = make()
    kept.table.update({"a": value, "b": value})
    with pytest.raises(CodecError, match=SHARED.format(type(value).__name__)):
        await kept.take()


async def test_one_container_under_two_keys_is_refused_over_pieces_and_captures():
    for limits in SMALL, Limits():
        kept = Kept(limits)
        value = [1]
        kept.table.update({"a": value, **{f"k{number}": number for number in range(9)}})
        await kept.take()
        kept.table["b"] = value
        with pytest.raises(CodecError, match=SHARED.format("list")):
            await kept.take()


async def test_one_container_under_a_key_that_was_read_and_another_is_refused():
    kept = Kept(data={"a": [1]})
    kept.table["b"] = kept.table["a"]
    with pytest.raises(CodecError, match=SHARED.format("list")):
        await kept.take()


@pytest.mark.parametrize("keeps_rows", [True, False])
async def test_one_container_under_two_keys_is_refused_where_all_is_written(keeps_rows):
    """As after a migration, also where the keys are not in the same piece."""
    kept = Kept(SMALL, keeps_rows=keeps_rows, data={"a": [1], **{f"k{number}": number for number in range(9)}})
    kept.table["b"] = kept.table["a"]
    kept.capture.rewrites = True
    with pytest.raises(CodecError, match=r"'[ab]'.*'[ab]'"):
        await kept.take()


async def test_a_value_that_moves_from_key_to_key_is_well():
    kept = Kept()
    value = [1]
    for key in ("a", "b", "a", "c"):
        kept.table.clear()
        kept.table[key] = value
        value.append(2)
        await kept.take()
        assert kept.loaded() == {key: value}


async def test_values_that_cannot_change_may_be_shared():
    kept = Kept()
    value = ("x" * 100, 5)
    kept.table.update({"a": value, "b": value, "c": value[0], "d": value[0]})
    await kept.take()
    assert kept.loaded() == {"a": value, "b": value, "c": value[0], "d": value[0]}


async def test_a_value_that_the_plugin_keeps_for_itself_is_well():
    kept = Kept()
    mine = {key: [key] for key in "abc"}
    kept.table.update(mine)
    await kept.take()
    mine["a"].append("more")
    kept.table["a"] = mine["a"]
    await kept.take()
    assert kept.loaded() == mine
