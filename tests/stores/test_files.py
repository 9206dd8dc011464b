"""Full disks, missing rights, and locks."""

import ctypes
import fcntl
import os
import resource
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from framework.embedded.broker import EmbeddedBroker
from framework.errors import StateConflictError, StoreError
from framework.stores._files import file_name, locked, replace_file
from framework.stores.file import FileStore
from framework.testing.store_model import UNIT, Owner, accept_all, snapshot, state_rows
from tests.stores.on_disk import DiskStore


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """What a full disk is like: writes fail in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def as_a_stranger() -> Iterator[None]:
    """Rights do not bind root, so this thread is somebody else for a while.

    `os.seteuid` changes all threads, by a signal to each. It interrupts the embedded broker's thread, which then ends.
    """
    if os.geteuid() != 0:
        yield
        return
    system = ctypes.CDLL(None)
    system.setfsuid(65534)
    try:
        yield
    finally:
        system.setfsuid(0)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_to_be_a_stranger_leaves_the_embedded_broker_alone(public_directory: Path) -> None:
    public_directory.chmod(0o555)
    with EmbeddedBroker() as broker:
        for _ in range(20):
            with as_a_stranger(), pytest.raises(PermissionError):
                (public_directory / "file").touch()
        host, _, port = broker.bootstrap_servers.rpartition(":")
        socket.create_connection((host, int(port)), 60).close()


def test_a_full_disk_leaves_the_state_as_it_was(store_type: type[DiskStore], directory: Path) -> None:
    with closing(store_type(directory)) as store:
        owner = Owner(store)
        owner.save(b"x" * 1000)
        before = snapshot(store)

        for size in (100, 20_000, 100_000):
            with (
                no_file_longer_than(size),
                pytest.raises(StoreError, match=f"{directory}.*the stored state is unchanged"),
            ):
                owner.try_save(owner.checkpoint(b"y" * 200_000))
            with no_file_longer_than(100), pytest.raises(StoreError, match=f"{directory}"):
                store.claim([UNIT], accept_all)
            assert snapshot(store) == before

        owner.save(b"z")
    with closing(store_type(directory, read_only=True)) as store:
        assert state_rows(store)[-1] == b"z"


def test_a_full_disk_at_the_first_claim_leaves_nothing(store_type: type[DiskStore], directory: Path) -> None:
    with closing(store_type(directory)) as store:
        with no_file_longer_than(100), pytest.raises(StoreError):
            store.claim([UNIT], accept_all)

        assert store.stored() == []
        assert Owner(store).epoch == 1


@pytest.mark.parametrize("others_saves", [0, 1, 2])
def test_a_worker_whose_directory_was_replaced_saves_nothing(
    store_type: type[DiskStore], directory: Path, others_saves: int
) -> None:
    with closing(store_type(directory)) as store, closing(store_type(directory)) as newcomer:
        owner = Owner(store)
        owner.save(b"old")
        shutil.rmtree(directory / "group")
        claimed = Owner(newcomer)
        for _ in range(others_saves):
            claimed.save(b"new")
        before = snapshot(newcomer)

        assert claimed.epoch == owner.epoch
        assert owner.try_save(owner.checkpoint(b"old too")).kind == "conflict"
        with pytest.raises(StateConflictError, match="removed"):
            list(store.load(UNIT, owner.epoch))
        with pytest.raises(StateConflictError, match="removed"):
            store.set_aside(UNIT, owner.epoch)
        assert snapshot(newcomer) == before
        Owner(store).save(b"old too")


def test_what_a_disk_still_holds_is_saved(directory: Path) -> None:
    store = FileStore(directory)
    large, small = Owner(store, replace(UNIT, partition=1)), Owner(store, replace(UNIT, partition=2))
    checkpoints = [large.checkpoint(b"x" * 20_000), small.checkpoint(b"{}")]

    with no_file_longer_than(10_000), pytest.raises(StoreError, match=rf"{directory}.*raise the file size limit"):
        store.save(checkpoints)

    assert [stored.version for stored in store.stored()] == [0, 1]
    assert [outcome.kind for outcome in store.save(checkpoints)] == ["saved", "already saved"]
    assert state_rows(store, small.unit) == [b"{}"]


def test_a_directory_that_cannot_be_written_is_named(store_type: type[DiskStore], public_directory: Path) -> None:
    public_directory.chmod(0o555)

    for directory in (public_directory, public_directory / "state"):
        with (
            as_a_stranger(),
            pytest.raises(StoreError, match=f"{directory}.*give this user the right to it, or choose another"),
        ):
            store_type(directory)


def test_reading_needs_no_right_to_write(store_type: type[DiskStore], public_directory: Path) -> None:
    with closing(store_type(public_directory)) as store:
        Owner(store).save(b"[1]")
        before = snapshot(store)

    with as_a_stranger(), closing(store_type(public_directory, read_only=True)) as store:
        assert snapshot(store) == before


def test_what_may_not_be_read_is_not_taken_for_empty(store_type: type[DiskStore], public_directory: Path) -> None:
    with closing(store_type(public_directory)) as store:
        Owner(store).save(b"[1]")
    (public_directory / "group").chmod(0o700)

    with as_a_stranger(), closing(store_type(public_directory, read_only=True)) as store:
        for read in (store.stored, lambda: store.stored("group"), lambda: list(store.load(UNIT))):
            with pytest.raises(StoreError, match="give this user the right"):
                read()


def test_a_process_that_hangs_with_the_lock_is_told_of(store_type: type[DiskStore], directory: Path) -> None:
    with closing(store_type(directory, lock_timeout=0.01)) as store:
        owner = Owner(store)
        lock = Path(store.place(UNIT)).with_name("state.lock" if store.keeps_rows else ".lock")
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)

            with pytest.raises(StoreError, match=f"another process has held the lock {lock} for 0.01 s"):
                owner.try_save(owner.checkpoint(b"[1]"))

        owner.save(b"[1]")


def test_a_reader_looks_for_files_only_while_none_is_renamed(directory: Path) -> None:
    store = FileStore(directory, lock_timeout=0.01)
    Owner(store).save(b"[1]")
    with locked(directory / "group" / "keycount" / ".lock", 1), pytest.raises(StoreError, match="held the lock"):
        list(store.load(UNIT))


def test_a_file_is_on_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(path, b"new")

    assert synced == [(False, b"old"), (True, b"new")]


def test_a_lock_waits_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, 1), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with locked(path, 1, shared=True), locked(path, 1, shared=True), path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_shared_lock_creates_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", 1, shared=True):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("plain-1.x_y", "plain-1.x_y"), ("..", "%2E."), (".hidden", "%2Ehidden"), ("a/b", "a%2Fb"), ("é*", "%C3%A9%2A")],
)
def test_file_names_are_safe(name: str, expected: str) -> None:
    assert file_name(name) == expected
