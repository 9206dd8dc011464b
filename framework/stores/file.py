"""The `file` store: one file for each unit. docs/design/stores.md shows an example."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Self
from uuid import uuid4

from framework.errors import StateCorruptError, StateIncompatibleError, StoreError
from framework.stores import SAVED, Accept, Checkpoint, Claim, Outcome, Store, StoredUnit, StoreOptions, Unit
from framework.stores._document import Document, corrupt, id_from_bytes, id_to_bytes
from framework.stores._files import (
    exists,
    file_errors,
    file_name,
    fsync_directory,
    locked,
    make_directory,
    make_writable_directory,
    replace_file,
)
from framework.stores._location import LOCK_TIMEOUT, DirectoryOptions, location_path
from framework.stores.rules import another_owner, aside_names, check_owner, check_writable, outcome_of

__all__ = ["FileStore"]

_LOCK = ".lock"
_ID = ".store"
"""Files that are not units. They are hidden, and no group, plugin or unit has a hidden name."""

_NAME = re.compile(r"([^.].*-\d+)\.[^.]+")
"""`<topic>-<partition>.<codec>`. Files with other names, and hidden files, are ignored."""

_NO_CODEC = "claimed"
"""Extension of the file of a unit without a checkpoint."""


class FileStore(Store):
    """Keeps each unit in a file `<directory>/<group>/<plugin>/<topic>-<partition>.<codec>`."""

    name = "file"
    keeps_rows = False
    survives = True
    Options = DirectoryOptions

    def __init__(self, directory: Path, *, read_only: bool = False, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._root = directory
        self._read_only = read_only
        self._lock_timeout = lock_timeout
        self._origins: dict[Unit, str] = {}
        """The id of the store at the claim of each unit. If the directory is removed and created again while a worker
        runs, epochs begin at 1 again. The id tells the worker's claims from claims in the new directory."""
        if not read_only:
            with file_errors(directory):
                make_writable_directory(directory)

    @classmethod
    def open(cls, location: str, options: StoreOptions, *, read_only: bool = False) -> Self:
        return cls(location_path(cls.name, location), read_only=read_only, **options.model_dump())

    def id_of(self, group: str) -> str:
        directory = self._root / file_name(group)
        with file_errors(directory):
            if self._read_only:
                return self._stored_id(directory)
            make_directory(directory)
            with locked(directory / _LOCK, self._lock_timeout):
                if not (store_id := _read_id(directory)):
                    store_id = uuid4().hex
                    replace_file(directory / _ID, id_to_bytes(store_id))
                return store_id

    def _stored_id(self, directory: Path) -> str:
        with locked(directory / _LOCK, self._lock_timeout, shared=True):
            return _read_id(directory)

    def claim(self, units: Sequence[Unit], accept: Accept) -> list[Claim]:
        """As `Store.claim`. All directories are locked together, so that nothing is written if one is not accepted."""
        with ExitStack() as locks:
            for unit in {self._directory(unit): unit for unit in sorted(units)}.values():
                locks.enter_context(self._writing(unit))
            found = [_read(self._directory(unit), _stem(unit)) for unit in units]
            for unit, document in zip(units, found, strict=True):
                accept(unit, document.stored if document else None)
            return [self._claim(unit, document) for unit, document in zip(units, found, strict=True)]

    def _claim(self, unit: Unit, document: Document | None) -> Claim:
        origin = self.id_of(unit.group)
        claimed = document.claimed() if document else Document(StoredUnit(unit, epoch=1))
        _write(self._directory(unit), claimed)
        self._origins[unit] = origin
        return Claim(claimed.stored.epoch, document.stored if document else None)

    def load(self, unit: Unit, epoch: int | None = None) -> Iterator[tuple[str, bytes]]:
        visible = epoch is None or self._is_here(unit)
        document = self._read_beside(self._directory(unit), _stem(unit)) if visible else None
        if epoch is not None:
            check_owner(document.stored if document else None, unit, epoch)
        if document is not None:
            yield from document.bodies.items()

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[Outcome]:
        """As `Store.save`. All checkpoints are tried before the first error is raised."""
        outcomes: list[Outcome] = []
        errors: list[StoreError | StateIncompatibleError] = []
        for checkpoint in checkpoints:
            try:
                outcomes.append(self._save(checkpoint))
            except (StoreError, StateIncompatibleError) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return outcomes

    def _save(self, checkpoint: Checkpoint) -> Outcome:
        with self._writing(checkpoint.unit) as directory:
            try:
                document = self._read(directory, checkpoint.unit)
            except StateCorruptError as error:
                return Outcome("corrupt", error)
            outcome = outcome_of(document.stored if document else None, checkpoint)
            if document and outcome is SAVED:
                _write(directory, document.saved(checkpoint))
        return outcome

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        """As `Store.set_aside`. The copy is written first. A crash leaves the unit unchanged beside the copy."""
        with self._writing(unit) as directory:
            document = self._read(directory, unit)
            if document is None or document.stored.epoch != epoch:
                raise another_owner(document.stored if document else None, unit, epoch)
            aside = next(name for name in aside_names(unit) if _find(self._directory(name), _stem(name)) is None)
            with self._writing(aside) as aside_directory:
                self.id_of(aside.group)
                _write(aside_directory, document.renamed(aside))
            _write(directory, Document(StoredUnit(unit, epoch, document.stored.version)))
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        with file_errors(self._root):
            groups = _subdirectories(self._root) if group is None else [self._root / file_name(group)]
            directories = [directory for each in groups for directory in _subdirectories(each)]
            places = [(directory, stem) for directory in directories for stem in _stems(directory)]
        documents = [self._read_beside(directory, stem) for directory, stem in places]
        return sorted((document.stored for document in documents if document), key=attrgetter("unit"))

    def place(self, unit: Unit) -> str:
        with file_errors(self._root):
            directory, stem = self._directory(unit), _stem(unit)
            return str(_find(directory, stem) or directory / stem)

    def _directory(self, unit: Unit) -> Path:
        return self._root / file_name(unit.group) / file_name(unit.plugin)

    @contextmanager
    def _writing(self, unit: Unit) -> Iterator[Path]:
        """The unit's directory, locked, so that no other process writes there."""
        check_writable(unit, read_only=self._read_only)
        directory = self._directory(unit)
        with file_errors(directory):
            make_directory(directory)
            with locked(directory / _LOCK, self._lock_timeout):
                yield directory

    def _read(self, directory: Path, unit: Unit) -> Document | None:
        """The stored unit; None if there is none, or if the unit was claimed in a directory that was replaced since."""
        return _read(directory, _stem(unit)) if self._is_here(unit) else None

    def _is_here(self, unit: Unit) -> bool:
        if (origin := self._origins.get(unit)) is None:
            return True
        directory = self._root / file_name(unit.group)
        with file_errors(directory):
            return self._stored_id(directory) == origin

    def _read_beside(self, directory: Path, stem: str) -> Document | None:
        """Read a unit while a worker may write it. A file that is open stays complete when another one replaces it."""
        with file_errors(directory):
            with locked(directory / _LOCK, self._lock_timeout, shared=True):
                path = _find(directory, stem)
                file = None if path is None else path.open("rb")
            if path is None or file is None:
                return None
            with file:
                return _parsed(path, file.read())


