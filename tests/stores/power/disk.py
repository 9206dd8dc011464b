"""A disk that loses power: what was done to its files, and what of that may be there afterwards.

What was synced holds. Of everything else each step may have happened or not, whatever came after it: a name was
entered, moved or removed; a file was cut; a write reached the disk sector by sector, or left zeros or garbage where
a sector should be. Two things are taken as given, as SQLite does: a rename is whole or not at all, and a write
leaves the bytes beside it alone.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import pairwise, product
from math import prod
from operator import itemgetter
from pathlib import Path
from random import Random

__all__ = ["Choice", "CrashState", "Fate", "Recording", "Tree", "crash_states", "read_tree", "write_tree"]

SECTOR = 512
PAGE = 4096
ROOT = 0
"""The node of the directory that is recorded; every other file and directory gets the next number."""

Tree = dict[str, "bytes | Tree"]
"""A directory: what stands under each name."""


@dataclass(frozen=True, slots=True)
class Enter:
    """A new file or directory gets a name."""

    directory: int
    name: str
    node: int
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """A name is removed."""

    directory: int
    name: str


@dataclass(frozen=True, slots=True)
class Rename:
    """A file gets another name in the same directory, and takes the place of what had it."""

    directory: int
    name: str
    new_name: str
    node: int


@dataclass(frozen=True, slots=True)
class Write:
    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """What was done to a file's bytes, or to a directory's names, holds from now on."""

    node: int


Operation = Enter | Leave | Rename | Write | Truncate | Sync


class Recording:
    """What is done to the files below `root`, in order. What is there at first counts as synced."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.operations: list[Operation] = []
        self._nodes = {str(self.root): ROOT}
        self._count = 1
        for found in sorted(self.root.rglob("*")):
            self.enter(found, is_directory=found.is_dir())
            if found.is_file():
                self.write(self.node(found), 0, found.read_bytes())
        for path in [*self._nodes]:
            self.sync(path)
        self._start = len(self.operations)

    @property
    def points(self) -> range:
        """When the power may fail: after how many operations."""
        return range(self._start, len(self.operations) + 1)

    def covers(self, path: str | Path) -> bool:
        return str(path) == str(self.root) or str(path).startswith(f"{self.root}{os.sep}")

    def knows(self, path: str | Path) -> bool:
        return str(path) in self._nodes

    def node(self, path: str | Path) -> int:
        return self._nodes[str(path)]

    def enter(self, path: str | Path, *, is_directory: bool = False) -> None:
        directory, name = self._place(path)
        self._nodes[str(path)] = self._count
        self.operations.append(Enter(directory, name, self._count, is_directory))
        self._count += 1

    def leave(self, path: str | Path) -> None:
        directory, name = self._place(path)
        del self._nodes[str(path)]
        self.operations.append(Leave(directory, name))

    def rename(self, path: str | Path, target: str | Path) -> None:
        (directory, name), (target_directory, new_name) = self._place(path), self._place(target)
        assert directory == target_directory, f"{path} changes its directory"
        node = self._nodes[str(target)] = self._nodes.pop(str(path))
        self.operations.append(Rename(directory, name, new_name, node))

    def write(self, node: int, offset: int, data: bytes) -> None:
        self.operations.append(Write(node, offset, data))

    def truncate(self, node: int, size: int) -> None:
        self.operations.append(Truncate(node, size))

    def sync(self, path: str | Path) -> None:
        self.sync_node(self.node(path))

    def sync_node(self, node: int) -> None:
        self.operations.append(Sync(node))

    def _place(self, path: str | Path) -> tuple[int, str]:
        directory, name = os.path.split(path)
        return self._nodes[directory], name

    def now(self) -> Tree:
        """All that was done: what a reader sees as long as the power holds."""
        return _replay(self.operations, {}, PAGE)


class Fate(Enum):
    """What became of a step that was not synced, or of one sector that it wrote."""

    KEPT = "kept"
    LOST = "lost"
    ZEROS = "zeros"
    GARBAGE = "garbage"


Choice = tuple[int, int]
"""What has a fate: the number of an operation, and of a sector in it (0 for what writes none)."""


@dataclass(frozen=True, slots=True)
class CrashState:
    """The power failed after `point` operations, and this is what was left."""

    point: int
    sector: int
    fates: dict[Choice, Fate]
    """Of all that was not synced."""
    tree: Tree

    def __str__(self) -> str:
        fates = ", ".join(f"{number}.{piece} {fate.value}" for (number, piece), fate in self.fates.items())
        return f"after {self.point} operations; of the unsynced, in sectors of {self.sector}: {fates or 'nothing'}"


def crash_states(recording: Recording, points: Iterable[int], each: int, random: Random) -> Iterator[CrashState]:
    """Up to `each` different states for each point: all, torn as finely as that allows, or else a choice of them."""
    for point in points:
        operations = recording.operations[:point]
        seen: list[Tree] = []
        for sector, fates in _fates(_unsynced(operations), each, random):
            tree = _replay(operations, fates, sector)
            if tree not in seen:
                seen.append(tree)
                yield CrashState(point, sector, fates, tree)


