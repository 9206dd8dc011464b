"""The conformance kit for stores: does a store keep the contract of `framework.stores`? It needs pytest.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def open_store(self, tmp_path):
            with ExitStack() as stack:
                def open_one(*, read_only=False, elsewhere=False):
                    location = f"mine:{tmp_path}/{'elsewhere' if elsewhere else 'here'}"
                    return stack.enter_context(closing(MyStore.open(location, MyStore.Options(), read_only=read_only)))
                yield open_one

`pytest.register_assert_rewrite("framework.testing.stores")` in a `conftest.py` lets failures show values.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Any, overload

import pytest

from framework.errors import FencedError, InternalError, StateConflictError, StateIncompatibleError
from framework.progress import Anchor, Progress
from framework.records import TopicPartition
from framework.stores import (
    ALREADY_SAVED,
    SAVED,
    STATE_TABLE,
    Changes,
    Checkpoint,
    Claim,
    Description,
    Store,
    StoredTable,
    StoredUnit,
    Unit,
)
from framework.testing.store_model import (
    ANCHOR,
    DESCRIPTION,
    TIMERS,
    UNIT,
    OpenStore,
    Owner,
    Tables,
    Walk,
    accept_all,
    in_tables,
    snapshot,
    state_rows,
)

__all__ = ["OpenStore", "StoreConformance"]

ODD_UNITS = [
    Unit("..", "keycount", "topic", 0),
    Unit(".", "keycount", "topic", 0),
    Unit("a/b:c %", "../x", "t.json", 0),
    Unit("группа", "p*", ".hidden", 3),
    Unit("group", "keycount", "topic-0", 0),
    Unit("group", "keycount", "topic-0.json", 0),
    Unit("group", "keycount", "topic", 10),
    Unit("group", "other", "topic", 0),
    Unit("group.aside", "keycount", "topic", 0),
]

foreign_errors = pytest.mark.parametrize(
    "error", [MemoryError, KeyboardInterrupt, ValueError, asyncio.CancelledError], ids=lambda error: error.__name__
)


class _Breaking(Sequence[bytes]):
    """Rows, of which reading the last raises an error."""

    def __init__(self, error: type[BaseException], *rows: bytes) -> None:
        self._error = error
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows) + 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise IndexError
        if index == len(self._rows):
            raise self._error("planted")
        return self._rows[index]


class _BreakingTables(Mapping[str, Changes]):
    """Tables, of which reading the second raises an error."""

    def __init__(self, error: type[BaseException], changes: Changes) -> None:
        self._error = error
        self._changes = changes

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        yield STATE_TABLE
        yield TIMERS

    def __getitem__(self, name: str) -> Changes:
        if name == TIMERS:
            raise self._error("planted")
        return self._changes


class StoreConformance:
    """The contract of a store, as tests. A subclass with a fixture `open_store`, see `OpenStore`, runs all of them."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """To be written by the author of a store."""
        raise NotImplementedError("a subclass of StoreConformance needs a fixture open_store; see OpenStore")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        """The first handle."""
        return open_store()

    @pytest.fixture
    def beside(self, store: Store, open_store: OpenStore) -> Store:
        """A second handle on the same storage; the first itself where its state does not outlive it."""
        return open_store() if store.survives else store

    @pytest.fixture
    def row_store(self, store: Store) -> Store:
        """The first handle of a store that keeps rows."""
        if not store.keeps_rows:
            pytest.skip(f"the store {store.name} keeps no rows")
        return store

    @pytest.fixture
    def surviving(self, store: Store) -> Store:
        """The first handle of a store whose state outlives its process."""
        if not store.survives:
            pytest.skip(f"the state of the store {store.name} does not outlive its process")
        return store

    # Claims

    def test_a_new_store_is_empty(self, store: Store) -> None:
        assert store.stored() == []
        assert store.stored("group") == []
        assert list(store.load(UNIT)) == []

    def test_the_first_claim_finds_nothing_and_stores_its_epoch(self, store: Store) -> None:
        seen: list[Any] = []

        claims = store.claim([UNIT], lambda *found: seen.append(found))

        assert claims == [Claim(1, None)]
        assert seen == [(UNIT, None)]
        assert store.stored() == [StoredUnit(UNIT, epoch=1)]

    def test_each_claim_raises_the_epoch_and_tells_what_was_stored(self, store: Store) -> None:
        Owner(store).save(b"[1]")
        [stored] = store.stored()
        seen: list[Any] = []

        claims = store.claim([UNIT], lambda *found: seen.append(found))

        assert claims == [Claim(2, stored)]
        assert seen == [(UNIT, stored)]
        assert store.stored() == [replace(stored, epoch=2)]

    def test_a_unit_that_was_only_claimed_is_stored(self, store: Store) -> None:
        store.claim([UNIT], accept_all)

        assert store.claim([UNIT], accept_all) == [Claim(2, StoredUnit(UNIT, epoch=1))]

    def test_units_are_claimed_together_as_one_by_one(self, store: Store, beside: Store) -> None:
        known, new = UNIT, replace(UNIT, partition=9)
        owner = Owner(store, known)
        owner.save(b"[1]")
        [stored] = store.stored()
        seen: list[Any] = []

        claims = beside.claim([new, known], lambda *found: seen.append(found))

        assert claims == [Claim(1, None), Claim(2, stored)]
        assert seen == [(new, None), (known, stored)]
        assert [unit.epoch for unit in store.stored()] == [2, 1]
        assert owner.try_save(owner.checkpoint(b"[2]")).kind == "fenced"
        assert store.claim([], accept_all) == []

    def test_a_refused_claim_changes_nothing(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        before = snapshot(store)

        def refuse(unit: Unit, stored: StoredUnit | None) -> None:
            if unit == UNIT:
                raise StateIncompatibleError("another codec")

        for others in ([replace(UNIT, partition=1)], [replace(UNIT, plugin="another"), replace(UNIT, partition=2)]):
            with pytest.raises(StateIncompatibleError, match="another codec"):
                beside.claim([*others, UNIT, replace(UNIT, partition=3)], refuse)

        assert snapshot(store) == before
        assert store.stored() == before[0]
        owner.save(b"[2]")

    @foreign_errors
    def test_whatever_accept_raises_comes_out_and_changes_nothing(
        self, store: Store, beside: Store, error: type[BaseException]
    ) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        before = snapshot(store)
        new = replace(UNIT, partition=1)

        def fail(unit: Unit, stored: StoredUnit | None) -> None:
            raise error("planted")

        for unit in (UNIT, new):
            with pytest.raises(error, match="planted"):
                store.claim([unit], fail)

        assert snapshot(beside) == before
        assert beside.stored() == before[0]
        owner.save(b"[2]")
        assert (Owner(beside).epoch, Owner(store, new).epoch) == (2, 1)

    # Checkpoints

    def test_a_checkpoint_is_stored_whole(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        other = TopicPartition("other", 5)
        description = Description("json", 3, 8, "another", row_format=2)
        checkpoint = replace(
            owner.checkpoint_of({STATE_TABLE: Changes(2, rows=[b'{"a": 1}']), TIMERS: Changes(0, rows=[b"{}"])}),
            description=description,
            event_time={UNIT.topic_partition: 1_700_000_000_000, other: -1},
            outputs=b"\x00token\xff",
        )
        checkpoint = replace(checkpoint, progress={**checkpoint.progress, other: Progress()})

        owner.save_whole(checkpoint)

        base = 0 if store.keeps_rows else 1
        [stored] = beside.stored()
        assert stored.saved_at is not None
        assert replace(stored, saved_at=None) == StoredUnit(
            UNIT,
            epoch=1,
            version=1,
            description=description,
            progress={UNIT.topic_partition: Progress(0, 1, ANCHOR, 3), other: Progress()},
            event_time={UNIT.topic_partition: 1_700_000_000_000, other: -1},
            tables={STATE_TABLE: StoredTable(2, 8, 8 * base), TIMERS: StoredTable(0, 2, 2 * base)},
            outputs=b"\x00token\xff",
        )
        assert in_tables(beside.load(UNIT)) == {STATE_TABLE: [b'{"a": 1}'], TIMERS: [b"{}"]}

    def test_the_next_checkpoint_replaces_all_but_the_tables(self, store: Store) -> None:
        owner = Owner(store)
        full = replace(owner.checkpoint(b"[1]"), event_time={UNIT.topic_partition: 5}, outputs=b"token")
        owner.save_whole(replace(full, progress={**full.progress, TopicPartition("other", 1): Progress(4, 5)}))
        bare = {UNIT.topic_partition: Progress(0, 1)}

        owner.save_whole(replace(owner.checkpoint_of({}), progress=bare))

        [stored] = store.stored()
        assert (stored.version, stored.progress, stored.event_time, stored.outputs) == (2, bare, {}, None)
        assert state_rows(store) == [b"[1]"]

    @pytest.mark.parametrize(
        "progress",
        [
            Progress(),
            Progress(position=40),
            Progress(7, 9, Anchor("another")),
            Progress(0, 1, Anchor(timestamp=0, checksum=0), 2**62),
        ],
    )
    def test_progress_comes_back_as_it_was(self, store: Store, progress: Progress) -> None:
        owner = Owner(store)
        unknown = replace(DESCRIPTION, cluster_id=None)
        checkpoint = replace(owner.checkpoint_of({}), progress={UNIT.topic_partition: progress}, description=unknown)

        owner.save_whole(checkpoint)

        previous = Owner(store).claim.previous
        assert previous is not None
        assert (previous.own_progress, previous.description) == (progress, unknown)
        assert list(store.load(UNIT)) == []

    def test_rows_are_kept_in_order_or_replaced(self, store: Store) -> None:
        owner = Owner(store)
        rows = [b"[%d]" % number for number in range(12)]

        for row in rows:
            owner.save(row)

        kept = rows if store.keeps_rows else rows[-1:]
        assert state_rows(store) == kept
        assert store.stored()[0].bytes == sum(map(len, kept))

    def test_each_table_has_rows_of_its_own(self, store: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        owner.save_whole(owner.checkpoint_of({TIMERS: Changes(3, rows=[b"[2]"]), "$x": Changes(0, rows=[b""])}))
        owner.save_whole(owner.checkpoint_of({TIMERS: Changes(4, rows=[b"[33]"])}))

        timers = [b"[2]", b"[33]"] if store.keeps_rows else [b"[33]"]
        assert in_tables(store.load(UNIT)) == {STATE_TABLE: [b"[1]"], TIMERS: timers, "$x": [b""]}
        [stored] = store.stored()
        assert {name: table.keys for name, table in stored.tables.items()} == {STATE_TABLE: 7, TIMERS: 4, "$x": 0}
        assert (stored.keys, stored.bytes) == (7, 3 + sum(map(len, timers)))

    @pytest.mark.parametrize("row", [b"", b"\x00\xff\n}", b"x" * 100_000], ids=["empty", "binary", "long"])
    def test_rows_are_any_bytes(self, store: Store, row: bytes) -> None:
        owner = Owner(store)
        tables = {STATE_TABLE: Changes(1, rows=[row]), TIMERS: Changes(1, rows=[row])}

        owner.save_whole(replace(owner.checkpoint_of(tables), description=replace(DESCRIPTION, codec="msgpack")))

        assert in_tables(store.load(UNIT)) == {STATE_TABLE: [row], TIMERS: [row]}

    def test_rows_are_as_big_as_they_are(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        body = bytes(range(256)) * 2**15
        tables = {name: Changes(1, rows=[name.encode() + body]) for name in (STATE_TABLE, TIMERS)}

        owner.save_whole(replace(owner.checkpoint_of(tables), description=replace(DESCRIPTION, codec="msgpack")))

        assert in_tables(beside.load(UNIT)) == {STATE_TABLE: [body], TIMERS: [TIMERS.encode() + body]}

    def test_many_units_are_saved_at_once(self, store: Store, beside: Store) -> None:
        units = [replace(UNIT, partition=partition) for partition in range(100)]
        claims = store.claim(units, accept_all)
        checkpoints = [
            Checkpoint(
                unit,
                claim.epoch,
                1,
                {unit.topic_partition: Progress(unit.partition, unit.partition + 1)},
                DESCRIPTION,
                {STATE_TABLE: Changes(1, rows=[b"%d" % unit.partition])},
            )
            for unit, claim in zip(units, claims, strict=True)
        ]

        assert store.save(checkpoints) == [SAVED] * 100

        assert [stored.own_progress.last_offset for stored in beside.stored("group")] == [*range(100)]
        assert [state_rows(beside, unit) for unit in units] == [[b"%d" % number] for number in range(100)]

    def test_each_checkpoint_has_its_own_outcome(self, store: Store, beside: Store) -> None:
        owners = [Owner(store, replace(UNIT, partition=partition)) for partition in range(5)]
        Owner(beside, owners[1].unit)
        checkpoints = [owner.checkpoint(b"[%d]" % owner.unit.partition) for owner in owners]
        checkpoints[2] = replace(checkpoints[2], version=2)
        owners[4].save_whole(checkpoints[4])

        outcomes = store.save(checkpoints)

        assert [outcome.kind for outcome in outcomes] == ["saved", "fenced", "conflict", "saved", "already saved"]
        assert [outcome.is_stored for outcome in outcomes] == [True, False, False, True, True]
        assert [type(outcome.error) for outcome in outcomes[1:3]] == [FencedError, StateConflictError]
        assert [state_rows(store, owner.unit) for owner in owners] == [[b"[0]"], [], [], [b"[3]"], [b"[4]"]]

    def test_one_save_may_span_groups_and_be_empty(self, store: Store) -> None:
        owners = [Owner(store, replace(UNIT, group=group)) for group in ("b", "a")]

        assert store.save([owner.checkpoint(owner.unit.group.encode()) for owner in owners]) == [SAVED, SAVED]
        assert store.save([]) == []

        assert [state_rows(store, owner.unit) for owner in owners] == [[b"b"], [b"a"]]

    def test_units_are_told_apart_and_listed_in_order(self, store: Store) -> None:
        units = [UNIT, *ODD_UNITS]
        for number, unit in enumerate(units):
            Owner(store, unit).save(b"[%d]" % number)

        assert [state_rows(store, unit) for unit in units] == [[b"[%d]" % number] for number in range(len(units))]
        assert [stored.unit for stored in store.stored()] == sorted(units)
        assert [stored.unit for stored in store.stored("group")] == sorted(u for u in units if u.group == "group")
        assert store.stored("grou") == []
        assert all(store.place(unit) for unit in units)

    def test_what_the_caller_changes_later_is_not_stored(self, store: Store) -> None:
        owner = Owner(store)
        progress, event_time, rows = {UNIT.topic_partition: Progress(0, 1)}, {UNIT.topic_partition: 5}, [b"[1]"]
        tables = {STATE_TABLE: Changes(1, rows=rows)}
        owner.save_whole(replace(owner.checkpoint_of(tables), progress=progress, event_time=event_time))
        before = snapshot(store)

        for given in (progress, event_time, rows, tables):
            given.clear()

        assert snapshot(store) == before
        assert (before[0][0].own_progress, before[1]) == (Progress(0, 1), {STATE_TABLE: [b"[1]"]})

    def test_another_thread_than_the_one_that_opened_it_uses_it(self, store: Store) -> None:
        def use() -> Tables:
            Owner(store).save(b"[1]")
            return in_tables(store.load(UNIT))

        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(use).result() == {STATE_TABLE: [b"[1]"]}

    # Fencing and repeats

    def test_an_older_owner_is_fenced(self, store: Store, beside: Store) -> None:
        zombie = Owner(store)
        zombie.save(b"[1]")
        owner = Owner(beside)
        before = snapshot(store)

        outcome = zombie.try_save(zombie.checkpoint(b"[2]"))

        assert isinstance(outcome.error, FencedError)
        assert str(UNIT) in str(outcome.error)
        assert snapshot(store) == before
        owner.save(b"[3]")

    @pytest.mark.parametrize("version", [0, 1, 4, 2**40])
    def test_any_other_version_is_a_conflict(self, store: Store, version: int) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        owner.save(b"[2]")
        before = snapshot(store)

        outcome = owner.try_save(replace(owner.checkpoint(b"[3]"), version=version))

        assert (outcome.kind, type(outcome.error)) == ("conflict", StateConflictError)
        assert snapshot(store) == before

    def test_nothing_is_already_saved_where_nothing_was_saved(self, store: Store) -> None:
        owner = Owner(store)

        assert owner.try_save(replace(owner.checkpoint(b"[1]"), version=0)).kind == "conflict"

    def test_a_checkpoint_of_what_was_never_claimed_is_a_conflict(self, store: Store) -> None:
        owner = Owner(store)
        for stranger in (replace(UNIT, partition=1), replace(UNIT, group="never")):
            [outcome] = store.save([replace(owner.checkpoint(b"[1]"), unit=stranger)])
            assert outcome.kind == "conflict"

        assert [stored.unit for stored in store.stored()] == [UNIT]

    def test_a_repeat_counts_once(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        owner.save(b"[0]")
        checkpoint = owner.checkpoint(b"[1]", records=5)
        assert store.save([checkpoint]) == [SAVED]
        before = snapshot(store)

        assert store.save([checkpoint]) == [ALREADY_SAVED]
        assert beside.save([checkpoint]) == [ALREADY_SAVED]

        assert snapshot(store) == before
        assert owner.try_save(checkpoint) == ALREADY_SAVED
        owner.save(b"[2]")

    def test_a_repeat_after_another_claim_is_fenced(self, store: Store, beside: Store) -> None:
        zombie = Owner(store)
        checkpoint = zombie.checkpoint(b"[1]")
        assert store.save([checkpoint]) == [SAVED]
        owner = Owner(beside)
        before = snapshot(store)

        [outcome] = store.save([checkpoint])

        assert outcome.kind == "fenced"
        assert snapshot(store) == before
        assert (owner.version, owner.last_offset) == (1, 0)

    def test_a_repeat_of_many_saves_what_was_not(self, store: Store) -> None:
        owners = [Owner(store, replace(UNIT, partition=partition)) for partition in range(3)]
        checkpoints = [owner.checkpoint(b"[%d]" % owner.unit.partition) for owner in owners]
        assert store.save(checkpoints[1:2]) == [SAVED]

        assert store.save(checkpoints) == [SAVED, ALREADY_SAVED, SAVED]

        assert [state_rows(store, owner.unit) for owner in owners] == [[b"[0]"], [b"[1]"], [b"[2]"]]

    def test_progress_never_goes_back(self, store: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]", records=5)
        before = snapshot(store)
        other = TopicPartition("other", 0)

        for progress in (
            {UNIT.topic_partition: Progress(3, 5)},
            {UNIT.topic_partition: Progress(4, 4)},
            {UNIT.topic_partition: Progress(4, None)},
            {other: Progress(4, 5)},
        ):
            with pytest.raises(InternalError):
                store.save([replace(owner.checkpoint(b"[2]"), progress=progress)])

        assert snapshot(store) == before
        owner.save(b"[2]", records=0)

    # Whatever is raised

    @foreign_errors
    @pytest.mark.parametrize("at", ["rows", "later rows", "tables"])
    def test_a_checkpoint_that_cannot_be_read_leaves_all_as_it_was(
        self, store: Store, beside: Store, at: str, error: type[BaseException]
    ) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        before = snapshot(store)
        breaking: Mapping[str, Changes] = {
            "rows": {STATE_TABLE: Changes(1, rows=_Breaking(error))},
            "later rows": {TIMERS: Changes(1, rows=[b"[2]"]), STATE_TABLE: Changes(1, rows=_Breaking(error, b"[2]"))},
            "tables": _BreakingTables(error, Changes(1, rows=[b"[2]"])),
        }[at]

        with pytest.raises((error, InternalError)):
            store.save([owner.checkpoint_of(breaking)])

        assert snapshot(beside) == before
        owner.save(b"[3]")
        assert state_rows(beside)[-1] == b"[3]"
        assert Owner(beside).epoch == 2

    @foreign_errors
    def test_a_base_that_cannot_be_read_leaves_all_as_it_was(
        self, row_store: Store, beside: Store, error: type[BaseException]
    ) -> None:
        owner = Owner(row_store)
        owner.save(b"1", begins=True, base=[b"A"])
        before = snapshot(row_store)

        with pytest.raises(error, match="planted"):
            row_store.save([owner.checkpoint(b"2", base=_Breaking(error, b"B"), ends=True)])

        assert snapshot(beside) == before
        owner.save(b"3", base=[b"C"], ends=True)
        assert state_rows(beside) == [b"A", b"C", b"1", b"3"]

    @foreign_errors
    def test_after_an_error_the_same_checkpoints_can_be_saved_again(
        self, store: Store, beside: Store, error: type[BaseException]
    ) -> None:
        owners = [Owner(store, replace(UNIT, partition=partition)) for partition in range(3)]
        checkpoints = [owner.checkpoint(b"[%d]" % owner.unit.partition) for owner in owners]
        broken = owners[1].checkpoint_of({STATE_TABLE: Changes(1, rows=_Breaking(error))})

        with pytest.raises(error, match="planted"):
            store.save([checkpoints[0], broken, checkpoints[2]])

        assert state_rows(beside, owners[1].unit) == []
        assert all(outcome.is_stored for outcome in store.save(checkpoints))
        assert [state_rows(beside, owner.unit) for owner in owners] == [[b"[0]"], [b"[1]"], [b"[2]"]]

    def test_a_load_may_be_closed_early(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        for number in range(3):
            owner.save_whole(owner.checkpoint_of({name: Changes(1, rows=[b"[%d]" % number]) for name in ("", TIMERS)}))

        for handle in (store, beside):
            never_begun, begun = handle.load(UNIT), handle.load(UNIT)
            next(begun)
            for loading in (never_begun, begun):
                close: Callable[[], None] = getattr(loading, "close", lambda: None)
                close()

        owner.save(b"[3]")
        assert Owner(beside).epoch == 2

    # Bases

    def test_a_new_base_replaces_what_was_saved_before_it_began(self, row_store: Store) -> None:
        owner = Owner(row_store)
        owner.save(b"1")
        owner.save(b"22")

        owner.save(b"333", begins=True, base=[b"A"])
        assert state_rows(row_store) == [b"1", b"22", b"333"]
        owner.save(b"4444", base=[b"B", b"C"])
        owner.save(b"55555")
        assert row_store.stored()[0].tables == {STATE_TABLE: StoredTable(7, 15, 0)}
        owner.save(base=[b"D"], ends=True)
        owner.save(b"6")

        assert state_rows(row_store) == [b"A", b"B", b"C", b"D", b"333", b"4444", b"55555", b"6"]
        assert row_store.stored()[0].tables == {STATE_TABLE: StoredTable(7, 17, 4)}

    def test_a_whole_rewrite_is_one_checkpoint(self, row_store: Store) -> None:
        owner = Owner(row_store)
        owner.save(b"1")

        owner.save(records=0, begins=True, base=[b"A", b"B"], ends=True)
        assert state_rows(row_store) == [b"A", b"B"]
        owner.save(b"2", begins=True, base=[b"C"], ends=True)
        assert state_rows(row_store) == [b"C", b"2"]
        owner.save(begins=True, ends=True)

        assert state_rows(row_store) == []
        assert row_store.stored()[0].tables == {STATE_TABLE: StoredTable(7, 0, 0)}

    def test_each_table_has_bases_of_its_own(self, row_store: Store) -> None:
        owner = Owner(row_store)
        owner.save_whole(owner.checkpoint_of({name: Changes(1, rows=[b"1"]) for name in (STATE_TABLE, TIMERS)}))
        state, timers = (
            Changes(1, base=[b"A"], base_begins=True),
            Changes(1, rows=[b"2"], base=[b"X"], base_begins=True),
        )
        owner.save_whole(owner.checkpoint_of({STATE_TABLE: state, TIMERS: timers}))

        owner.save_whole(owner.checkpoint_of({TIMERS: Changes(1, base=[b"Y"], base_ends=True)}))
        assert in_tables(row_store.load(UNIT)) == {STATE_TABLE: [b"1"], TIMERS: [b"X", b"Y", b"2"]}
        owner.save(b"3", base=[b"B"], ends=True)

        assert in_tables(row_store.load(UNIT)) == {STATE_TABLE: [b"A", b"B", b"3"], TIMERS: [b"X", b"Y", b"2"]}

    def test_an_unfinished_base_is_void_for_the_next_owner(self, row_store: Store, beside: Store) -> None:
        former = Owner(row_store)
        former.save(b"1")
        former.save(b"2", begins=True, base=[b"A", b"B"])

        owner = Owner(beside)
        assert state_rows(row_store) == [b"1", b"2"]
        with pytest.raises(InternalError):
            owner.try_save(owner.checkpoint(base=[b"C"], ends=True))
        owner.save(b"3", begins=True, base=[b"D"])
        owner.save(b"4", ends=True)

        assert state_rows(row_store) == [b"D", b"3", b"4"]

    def test_a_base_that_begins_again_starts_over(self, row_store: Store) -> None:
        owner = Owner(row_store)
        owner.save(b"1", begins=True, base=[b"A", b"B"])
        owner.save(b"2", begins=True, base=[b"C"])
        owner.save(b"3", ends=True)

        assert state_rows(row_store) == [b"C", b"2", b"3"]
        assert row_store.stored()[0].tables == {STATE_TABLE: StoredTable(7, 3, 1)}

    def test_pieces_that_do_not_fit_are_refused(self, store: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        before = snapshot(store)

        for checkpoint in (owner.checkpoint(b"2", base=[b"A"]), owner.checkpoint(b"2", ends=True)):
            with pytest.raises(InternalError):
                store.save([checkpoint])
        if not store.keeps_rows:
            for checkpoint in (owner.checkpoint(b"1", b"2"), owner.checkpoint(b"1", begins=True)):
                with pytest.raises(InternalError):
                    store.save([checkpoint])

        assert snapshot(store) == before
        owner.save(b"[2]")

    # Reading

    def test_a_load_is_of_one_moment_beside_a_writer(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        for number in range(40):
            owner.save_whole(owner.checkpoint_of({name: Changes(1, rows=[b"[%d]" % number]) for name in ("", TIMERS)}))
        before = list(store.load(UNIT))

        loading = [store.load(UNIT), beside.load(UNIT)]
        loaded = [[next(each)] for each in loading]
        if store.keeps_rows:
            rebase = Changes(1, rows=[b"x"], base=[b"A"], base_begins=True, base_ends=True)
            for _ in range(4):
                owner.save_whole(owner.checkpoint_of({STATE_TABLE: rebase, TIMERS: rebase}))
        else:
            owner.save(b"[100]")
        Owner(beside).save(b"y")

        assert [list(chain(first, rest)) for first, rest in zip(loaded, loading, strict=True)] == [before, before]

    def test_only_the_owner_loads_as_the_owner(self, store: Store, beside: Store) -> None:
        zombie = Owner(store)
        zombie.save(b"[1]")
        assert list(store.load(UNIT, zombie.epoch)) == [(STATE_TABLE, b"[1]")]
        owner = Owner(beside)

        with pytest.raises(FencedError):
            list(store.load(UNIT, zombie.epoch))
        assert list(store.load(UNIT, owner.epoch)) == [(STATE_TABLE, b"[1]")]
        for unit, epoch in ((replace(UNIT, partition=9), 1), (UNIT, owner.epoch + 1)):
            with pytest.raises(StateConflictError):
                list(store.load(unit, epoch))

    def test_what_an_older_copy_replaced_is_not_saved(self, store: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]")
        before = snapshot(store)

        outcome = owner.try_save(replace(owner.checkpoint(b"[2]"), epoch=owner.epoch + 1))

        assert (outcome.kind, type(outcome.error)) == ("conflict", StateConflictError)
        assert snapshot(store) == before

    # Setting aside

    def test_what_is_set_aside_keeps_all_under_a_new_name(self, store: Store, beside: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]", records=5)
        tables = {TIMERS: Changes(1, rows=[b"[2]"])}
        owner.save_whole(replace(owner.checkpoint_of(tables), event_time={UNIT.topic_partition: 7}, outputs=b"x"))
        [stored], rows = snapshot(store)

        aside = store.set_aside(UNIT, owner.epoch)

        assert aside.group != UNIT.group
        assert replace(aside, group=UNIT.group) == UNIT
        assert snapshot(beside, aside) == ([replace(stored, unit=aside)], rows)
        assert beside.stored(aside.group) == [replace(stored, unit=aside)]
        assert snapshot(beside) == ([StoredUnit(UNIT, epoch=1, version=stored.version)], {})

    def test_after_setting_aside_the_owner_goes_on_as_if_new(self, store: Store) -> None:
        owner = Owner(store)
        owner.save(b"[1]", records=5)
        aside = store.set_aside(UNIT, owner.epoch)
        owner.begin_anew()

        owner.save(b"[2]")
        second = store.set_aside(UNIT, owner.epoch)
        third = store.set_aside(aside, 1)

        assert Owner(store).epoch == 2
        assert len({UNIT, aside, second, third}) == 4
        assert [state_rows(store, unit) for unit in (UNIT, aside, second, third)] == [[], [], [b"[2]"], [b"[1]"]]

    def test_an_unfinished_base_does_not_outlive_setting_aside(self, row_store: Store) -> None:
        owner = Owner(row_store)
        owner.save(b"1", begins=True, base=[b"A"])
        row_store.set_aside(UNIT, owner.epoch)
        owner.begin_anew()

        with pytest.raises(InternalError):
            owner.try_save(owner.checkpoint(b"2", base=[b"B"], ends=True))

    def test_only_the_owner_sets_aside(self, store: Store, beside: Store) -> None:
        zombie = Owner(store)
        zombie.save(b"[1]")
        Owner(beside)
        before = snapshot(store)

        with pytest.raises(FencedError):
            store.set_aside(UNIT, zombie.epoch)
        for unit, epoch in ((replace(UNIT, partition=9), 1), (UNIT, zombie.epoch + 2)):
            with pytest.raises(StateConflictError):
                store.set_aside(unit, epoch)

        assert snapshot(store) == before
        assert [stored.unit for stored in store.stored()] == [UNIT]

    # The id

    def test_the_id_of_a_group_stays(self, store: Store, beside: Store) -> None:
        first = store.id_of("group")
        owner = Owner(store)
        owner.save(b"[1]")
        store.set_aside(UNIT, owner.epoch)

        assert first
        assert store.id_of("group") == beside.id_of("group") == first

    def test_another_storage_has_another_id(self, store: Store, open_store: OpenStore) -> None:
        elsewhere = open_store(elsewhere=True)
        Owner(store)
        Owner(elsewhere)

        assert store.id_of("group") != elsewhere.id_of("group")

    # Other processes

    def test_another_process_finds_everything(self, surviving: Store, open_store: OpenStore) -> None:
        owner = Owner(surviving)
        owner.save(b"[1]", records=5)
        aside = surviving.set_aside(UNIT, owner.epoch)
        owner.begin_anew()
        owner.save(b"[2]")

        def contents(store: Store) -> list[object]:
            return [store.stored(), snapshot(store), snapshot(store, aside), store.id_of("group")]

        before = contents(surviving)
        assert contents(open_store(read_only=True)) == before
        surviving.close()
        assert contents(open_store(read_only=True)) == before
        assert Owner(open_store()).epoch == 2

    def test_reading_creates_nothing(self, open_store: OpenStore) -> None:
        store = open_store(read_only=True)

        assert (store.stored(), store.stored("group"), list(store.load(UNIT))) == ([], [], [])
        assert store.id_of("group") == ""
        checkpoint = Checkpoint(UNIT, 1, 1, {UNIT.topic_partition: Progress(0, 1)}, DESCRIPTION)
        writes: list[Callable[[], object]] = [
            lambda: store.claim([UNIT], accept_all),
            lambda: store.save([checkpoint]),
            lambda: store.set_aside(UNIT, 1),
        ]
        for write in writes:
            with pytest.raises(InternalError):
                write()
        assert (store.stored(), store.id_of("group")) == ([], "")
        assert open_store().stored() == []

    # All together

    @pytest.mark.parametrize("seed", range(10))
    def test_a_random_walk_agrees_with_the_model(self, open_store: OpenStore, seed: int) -> None:
        Walk(open_store, Random(seed)).run(60)
