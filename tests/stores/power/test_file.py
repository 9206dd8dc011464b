"""Power cuts of the `file` store: all that may be left after any of its operations."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from framework.stores import _files, file
from framework.stores._document import Document
from framework.stores.file import FileStore
from tests.stores.power.disk import read_tree
from tests.stores.power.outages import Outage, cut, cut_twice, record

TURNS = 30
ALL = 1000
"""More than any power cut of this store may leave, if pages tear as a whole."""


def breaches(outages: list[Outage]) -> list[str]:
    return [str(outage) for outage in outages if outage.breach]


def test_every_power_cut_leaves_state_and_offset_together(disk: Path) -> None:
    history = record(FileStore, disk / "store", Random(0), TURNS)

    outages = [*cut(FileStore, history, disk / "left", Random(0), history.recording.points, ALL)]

    assert breaches(outages) == []
    assert len(outages) > 500


def test_the_power_may_fail_again_during_recovery(disk: Path) -> None:
    random = Random(0)
    history = record(FileStore, disk / "store", random, TURNS)

    outages = [*cut_twice(FileStore, history, disk / "left", random, random.sample(history.recording.points, 12))]

    assert breaches(outages) == []
    assert len(outages) > 50


def test_the_recording_misses_nothing(disk: Path) -> None:
    recording = record(FileStore, disk / "store", Random(0), TURNS).recording

    assert recording.now() == read_tree(disk / "store")


def rename_before_the_bytes_are_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace_file(path: Path, data: bytes) -> None:
        path.with_name(".tmp").write_bytes(data)
        path.with_name(".tmp").replace(path)
        _files.fsync_directory(path.parent)

    monkeypatch.setattr(file, "replace_file", replace_file)


def rename_without_syncing_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "fsync_directory", lambda path: None)


def write_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "replace_file", Path.write_bytes)


def make_directories_without_syncing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "make_directory", lambda path: path.mkdir(parents=True, exist_ok=True))


def write_a_new_codec_beside_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(directory: Path, document: Document) -> None:
        stem = file._stem(document.stored.unit)
        old = file._find(directory, stem)
        new = directory / f"{stem}.{document.stored.description.codec if document.stored.description else 'claimed'}"
        _files.replace_file(new, document.to_bytes())
        if old not in (None, new):
            old.unlink()
            _files.fsync_directory(directory)

    monkeypatch.setattr(file, "_write", write)


@pytest.mark.parametrize(
    "plant",
    [
        rename_before_the_bytes_are_synced,
        rename_without_syncing_the_directory,
        write_in_place,
        make_directories_without_syncing_them,
        write_a_new_codec_beside_the_old,
    ],
)
def test_what_is_not_safe_is_found(
    disk: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    history = record(FileStore, disk / "store", Random(0), TURNS)

    outages = cut(FileStore, history, disk / "left", Random(0), history.recording.points, ALL)

    assert any(outage.breach for outage in outages)