def _unsynced(operations: list[Operation]) -> list[tuple[int, Operation]]:
    """What may be lost, with its number."""
    pending: defaultdict[int, list[tuple[int, Operation]]] = defaultdict(list)
    for number, operation in enumerate(operations):
        match operation:
            case Sync(node):
                pending.pop(node, None)
            case Write(node) | Truncate(node):
                pending[node].append((number, operation))
            case Enter(directory) | Leave(directory) | Rename(directory):
                pending[directory].append((number, operation))
    return sorted((item for items in pending.values() for item in items), key=itemgetter(0))


def _fates(
    unsynced: list[tuple[int, Operation]], each: int, random: Random
) -> Iterator[tuple[int, dict[Choice, Fate]]]:
    for sector in (SECTOR, PAGE):
        options = _options(unsynced, sector)
        if prod(map(len, options.values())) <= each:
            for fates in product(*options.values()):
                yield sector, dict(zip(options, fates, strict=True))
            return
    for _ in range(each):
        sector = random.choice((SECTOR, PAGE))
        yield sector, _chosen(_options(unsynced, sector), random)


def _options(unsynced: list[tuple[int, Operation]], sector: int) -> dict[Choice, tuple[Fate, ...]]:
    """What may have become of each step that was not synced."""
    return {
        (number, piece): tuple(Fate) if isinstance(operation, Write) else (Fate.LOST, Fate.KEPT)
        for number, operation in unsynced
        for piece, _ in (_pieces(operation, sector) if isinstance(operation, Write) else [(0, None)])
    }


def _chosen(options: dict[Choice, tuple[Fate, ...]], random: Random) -> dict[Choice, Fate]:
    """Mostly kept, mostly lost or anything between; damaged or not; by whole operations or by sectors."""
    kept = random.choice((0, 0.1, 0.5, 0.9, 1))
    damaged = random.choice((0, 0.1, 1))
    whole = random.random() < 0.5
    fates: dict[Choice, Fate] = {}
    for choice, allowed in options.items():
        if whole and (first := (choice[0], 0)) in fates:
            fates[choice] = fates[first]
        elif random.random() < kept:
            fates[choice] = Fate.KEPT
        else:
            fates[choice] = random.choice(allowed) if random.random() < damaged else Fate.LOST
    return fates


def _pieces(write: Write, sector: int) -> Iterator[tuple[int, Write]]:
    """The parts of a write that reach the disk each for itself."""
    end = write.offset + len(write.data)
    edges = [write.offset, *range(write.offset // sector * sector + sector, end, sector), end]
    for piece, (start, stop) in enumerate(pairwise(edges)):
        yield piece, Write(write.node, start, write.data[start - write.offset : stop - write.offset])


def _replay(operations: list[Operation], fates: dict[Choice, Fate], sector: int) -> Tree:
    """The directory after `operations`; what has no fate is kept."""
    files: defaultdict[int, bytearray] = defaultdict(bytearray)
    names: defaultdict[int, dict[str, int]] = defaultdict(dict)
    directories = {ROOT}
    for number, operation in enumerate(operations):
        if isinstance(operation, Write) and (number, 0) in fates:
            for piece, part in _pieces(operation, sector):
                _write(files[operation.node], part, fates[number, piece])
        elif isinstance(operation, Write):
            _write(files[operation.node], operation, Fate.KEPT)
        elif isinstance(operation, Sync):
            continue
        elif fates.get((number, 0)) is not Fate.LOST:
            match operation:
                case Truncate(node, size):
                    files[node][size:] = bytes(max(0, size - len(files[node])))
                case Enter(directory, name, node, is_directory):
                    names[directory][name] = node
                    directories |= {node} if is_directory else set()
                case Leave(directory, name):
                    names[directory].pop(name, None)
                case Rename(directory, name, new_name, node):
                    if names[directory].get(name) == node:
                        del names[directory][name]
                    names[directory][new_name] = node
    return _tree(ROOT, names, files, directories)


def _write(file: bytearray, write: Write, fate: Fate) -> None:
    if fate is Fate.LOST:
        return
    size = len(write.data)
    content = write.data if fate is Fate.KEPT else bytes(size) if fate is Fate.ZEROS else _garbage(size)
    file.extend(bytes(max(0, write.offset - len(file))))
    file[write.offset : write.offset + size] = content


@cache
def _garbage(size: int) -> bytes:
    return Random(size).randbytes(size)


def _tree(node: int, names: dict[int, dict[str, int]], files: dict[int, bytearray], directories: set[int]) -> Tree:
    return {
        name: _tree(entry, names, files, directories) if entry in directories else bytes(files[entry])
        for name, entry in names.get(node, {}).items()
    }


def read_tree(directory: Path) -> Tree:
    return {path.name: read_tree(path) if path.is_dir() else path.read_bytes() for path in directory.iterdir()}


def write_tree(tree: Tree, directory: Path) -> None:
    directory.mkdir()
    for name, content in tree.items():
        if isinstance(content, bytes):
            (directory / name).write_bytes(content)
        else:
            write_tree(content, directory / name)
