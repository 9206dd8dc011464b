"""The `file` store's files: how they look, and what of them is refused."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from framework.errors import StateCorruptError, StateError, StateIncompatibleError, StoreError
from framework.stores import STATE_TABLE, Changes, Unit
from framework.stores.file import FileStore
from framework.testing.store_model import DESCRIPTION, TIMERS, UNIT, Owner, accept_all, in_tables, snapshot
from tests.stores.damage import check_file_refused, cuts, flips, outcomes, save_file

Damage = Callable[[bytes], Iterator[bytes]]


@pytest.fixture
def store(directory: Path) -> FileStore:
    return FileStore(directory)


@pytest.fixture(params=["json", "msgpack"])
def saved(request: pytest.FixtureRequest, directory: Path) -> Owner:
    """An owner with something saved in this codec."""
    return save_file(directory, request.param)


def test_a_json_file_is_one_document_in_the_seeds_shape(store: FileStore, directory: Path) -> None:
    owner = Owner(store)

    tables = {
        "$windows": Changes(1, rows=[b'{"w": 1}']),
        TIMERS: Changes(0, rows=[b"{}"]),
        STATE_TABLE: Changes(2, rows=[b'{"123123": 1, "4444": 1}']),
    }
    checkpoint = owner.checkpoint_of(tables, records=5)
    owner.save_whole(replace(checkpoint, event_time={UNIT.topic_partition: 7}, outputs=b"\0\xff"))

    path = directory / "group" / "keycount" / "topic-0.json"
    document = json.loads(path.read_text())
    del document["saved_at"], document["checksum"]
    assert document == {
        "format": "framework-state",
        "format_version": 1,
        "group": "group",
        "plugin": "keycount",
        "topic": "topic",
        "partition": 0,
        "epoch": 1,
        "version": 1,
        "description": {
            "codec": "json",
            "state_version": 1,
            "partitions": 4,
            "cluster_id": "cluster",
            "state_definition": "",
            "row_format": 1,
        },
        "progress": [
            {
                "topic": "topic",
                "partition": 0,
                "last_offset": 4,
                "position": 5,
                "anchor": {"topic_id": "c33bce09", "timestamp": 1_714_564_800_000, "checksum": 0xFFFF_FFFF},
                "missing_offsets": 3,
            }
        ],
        "event_time": [{"topic": "topic", "partition": 0, "milliseconds": 7}],
        "outputs": "00ff",
        "sizes": {
            "": {"keys": 2, "bytes": 24, "checksum": "92e4f577"},
            "$timers": {"keys": 0, "bytes": 2, "checksum": "9121881e"},
            "$windows": {"keys": 1, "bytes": 8, "checksum": "da5eafd2"},
        },
        "state": {"123123": 1, "4444": 1},
        "tables": {"$timers": {}, "$windows": {"w": 1}},
    }
    assert path.read_text().splitlines()[1:] == [
        '"state": {"123123": 1, "4444": 1},',
        '"tables": {"$timers": {},',
        '"$windows": {"w": 1}}}',
    ]


def test_a_json_file_may_hold_other_tables_alone(store: FileStore) -> None:
    owner = Owner(store)

    owner.save_whole(owner.checkpoint_of({"$b": Changes(0, rows=[b"[]"]), "$a": Changes(0), "$c": Changes(0)}))

    assert json.loads(Path(store.place(UNIT)).read_text())["tables"] == {"$b": []}
    assert in_tables(store.load(UNIT)) == {"$b": [b"[]"]}
    assert [*store.stored()[0].tables] == ["$a", "$b", "$c"]


def test_other_codecs_follow_a_header_line(store: FileStore, directory: Path) -> None:
    owner = Owner(store)
    tables = {STATE_TABLE: Changes(1, rows=[b"\x80\n\xff"]), TIMERS: Changes(1, rows=[b"\n\x01"])}

    owner.save_whole(replace(owner.checkpoint_of(tables), description=replace(DESCRIPTION, codec="msgpack")))

    header, body = (directory / "group" / "keycount" / "topic-0.msgpack").read_bytes().split(b"\n", 1)
    assert json.loads(header)["description"]["codec"] == "msgpack"
    assert body == b"\x80\n\xff\n\x01"


def test_a_claim_is_on_disk_before_anything_is_saved(store: FileStore, directory: Path) -> None:
    Owner(store)
    Owner(store)

    path = directory / "group" / "keycount" / "topic-0.claimed"
    assert json.loads(path.read_text())["epoch"] == 2


def test_a_unit_has_one_file_whatever_its_codec_becomes(store: FileStore, directory: Path) -> None:
    owner = Owner(store)
    owner.save(b"{}")
    moved = replace(owner.checkpoint(b"\x80"), description=replace(DESCRIPTION, codec="my.codec/2"))
    owner.save_whole(moved)
    assert [name for name in os.listdir(directory / "group" / "keycount") if name != ".lock"] == [
        "topic-0.my%2Ecodec%2F2"
    ]

    store.set_aside(UNIT, owner.epoch)

    assert [path.name for path in (directory / "group" / "keycount").glob("topic*")] == ["topic-0.claimed"]
    assert [path.name for path in directory.glob("group.aside-1/keycount/topic*")] == ["topic-0.my%2Ecodec%2F2"]


def test_a_crash_before_the_new_name_loses_nothing(store: FileStore, directory: Path) -> None:
    owner = Owner(store)
    owner.save(b"{}")
    before = snapshot(store)
    home = directory / "group" / "keycount"
    (home / "topic-0.json").rename(home / "topic-0.claimed")

    assert snapshot(store) == before
    owner.save(b"[]")

    assert [path.name for path in home.glob("topic*")] == ["topic-0.json"]


def test_two_files_for_one_unit_are_refused(saved: Owner, directory: Path) -> None:
    path = Path(saved.store.place(UNIT))
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())

    for outcome in outcomes(saved):
        assert isinstance(outcome, StateCorruptError)
        assert str(path) in str(outcome)
        assert str(copy) in str(outcome)


def test_a_file_in_anothers_place_is_refused(saved: Owner) -> None:
    path = Path(saved.store.place(UNIT))
    stranger = path.with_stem("topic-1")
    path.rename(stranger)

    with pytest.raises(StateIncompatibleError, match=r"topic-1.* holds keycount on topic-0"):
        list(saved.store.load(replace(UNIT, partition=1)))
    with pytest.raises(StateIncompatibleError, match=r"topic-1.* holds keycount on topic-0"):
        saved.store.stored()


def test_what_is_not_ours_in_the_directory_is_left_alone(saved: Owner, directory: Path) -> None:
    before = snapshot(saved.store)
    strangers = [directory / "note", directory / "group" / "note", directory / "group" / "keycount" / "note.txt"]
    strangers.append(directory / "group" / "keycount" / ".topic-0.swp")
    for path in strangers:
        path.write_text("mine")

    assert snapshot(saved.store) == before
    saved.save(b"{}")

    assert [path.read_text() for path in strangers] == ["mine"] * 4


def test_what_a_crash_left_is_written_over(saved: Owner, directory: Path) -> None:
    before = snapshot(saved.store)
    leftover = directory / "group" / "keycount" / ".tmp"
    leftover.write_bytes(b"half a fi")

    assert snapshot(saved.store) == before
    Owner(saved.store)

    assert not leftover.exists()


@pytest.mark.parametrize("mask", [0xFF, None], ids=["all", "one bit"])
def test_every_flipped_byte_is_found_and_left_as_it_is(saved: Owner, mask: int | None) -> None:
    whole = Path(saved.store.place(UNIT)).read_bytes()
    for damaged in flips(whole, mask=mask):
        check_file_refused(saved, damaged)


def test_every_truncation_is_found_and_left_as_it_is(saved: Owner) -> None:
    whole = Path(saved.store.place(UNIT)).read_bytes()
    for damaged in cuts(whole):
        check_file_refused(saved, damaged, StateCorruptError)


def test_bytes_behind_the_end_are_found(saved: Owner) -> None:
    path = Path(saved.store.place(UNIT))
    path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(StateCorruptError, match=f"{path} is damaged"):
        list(saved.store.load(UNIT))


def test_a_newer_format_is_told_from_damage(saved: Owner) -> None:
    path = Path(saved.store.place(UNIT))
    path.write_bytes(path.read_bytes().replace(b'"format_version": 1', b'"format_version": 2'))

    with pytest.raises(StateIncompatibleError, match=f"{path} has format version 2.* reads version 1"):
        saved.store.stored()


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"null\n", b"{}\n", b"[" * 5000, b"\xff\xfe\n", b'{"format": 1,\n']
)
def test_any_other_file_is_damage(saved: Owner, data: bytes) -> None:
    Path(saved.store.place(UNIT)).write_bytes(data)

    assert [type(outcome) for outcome in outcomes(saved)] == [StateCorruptError] * 5


def test_a_name_too_long_for_the_file_system_is_an_error(store: FileStore) -> None:
    with pytest.raises(StoreError, match="choose a shorter group or plugin name"):
        store.claim([Unit("g" * 300, "keycount", "topic", 0)], accept_all)


@pytest.mark.parametrize("damage", [flips, cuts], ids=["flips", "cuts"])
def test_every_damage_to_the_id_is_found_before_a_claim(saved: Owner, directory: Path, damage: Damage) -> None:
    path = directory / "group" / ".store"
    before, whole = snapshot(saved.store), path.read_bytes()
    new = replace(UNIT, plugin="new")
    with closing(FileStore(directory, read_only=True)) as reader:
        for damaged in damage(whole):
            path.write_bytes(damaged)
            for ask in (lambda: saved.store.id_of("group"), lambda: reader.id_of("group")):
                with pytest.raises(StateError, match=f"{path} "):
                    ask()
            for unit in (UNIT, new):
                with pytest.raises(StateError, match=f"{path} "):
                    saved.store.claim([unit], accept_all)
            assert path.read_bytes() == damaged

    path.write_bytes(whole)
    assert snapshot(saved.store) == before
    assert [stored.unit for stored in saved.store.stored()] == [UNIT]


def test_an_id_that_is_missing_beside_units_is_damage(saved: Owner, directory: Path) -> None:
    path = directory / "group" / ".store"
    path.unlink()

    with closing(FileStore(directory, read_only=True)) as reader:
        for ask in (
            lambda: reader.id_of("group"),
            lambda: saved.store.id_of("group"),
            lambda: saved.store.claim([replace(UNIT, plugin="new")], accept_all),
        ):
            with pytest.raises(StateCorruptError, match=f"{path} is damaged: the file is missing, but there are units"):
                ask()

    assert not path.exists()


def test_the_ids_of_groups_differ_and_go_with_a_copy(saved: Owner, directory: Path, tmp_path: Path) -> None:
    Owner(saved.store, replace(UNIT, group="other"))
    shutil.copytree(directory, tmp_path / "copy")

    with closing(FileStore(tmp_path / "copy", read_only=True)) as copy:
        assert copy.id_of("group") == saved.store.id_of("group")
        assert copy.id_of("other") != copy.id_of("group")


def test_what_was_interrupted_while_it_was_written_leaves_nothing(
    saved: Owner, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(saved.store)

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            saved.save(b"[2]")

    assert snapshot(saved.store) == before
    assert not [*directory.rglob(".tmp")]
    saved.save(b"[3]")