def _stem(unit: Unit) -> str:
    return f"{file_name(unit.topic)}-{unit.partition}"


def _listed(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return
    with entries:
        yield from entries


def _subdirectories(directory: Path) -> list[Path]:
    return [Path(entry.path) for entry in _listed(directory) if entry.is_dir()]


def _stems(directory: Path) -> set[str]:
    return {match[1] for entry in _listed(directory) if (match := _NAME.fullmatch(entry.name))}


def _find(directory: Path, stem: str) -> Path | None:
    """The unit's file, in any codec; None if there is none. Raises `StateCorruptError` if there are several."""
    paths = [
        Path(entry.path) for entry in _listed(directory) if (match := _NAME.fullmatch(entry.name)) and match[1] == stem
    ]
    if len(paths) > 1:
        names = " and ".join(sorted(map(str, paths)))
        raise corrupt(paths[0], f"{names} belong to the same unit, and only one of them can be right")
    return paths[0] if paths else None


def _read(directory: Path, stem: str) -> Document | None:
    path = _find(directory, stem)
    return None if path is None else _parsed(path, path.read_bytes())


def _read_id(directory: Path) -> str:
    """The id of a group's store; "" if nothing of the group is stored yet."""
    path = directory / _ID
    has_units = not exists(path) and any(_stems(each) for each in _subdirectories(directory))
    if exists(path):  # checked again, because the id and the units may have been written since the first check
        return id_from_bytes(path.read_bytes(), path)
    if has_units:
        raise corrupt(path, "the file is missing, but there are units of its group")
    return ""


def _parsed(path: Path, data: bytes) -> Document:
    document = Document.from_bytes(data, path)
    unit = document.stored.unit
    place = (file_name(unit.group), file_name(unit.plugin), _stem(unit))
    if place != (path.parent.parent.name, path.parent.name, path.name.rpartition(".")[0]):
        raise StateIncompatibleError(
            f"{path} holds {unit}, which belongs into the file {'/'.join(place)}. Nothing was changed; move the file "
            "back"
        )
    return document


def _write(directory: Path, document: Document) -> None:
    """Replace the unit's file, then rename it if its codec has changed. There is one file at each moment."""
    description = document.stored.description
    extension = file_name(description.codec).replace(".", "%2E") if description else _NO_CODEC
    stem = _stem(document.stored.unit)
    path = directory / f"{stem}.{extension}"
    current = _find(directory, stem) or path
    replace_file(current, document.to_bytes())
    if current != path:
        current.rename(path)
        fsync_directory(directory)
