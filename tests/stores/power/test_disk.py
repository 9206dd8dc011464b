"""The disk that loses power: what it may lose, and what it must not."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.stores.power.disk import Recording, Tree, crash_states
from tests.stores.power.system import recorded_system


@pytest.fixture
def left(disk: Path) -> Callable[[Callable[[Path], None]], list[Tree]]:
    """What a power cut may leave after something was done in a directory that had a file `old`."""
    (disk / "old").write_bytes(b"old")
    recording = Recording(disk)

    def try_all(work: Callable[[Path], None]) -> list[Tree]:
        with recorded_system(recording):
            work(recording.root)
        end = recording.points[-1]
        return [state.tree for state in crash_states(recording, [end], each=1000, random=Random(0))]

    return try_all


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def test_what_was_not_synced_may_be_there_or_not(left) -> None:
    def work(root: Path) -> None:
        (root / "old").unlink()
        (root / "new").mkdir()

    assert sorted(map(sorted, left(work))) == [[], ["new"], ["new", "old"], ["old"]]


def test_what_was_synced_holds(left) -> None:
    def work(root: Path) -> None:
        (root / "new").write_bytes(b"new")
        sync(root / "new")
        (root / "new").replace(root / "old")
        sync(root)

    assert left(work) == [{"old": b"new"}]


def test_a_name_may_come_before_the_bytes_under_it(left) -> None:
    def work(root: Path) -> None:
        (root / "new").write_bytes(b"new")
        (root / "new").replace(root / "old")
        sync(root)

    trees = left(work)

    assert all(tree.keys() == {"old"} for tree in trees)
    assert {b"", b"\0\0\0", b"new"} < {tree["old"] for tree in trees}


def test_a_synced_file_may_have_no_name(left) -> None:
    def work(root: Path) -> None:
        (root / "new").write_bytes(b"new")
        sync(root / "new")

    assert left(work) == [{"old": b"old"}, {"old": b"old", "new": b"new"}]


def test_a_lost_directory_takes_along_what_is_in_it(left) -> None:
    def work(root: Path) -> None:
        (root / "new").mkdir()
        (root / "new" / "file").write_bytes(b"")
        sync(root / "new")

    assert left(work) == [{"old": b"old"}, {"old": b"old", "new": {"file": b""}}]


def test_a_write_tears_at_sectors_and_spares_what_is_beside_it(disk: Path) -> None:
    (disk / "file").write_bytes(b"-" * 1500)
    recording = Recording(disk)
    recording.write(recording.node(recording.root / "file"), 100, b"+" * 1000)

    files = [state.tree["file"] for state in crash_states(recording, [recording.points[-1]], 100, Random(0))]

    assert all(file[:100] == b"-" * 100 and file[1100:] == b"-" * 400 for file in files if isinstance(file, bytes))
    assert b"-" * 100 + b"+" * 412 + b"-" * 988 in files
    assert b"-" * 512 + b"+" * 512 + b"-" * 476 in files
