"""What every store promises, tried on each of ours; and what those promise that are directories."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import ClassVar

import pytest

from framework.errors import StateIncompatibleError, StoreError, UsageError
from framework.stores import Store, StoredUnit, Unit
from framework.stores.file import FileStore
from framework.stores.memory import MemoryStore
from framework.stores.sqlite import SqliteStore
from framework.testing.store_model import UNIT, Owner, snapshot
from framework.testing.stores import OpenStore, StoreConformance


class OurStore(StoreConformance):
    store_type: ClassVar[type[Store]]

    def location(self, directory: Path) -> str:
        return f"{self.store_type.name}:{directory}"

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[OpenStore]:
        with ExitStack() as stack:

            def open_one(*, read_only: bool = False, elsewhere: bool = False) -> Store:
                location = self.location(tmp_path / ("elsewhere" if elsewhere else "state"))
                store = self.store_type.open(location, self.store_type.Options(), read_only=read_only)
                return stack.enter_context(closing(store))

            yield open_one


class OnDisk(OurStore):
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        return tmp_path / "state"

    def test_reading_makes_no_file(self, open_store: OpenStore, directory: Path) -> None:
        snapshot(open_store(read_only=True))

        assert not directory.exists()

    def test_reading_a_store_at_rest_leaves_its_files_alone(self, open_store: OpenStore, directory: Path) -> None:
        owner = Owner(open_store())
        owner.save(b"[1]")
        owner.store.close()
        before = {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")}

        store = open_store(read_only=True)
        snapshot(store)
        store.id_of("group")
        store.close()

        assert {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")} == before

    def test_a_directory_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("mine")

        with pytest.raises(StoreError, match=f"{in_the_way}.*choose a state directory"):
            self.store_type.open(self.location(in_the_way), self.store_type.Options())

        assert in_the_way.read_text() == "mine"

    def test_the_place_of_a_unit_is_a_file(self, store: Store) -> None:
        Owner(store).save(b"[1]")

        assert Path(store.place(UNIT)).is_file()

    @pytest.mark.parametrize("rest", ["", ":", ":a\0b"])
    def test_a_location_without_a_directory_says_what_to_write(self, rest: str) -> None:
        name = self.store_type.name

        with pytest.raises(UsageError, match=f"names no directory; write one, such as {name}:state"):
            self.store_type.open(f"{name}{rest}", self.store_type.Options())

    def test_a_relative_location_is_a_directory_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with closing(self.store_type.open(f"{self.store_type.name}:a/b:c", self.store_type.Options())) as store:
            Owner(store)

        assert [path.name for path in (tmp_path / "a" / "b:c").iterdir()] == ["group"]

    @pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "soon"])
    def test_a_lock_timeout_is_a_number_of_seconds(self, timeout: object) -> None:
        with pytest.raises(ValueError, match="lock_timeout"):
            self.store_type.Options.model_validate({"lock_timeout": timeout})


class TestSqliteStore(OnDisk):
    store_type = SqliteStore

    def test_of_units_claimed_together_none_is_where_one_is_refused(self, store: Store) -> None:
        Owner(store, Unit("group", "keycount", "topic", 1)).save(b"[1]")
        before = store.stored()

        def refuse(unit: Unit, stored: StoredUnit | None) -> None:
            if unit.partition == 2:
                raise StateIncompatibleError("another codec")

        with pytest.raises(StateIncompatibleError):
            store.claim([Unit("group", "keycount", "topic", number) for number in range(4)], refuse)

        assert store.stored() == before


class TestFileStore(OnDisk):
    store_type = FileStore


class TestMemoryStore(OurStore):
    store_type = MemoryStore

    def location(self, directory: Path) -> str:
        return "memory:"

    def test_it_has_no_location(self) -> None:
        with pytest.raises(UsageError, match=r"the memory store has no location.*write memory"):
            MemoryStore.open("memory:state", MemoryStore.Options())


@pytest.mark.parametrize("store_type", [SqliteStore, FileStore, MemoryStore])
def test_the_location_of_another_store_is_refused(store_type: type[Store]) -> None:
    with pytest.raises(UsageError, match="'postgresql://host' is not a location of a"):
        store_type.open("postgresql://host", store_type.Options())
