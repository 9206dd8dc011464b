"""What every store promises, tried on each of ours."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from framework.errors import FencedError, InternalError, StateIncompatibleError, StoreError
from framework.stores import Anchor, Store, StoredUnit, Unit
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore
from tests.stores.conftest import OpenStore, only
from tests.stores.units import ANCHOR, DESCRIPTION, UNIT, Owner, accept_all, snapshot

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


keeping_rows = only(SqliteStore, MemoryStore)
surviving = only(SqliteStore, FileStore)


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.stored() == []
    assert store.stored("group") == []
    assert list(store.rows(UNIT)) == []


def test_the_first_claim_finds_nothing_and_stores_its_epoch(store: Store) -> None:
    claim = store.claim(UNIT, accept_all)

    assert (claim.epoch, claim.previous) == (1, None)
    assert store.stored() == [StoredUnit(UNIT, None, 1, -1, None, 0, 0, 0, None)]


def test_each_claim_raises_the_epoch_and_tells_what_was_stored(store: Store) -> None:
    first = Owner(store)
    first.save(b"[1]")
    [stored] = store.stored()
    seen: list[StoredUnit] = []

    claim = store.claim(UNIT, seen.append)

    assert (claim.epoch, claim.previous) == (2, stored)
    assert seen == [stored]
    assert store.stored() == [replace(stored, epoch=2)]


def test_a_unit_that_was_only_claimed_is_accepted_too(store: Store) -> None:
    store.claim(UNIT, accept_all)
    seen: list[StoredUnit] = []

    assert store.claim(UNIT, seen.append).epoch == 2
    assert [stored.epoch for stored in seen] == [1]


def test_units_are_claimed_together_as_one_by_one(store: Store) -> None:
    known, new = UNIT, replace(UNIT, partition=9)
    owner = Owner(store, known)
    owner.save(b"[1]")
    [stored] = store.stored()
    seen: list[StoredUnit] = []

    claims = store.claim_all([new, known], seen.append)

    assert [(claim.epoch, claim.previous) for claim in claims] == [(1, None), (2, stored)]
    assert seen == [stored]
    assert [unit.epoch for unit in store.stored()] == [2, 1]
    assert isinstance(owner.try_save(owner.checkpoint(b"[2]")), FencedError)


@only(SqliteStore)
def test_of_units_claimed_together_none_is_where_one_is_refused(store: Store) -> None:
    Owner(store, replace(UNIT, partition=1)).save(b"[1]")
    refused = Owner(store, replace(UNIT, partition=2))
    before = store.stored()

    def refuse(stored: StoredUnit) -> None:
        if stored.unit == refused.unit:
            raise StateIncompatibleError("another codec")

    with pytest.raises(StateIncompatibleError):
        store.claim_all([replace(UNIT, partition=number) for number in range(4)], refuse)

    assert store.stored() == before


def test_a_refused_claim_changes_nothing(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]")
    before = snapshot(store)

    def refuse(stored: StoredUnit) -> None:
        raise StateIncompatibleError("another codec")

    with pytest.raises(StateIncompatibleError, match="another codec"):
        store.claim(UNIT, refuse)

    assert snapshot(store) == before
    owner.save(b"[2]")


def test_a_checkpoint_is_stored_whole(store: Store) -> None:
    owner = Owner(store)

    owner.save(b'{"a": 1}', records=5)

    [stored] = store.stored()
    assert stored.saved_at is not None
    assert replace(stored, saved_at=None) == StoredUnit(
        UNIT,
        DESCRIPTION,
        epoch=1,
        last_offset=4,
        position=5,
        keys=7,
        bytes=8,
        base_bytes=0 if store.keeps_rows else 8,
        saved_at=None,
        anchor=ANCHOR,
        missing_offsets=3,
    )
    assert list(store.rows(UNIT)) == [b'{"a": 1}']


def test_rows_are_kept_in_order_or_replaced(store: Store) -> None:
    owner = Owner(store)
    rows = [b"[%d]" % number for number in range(12)]

    for row in rows:
        owner.save(row)

    kept = rows if store.keeps_rows else rows[-1:]
    assert list(store.rows(UNIT)) == kept
    assert store.stored()[0].bytes == sum(map(len, kept))


def test_a_checkpoint_without_a_row_moves_only_the_position(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]")

    owner.save(records=100)
    assert owner.try_save(replace(owner.checkpoint(records=0), position=500)) is None

    [stored] = store.stored()
    assert (stored.last_offset, stored.position, stored.bytes) == (100, 500, 3)
    assert list(store.rows(UNIT)) == [b"[1]"]


def test_a_position_may_be_all_that_is_saved(store: Store) -> None:
    owner = Owner(store)

    assert owner.try_save(replace(owner.checkpoint(records=0), position=40)) is None

    [stored] = store.stored()
    assert (stored.last_offset, stored.position, stored.description) == (-1, 40, DESCRIPTION)
    assert list(store.rows(UNIT)) == []


@pytest.mark.parametrize("row", [b"", b"\x00\xff\n}", b"x" * 100_000])
def test_rows_are_any_bytes(store: Store, row: bytes) -> None:
    owner = Owner(store)
    raw = replace(owner.checkpoint(row), description=replace(DESCRIPTION, codec="msgpack"))

    assert owner.try_save(raw) is None

    assert list(store.rows(UNIT)) == [row]


def test_a_cluster_id_may_be_unknown(store: Store) -> None:
    owner = Owner(store)
    unknown = replace(DESCRIPTION, cluster_id=None)

    assert owner.try_save(replace(owner.checkpoint(b"[1]"), description=unknown)) is None

    assert store.stored()[0].description == unknown


@pytest.mark.parametrize("anchor", [Anchor(), Anchor("another"), Anchor(timestamp=0, checksum=0)])
def test_an_anchor_may_be_unknown_and_replaces_the_one_before(store: Store, anchor: Anchor) -> None:
    owner = Owner(store)
    owner.save(b"[1]")

    assert owner.try_save(replace(owner.checkpoint(b"[2]"), anchor=anchor, missing_offsets=0)) is None

    previous = store.claim(UNIT, accept_all).previous
    assert previous is not None
    assert (previous.anchor, previous.missing_offsets) == (anchor, 0)


def test_an_older_owner_is_fenced(store: Store) -> None:
    zombie = Owner(store)
    zombie.save(b"[1]")
    owner = Owner(store)
    before = snapshot(store)

    outcome = zombie.try_save(zombie.checkpoint(b"[2]"))

    assert isinstance(outcome, FencedError)
    assert "keycount on topic-0 (group group): epoch 2 has claimed it, so epoch 1 may not write" in str(outcome)
    assert snapshot(store) == before
    owner.save(b"[3]")


def test_another_previous_offset_is_fenced(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]", records=5)
    before = snapshot(store)

    outcome = owner.try_save(replace(owner.checkpoint(b"[2]"), previous_offset=3))

    assert isinstance(outcome, FencedError)
    assert "the stored last offset is 4, not 3" in str(outcome)
    assert snapshot(store) == before


def test_a_checkpoint_of_what_was_never_claimed_is_fenced(store: Store) -> None:
    owner = Owner(store)
    stranger = replace(owner.checkpoint(b"[1]"), unit=replace(UNIT, partition=1))

    [outcome] = store.save([stranger])

    assert isinstance(outcome, FencedError)
    assert [stored.unit for stored in store.stored()] == [UNIT]


def test_offset_and_position_never_go_back(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]", records=5)
    before = snapshot(store)

    lower_offset = owner.try_save(replace(owner.checkpoint(b"[2]"), last_offset=3))
    lower_position = owner.try_save(replace(owner.checkpoint(b"[2]"), position=4))

    assert isinstance(lower_offset, InternalError)
    assert isinstance(lower_position, InternalError)
    assert snapshot(store) == before


def test_each_checkpoint_has_its_own_outcome(store: Store) -> None:
    owners = [Owner(store, replace(UNIT, partition=partition)) for partition in range(4)]
    Owner(store, owners[1].unit)
    checkpoints = [owner.checkpoint(b"[%d]" % owner.unit.partition) for owner in owners]
    checkpoints[2] = replace(checkpoints[2], previous_offset=8)

    outcomes = store.save(checkpoints)

    assert [type(outcome) for outcome in outcomes] == [type(None), FencedError, FencedError, type(None)]
    assert [list(store.rows(owner.unit)) for owner in owners] == [[b"[0]"], [], [], [b"[3]"]]


def test_one_save_may_span_groups_and_be_empty(store: Store) -> None:
    owners = [Owner(store, replace(UNIT, group=group)) for group in ("b", "a")]

    assert store.save([owner.checkpoint(owner.unit.group.encode()) for owner in owners]) == [None, None]
    assert store.save([]) == []

    assert [list(store.rows(owner.unit)) for owner in owners] == [[b"b"], [b"a"]]


def test_units_are_told_apart_and_listed_in_order(store: Store) -> None:
    units = [UNIT, *ODD_UNITS]
    for number, unit in enumerate(units):
        Owner(store, unit).save(b"[%d]" % number)

    assert [list(store.rows(unit)) for unit in units] == [[b"[%d]" % number] for number in range(len(units))]
    assert [stored.unit for stored in store.stored()] == sorted(units)
    assert [stored.unit for stored in store.stored("group")] == sorted(u for u in units if u.group == "group")
    assert store.stored("grou") == []


@keeping_rows
def test_a_new_base_replaces_what_was_saved_before_it_began(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"1")
    owner.save(b"22")

    owner.save(b"333", begins=True, base=[b"A"])
    assert list(store.rows(UNIT)) == [b"1", b"22", b"333"]
    owner.save(b"4444", base=[b"B", b"C"])
    owner.save(b"55555")
    assert (store.stored()[0].bytes, store.stored()[0].base_bytes) == (15, 0)
    owner.save(base=[b"D"], ends=True)
    owner.save(b"6")

    assert list(store.rows(UNIT)) == [b"A", b"B", b"C", b"D", b"333", b"4444", b"55555", b"6"]
    assert (store.stored()[0].bytes, store.stored()[0].base_bytes) == (17, 4)


@keeping_rows
def test_a_whole_rewrite_is_one_checkpoint(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"1")

    owner.save(records=0, begins=True, base=[b"A", b"B"], ends=True)
    assert list(store.rows(UNIT)) == [b"A", b"B"]
    owner.save(b"2", begins=True, base=[b"C"], ends=True)
    assert list(store.rows(UNIT)) == [b"C", b"2"]
    owner.save(begins=True, ends=True)

    assert list(store.rows(UNIT)) == []
    assert (store.stored()[0].bytes, store.stored()[0].base_bytes) == (0, 0)


@keeping_rows
def test_an_unfinished_base_is_void_for_the_next_owner(store: Store) -> None:
    former = Owner(store)
    former.save(b"1")
    former.save(b"2", begins=True, base=[b"A", b"B"])

    owner = Owner(store)
    assert list(store.rows(UNIT)) == [b"1", b"2"]
    assert isinstance(owner.try_save(owner.checkpoint(base=[b"C"], ends=True)), InternalError)
    owner.save(b"3", begins=True, base=[b"D"])
    owner.save(b"4", ends=True)

    assert list(store.rows(UNIT)) == [b"D", b"3", b"4"]


@keeping_rows
def test_a_base_that_begins_again_starts_over(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"1", begins=True, base=[b"A", b"B"])
    owner.save(b"2", begins=True, base=[b"C"])
    owner.save(b"3", ends=True)

    assert list(store.rows(UNIT)) == [b"C", b"2", b"3"]
    assert (store.stored()[0].bytes, store.stored()[0].base_bytes) == (3, 1)


@keeping_rows
def test_pieces_of_a_base_that_has_not_begun_are_refused(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"1")

    pieces, end = owner.checkpoint(b"2", base=[b"A"]), owner.checkpoint(b"2", ends=True)

    assert isinstance(owner.try_save(pieces), InternalError)
    assert isinstance(owner.try_save(end), InternalError)
    assert list(store.rows(UNIT)) == [b"1"]


@only(FileStore)
def test_a_store_that_keeps_no_rows_refuses_a_base(store: Store) -> None:
    owner = Owner(store)

    assert isinstance(owner.try_save(owner.checkpoint(b"2", begins=True, ends=True)), InternalError)


def test_reading_is_of_one_moment_beside_a_writer(store: Store) -> None:
    owner = Owner(store)
    for number in range(40):
        owner.save(b"[%d]" % number)
    before = list(store.rows(UNIT))

    reading = store.rows(UNIT)
    read = [next(reading)]
    if store.keeps_rows:
        for _ in range(4):
            owner.save(b"x", begins=True, base=[b"A"], ends=True)
    else:
        owner.save(b"[100]")
    Owner(store).save(b"y")
    read += reading

    assert read == before


def test_only_the_owner_reads_as_the_owner(store: Store) -> None:
    zombie = Owner(store)
    zombie.save(b"[1]")
    assert list(store.rows(UNIT, zombie.epoch)) == [b"[1]"]
    owner = Owner(store)
    with pytest.raises(FencedError, match="epoch 2 has claimed it"):
        list(store.rows(UNIT, zombie.epoch))
    assert list(store.rows(UNIT, owner.epoch)) == [b"[1]"]
    with pytest.raises(FencedError, match="removed"):
        list(store.rows(replace(UNIT, partition=9), 1))


def test_what_is_set_aside_keeps_its_rows_under_a_new_name(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]", records=5)
    [stored] = store.stored()

    aside = store.set_aside(UNIT, owner.epoch)

    assert aside == replace(UNIT, group="group.aside-1")
    assert store.stored("group.aside-1") == [replace(stored, unit=aside)]
    assert list(store.rows(aside)) == [b"[1]"]
    assert store.stored("group") == [StoredUnit(UNIT, None, 1, -1, None, 0, 0, 0, None)]
    assert list(store.rows(UNIT)) == []


def test_after_setting_aside_the_owner_goes_on_as_if_new(store: Store) -> None:
    owner = Owner(store)
    owner.save(b"[1]", records=5)
    aside = store.set_aside(UNIT, owner.epoch)
    owner.last_offset = -1

    owner.save(b"[2]")
    second = store.set_aside(UNIT, owner.epoch)
    third = store.set_aside(aside, 1)

    assert Owner(store).epoch == 2
    assert (second.group, third.group) == ("group.aside-2", "group.aside-1.aside-1")
    assert [list(store.rows(unit)) for unit in (UNIT, aside, second, third)] == [[], [], [b"[2]"], [b"[1]"]]


def test_only_the_owner_sets_aside(store: Store) -> None:
    zombie = Owner(store)
    zombie.save(b"[1]")
    Owner(store)
    before = snapshot(store)

    with pytest.raises(FencedError, match="epoch 2 has claimed it"):
        store.set_aside(UNIT, zombie.epoch)
    with pytest.raises(FencedError, match="nothing is stored of it"):
        store.set_aside(replace(UNIT, partition=9), 1)

    assert snapshot(store) == before
    assert [stored.unit for stored in store.stored()] == [UNIT]


@surviving
def test_another_process_finds_everything(open_store: OpenStore) -> None:
    owner = Owner(open_store())
    owner.save(b"[1]", records=5)
    aside = owner.store.set_aside(UNIT, owner.epoch)
    owner.last_offset = -1
    owner.save(b"[2]")
    before = owner.store.stored(), snapshot(owner.store), snapshot(owner.store, aside)

    beside = open_store(read_only=True)
    assert (beside.stored(), snapshot(beside), snapshot(beside, aside)) == before
    owner.store.close()
    later = open_store(read_only=True)
    assert (later.stored(), snapshot(later), snapshot(later, aside)) == before
    assert Owner(open_store()).epoch == 2


@surviving
def test_owners_in_two_processes_fence_each_other(open_store: OpenStore) -> None:
    zombie, owner = Owner(open_store()), Owner(open_store())

    assert isinstance(zombie.try_save(zombie.checkpoint(b"[1]")), FencedError)
    owner.save(b"[2]")

    assert list(zombie.store.rows(UNIT)) == [b"[2]"]


@surviving
def test_reading_creates_nothing(store_type: type[Store], directory: Path) -> None:
    with closing(store_type(directory, read_only=True)) as store:
        assert (store.stored(), store.stored("group"), list(store.rows(UNIT))) == ([], [], [])
        assert not directory.exists()
        for write in (lambda: store.claim(UNIT, accept_all), lambda: store.set_aside(UNIT, 1)):
            with pytest.raises(InternalError, match="reading only"):
                write()
    assert not directory.exists()


@surviving
def test_reading_a_store_at_rest_leaves_its_files_alone(open_store: OpenStore, directory: Path) -> None:
    owner = Owner(open_store())
    owner.save(b"[1]")
    owner.store.close()
    before = {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")}

    store = open_store(read_only=True)
    snapshot(store)
    store.close()

    assert {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")} == before


@surviving
def test_a_directory_that_is_a_file_is_named(store_type: type[Store], tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("mine")

    with pytest.raises(StoreError, match=f"{in_the_way}.*choose a state directory"):
        store_type(in_the_way)

    assert in_the_way.read_text() == "mine"


@surviving
def test_the_place_of_a_unit_is_a_file(store: Store) -> None:
    Owner(store).save(b"[1]")

    assert Path(store.place(UNIT)).is_file()
