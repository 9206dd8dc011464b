"""The `file` store: one readable file a unit. docs/design/stores.md shows how one looks."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from framework.errors import FrameworkError, InternalError, StateIncompatibleError, StoreError
from framework.stores import Checkpoint, Claim, Store, StoredUnit, Unit
from framework.stores._document import Document, corrupt
from framework.stores._files import (
    file_errors,
    file_name,
    fsync_directory,
    locked,
    make_directory,
    make_writable_directory,
    replace_file,
)
from framework.stores._rules import aside_names, check_checkpoint, check_epoch, check_owner, new_unit, unit_gone

__all__ = ["FileStore"]

_LOCK = ".lock"
_NAME = re.compile(r"([^.].*-\d+)\.[^.]+")
"""`<topic>-<partition>.<codec>`; what is hidden or named otherwise is none of ours."""

_NO_CODEC = "claimed"
"""The extension of a unit that has nothing saved yet."""


class FileStore(Store):
    """Keeps each unit in a file `<directory>/<group>/<plugin>/<topic>-<partition>.<codec>`."""

    name = "file"
    keeps_rows = False
    survives = True

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._root = directory
        self._read_only = read_only
        if not read_only:
            with file_errors(directory):
                make_writable_directory(directory)

    def claim(self, unit: Unit, accept: Callable[[StoredUnit], None]) -> Claim:
        with self._writing(unit) as directory:
            document = _read(directory, _stem(unit))
            if document is None:
                previous, claimed = None, Document(new_unit(unit, epoch=1), None)
            else:
                previous, claimed = document.stored, document.claimed()
                accept(previous)
            _write(directory, claimed)
        return Claim(claimed.stored.epoch, previous)

    def rows(self, unit: Unit, epoch: int | None = None) -> Iterator[bytes]:
        with file_errors(self._root):
            document = _read_beside(self._directory(unit), _stem(unit))
        if epoch is not None:
            check_owner(document.stored if document else None, unit, epoch)
        if document is not None and document.body is not None:
            yield document.body

    def save(self, checkpoints: Sequence[Checkpoint]) -> list[FrameworkError | None]:
        outcomes = [self._save(checkpoint) for checkpoint in checkpoints]
        unwritten = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
        if unwritten and len(unwritten) == len(outcomes):
            raise unwritten[0]
        return outcomes

    def _save(self, checkpoint: Checkpoint) -> FrameworkError | None:
        try:
            with self._writing(checkpoint.unit) as directory:
                document = _read(directory, _stem(checkpoint.unit))
                if document is None:
                    raise unit_gone(checkpoint.unit, checkpoint.epoch)
                check_checkpoint(document.stored, checkpoint)
                _write(directory, document.saved(checkpoint))
        except FrameworkError as error:
            return error
        return None

    def set_aside(self, unit: Unit, epoch: int) -> Unit:
        """Writes the copy first: a crash in between leaves it beside the unit, which is as it was."""
        with self._writing(unit) as directory:
            document = _read(directory, _stem(unit))
            if document is None:
                raise unit_gone(unit, epoch)
            check_epoch(document.stored, epoch)
            aside = next(name for name in aside_names(unit) if _find(self._directory(name), _stem(name)) is None)
            with self._writing(aside) as aside_directory:
                _write(aside_directory, replace(document, stored=replace(document.stored, unit=aside)))
            _write(directory, Document(new_unit(unit, epoch), None))
        return aside

    def stored(self, group: str | None = None) -> list[StoredUnit]:
        with file_errors(self._root):
            groups = _subdirectories(self._root) if group is None else [self._root / file_name(group)]
            documents = [
                _read_beside(directory, stem)
                for each in groups
                for directory in _subdirectories(each)
                for stem in _stems(directory)
            ]
        return sorted((document.stored for document in documents if document), key=attrgetter("unit"))

    def place(self, unit: Unit) -> str:
        with file_errors(self._root):
            directory, stem = self._directory(unit), _stem(unit)
            return str(_find(directory, stem) or directory / stem)

    def _directory(self, unit: Unit) -> Path:
        return self._root / file_name(unit.group) / file_name(unit.plugin)

    @contextmanager
    def _writing(self, unit: Unit) -> Iterator[Path]:
        """The unit's directory, kept from other processes."""
        directory = self._directory(unit)
        if self._read_only:
            raise InternalError(f"{unit}: {directory} is open for reading only. Please report this")
        with file_errors(directory):
            make_directory(directory)
            with locked(directory / _LOCK):
                yield directory


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
    """The unit's file, whatever codec it is in."""
    paths = [
        Path(entry.path) for entry in _listed(directory) if (match := _NAME.fullmatch(entry.name)) and match[1] == stem
    ]
    if len(paths) > 1:
        names = " and ".join(sorted(map(str, paths)))
        raise corrupt(paths[0], f"{names} are all there for one unit, and only one can be right")
    return paths[0] if paths else None


def _read(directory: Path, stem: str) -> Document | None:
    path = _find(directory, stem)
    return None if path is None else _parsed(path, path.read_bytes())


def _read_beside(directory: Path, stem: str) -> Document | None:
    """As `_read`, beside a worker that writes: what was opened stays whole when a new file takes its name."""
    with locked(directory / _LOCK, shared=True):
        path = _find(directory, stem)
        file = None if path is None else path.open("rb")
    if path is None or file is None:
        return None
    with file:
        return _parsed(path, file.read())


def _parsed(path: Path, data: bytes) -> Document:
    document = Document.from_bytes(data, path)
    unit = document.stored.unit
    place = (file_name(unit.group), file_name(unit.plugin), _stem(unit))
    if place != (path.parent.parent.name, path.parent.name, path.name.rpartition(".")[0]):
        raise StateIncompatibleError(
            f"{path} holds {unit}, whose place is another. Nothing was changed; move the file back to where it was"
        )
    return document


def _write(directory: Path, document: Document) -> None:
    """Replace the unit's file, then give it its codec's name: at every moment there is exactly one."""
    description = document.stored.description
    extension = file_name(description.codec).replace(".", "%2E") if description else _NO_CODEC
    stem = _stem(document.stored.unit)
    path = directory / f"{stem}.{extension}"
    current = _find(directory, stem) or path
    replace_file(current, document.to_bytes())
    if current != path:
        current.rename(path)
        fsync_directory(directory)
