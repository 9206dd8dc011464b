"""The `file` store's files: how they look, and what of them is refused."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from framework.errors import StateCorruptError, StateIncompatibleError, StoreError
from framework.stores import Unit
from framework.stores.file import FileStore
from tests.stores.damage import check_file_refused, cuts, flips, outcomes, save_file
from tests.stores.units import DESCRIPTION, UNIT, Owner, accept_all, snapshot


@pytest.fixture
def store(directory: Path) -> FileStore:
    return FileStore(directory)


@pytest.fixture(params=["json", "msgpack"])
def saved(request: pytest.FixtureRequest, directory: Path) -> Owner:
    """An owner with something saved in this codec."""
    return save_file(directory, request.param)


def test_a_json_file_is_one_document_in_the_seeds_shape(store: FileStore, directory: Path) -> None:
    owner = Owner(store)

    owner.save(b'{"123123": 1, "4444": 1}', records=5)

    path = directory / "group" / "keycount" / "topic-0.json"
    document = json.loads(path.read_text())
    del document["saved_at"], document["checksum"]
    assert document == {
        "format": "framework-state",
        "version": 1,
        "codec": "json",
        "plugin": "keycount",
        "state_version": 1,
        "group": "group",
        "topic": "topic",
        "partition": 0,
        "partitions": 4,
        "cluster_id": "cluster",
        "topic_id": "c33bce09",
        "anchor_timestamp": 1_714_564_800_000,
        "anchor_checksum": 0xFFFF_FFFF,
        "missing_offsets": 3,
        "epoch": 1,
        "keys": 7,
        "bytes": 24,
        "position": 5,
        "last_offset": 4,
        "state": {"123123": 1, "4444": 1},
    }
    assert path.read_text().splitlines()[1] == '"state": {"123123": 1, "4444": 1}}'


def test_other_codecs_follow_a_header_line(store: FileStore, directory: Path) -> None:
    owner = Owner(store)
    checkpoint = replace(owner.checkpoint(b"\x80\n\xff"), description=replace(DESCRIPTION, codec="msgpack"))

    assert owner.try_save(checkpoint) is None

    header, body = (directory / "group" / "keycount" / "topic-0.msgpack").read_bytes().split(b"\n", 1)
    assert json.loads(header)["codec"] == "msgpack"
    assert body == b"\x80\n\xff"


def test_a_claim_is_on_disk_before_anything_is_saved(store: FileStore, directory: Path) -> None:
    Owner(store)
    Owner(store)

    path = directory / "group" / "keycount" / "topic-0.claimed"
    assert json.loads(path.read_text())["epoch"] == 2


def test_a_unit_has_one_file_whatever_its_codec_becomes(store: FileStore, directory: Path) -> None:
    owner = Owner(store)
    owner.save(b"{}")
    moved = replace(owner.checkpoint(b"\x80"), description=replace(DESCRIPTION, codec="my.codec/2"))
    assert owner.try_save(moved) is None
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
        list(saved.store.rows(replace(UNIT, partition=1)))
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
        list(saved.store.rows(UNIT))


def test_a_newer_format_is_told_from_damage(saved: Owner) -> None:
    path = Path(saved.store.place(UNIT))
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))

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
        store.claim(Unit("g" * 300, "keycount", "topic", 0), accept_all)
