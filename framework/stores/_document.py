"""The format of the files of the `file` store. No I/O.

The first line of a unit's file is a header in JSON. With the codec `json`, the tables follow with one line each, so
that the whole file is one JSON document. With any other codec, the bytes of the tables follow.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

from framework.errors import InternalError, StateCorruptError, StateIncompatibleError
from framework.stores import STATE_TABLE, Checkpoint, StoredTable, StoredUnit, Unit
from framework.stores.encoding import checksum, from_json, to_json
from framework.stores.rules import saved_unit

__all__ = ["Document", "corrupt", "id_from_bytes", "id_to_bytes"]

_UNIT_FORMAT = "framework-state"
_ID_FORMAT = "framework-store"
_FORMAT_VERSION = 1
_JSON_CODEC = "json"


@dataclass(frozen=True, slots=True)
class Document:
    """A unit and the bytes of its tables, by name. `bodies` lacks tables of which no bytes were saved yet."""

    stored: StoredUnit
    bodies: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The content of the file."""
        pieces = [b""] * (2 * len(self.bodies) + 1)
        pieces[::2] = _separators(_header(self), sorted(self.bodies))
        pieces[1::2] = [self.bodies[name] for name in sorted(self.bodies)]
        return b"".join(pieces)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> "Document":
        """Parse the content of the file at `path`.

        Raises `StateCorruptError` for any byte that `to_bytes` did not write, and `StateIncompatibleError` for another
        format version. Both name `path`.
        """
        header = _read_header(data, _UNIT_FORMAT, path)
        bodies = _read_bodies(data, header, path)
        tables = {name: _stored_table(table["keys"], bodies.get(name)) for name, table in header["sizes"].items()}
        unit = Unit(header["group"], header["plugin"], header["topic"], header["partition"])
        return cls(from_json(header, unit, header["epoch"], header["version"], tables), bodies)

    def claimed(self) -> "Document":
        """The document after a claim by the next owner."""
        return replace(self, stored=replace(self.stored, epoch=self.stored.epoch + 1))

    def saved(self, checkpoint: Checkpoint) -> "Document":
        """The document after `checkpoint`. Raises `InternalError` for a checkpoint with several rows or a base."""
        tables, bodies = dict(self.stored.tables), dict(self.bodies)
        for name, changes in checkpoint.tables.items():
            rows = tuple(changes.rows)
            if changes.base or changes.base_begins or changes.base_ends or len(rows) > 1:
                raise InternalError(
                    f"{checkpoint.unit}: a checkpoint in pieces for a store without keeps_rows. Please report this"
                )
            if rows:
                [bodies[name]] = rows
            tables[name] = _stored_table(changes.keys, bodies.get(name))
        return Document(saved_unit(self.stored, checkpoint, tables), bodies)

    def renamed(self, unit: Unit) -> "Document":
        """The same document for another unit."""
        return replace(self, stored=replace(self.stored, unit=unit))


def id_to_bytes(store_id: str) -> bytes:
    """The content of the file that holds the id of a group's store."""
    header = {"format": _ID_FORMAT, "format_version": _FORMAT_VERSION, "id": store_id}
    return _line({**header, "checksum": _checksum(header)}) + b"\n"


def id_from_bytes(data: bytes, path: Path) -> str:
    """Parse the content that `id_to_bytes` made. Raises as `Document.from_bytes` does."""
    store_id = _read_header(data, _ID_FORMAT, path)["id"]
    if data != id_to_bytes(store_id):
        raise corrupt(path, "it does not match its checksum")
    return str(store_id)


def corrupt(path: Path, what: str) -> StateCorruptError:
    return StateCorruptError(
        f"{path} is damaged: {what}. Nothing was changed; restore a backup of it, or move it away and start with "
        "--on-missing-state rebuild, which builds the state from the log again"
    )


def _header(document: Document) -> dict[str, Any]:
    stored = document.stored
    header = {
        "format": _UNIT_FORMAT,
        "format_version": _FORMAT_VERSION,
        "group": stored.unit.group,
        "plugin": stored.unit.plugin,
        "topic": stored.unit.topic,
        "partition": stored.unit.partition,
        "epoch": stored.epoch,
        "version": stored.version,
        **to_json(stored),
        "sizes": {name: _sizes(table, document.bodies.get(name)) for name, table in sorted(stored.tables.items())},
    }
    return {**header, "checksum": _checksum(header)}


def _sizes(table: StoredTable, body: bytes | None) -> dict[str, Any]:
    if body is None:
        return {"keys": table.keys, "bytes": None}
    return {"keys": table.keys, "bytes": len(body), "checksum": f"{checksum((), body):08x}"}


def _stored_table(keys: int, body: bytes | None) -> StoredTable:
    return StoredTable(keys, len(body or b""), len(body or b""))


def _separators(header: dict[str, Any], names: Sequence[str]) -> list[bytes]:
    """The bytes before, between and after the bodies of the tables `names`, which are sorted: the state comes first."""
    line = _line(header)
    description = header["description"]
    if not names or description is None or description["codec"] != _JSON_CODEC:
        return [line + b"\n", *repeat(b"", len(names))]
    openings = [*_openings(names)]
    openings[0] = line[:-1] + openings[0]
    return [*openings, b"}\n" if names[-1] == STATE_TABLE else b"}}\n"]


def _openings(names: Sequence[str]) -> Iterator[bytes]:
    """Yields the text before each table in a JSON document."""
    first = True
    for name in names:
        if name == STATE_TABLE:
            yield b',\n"state": '
        else:
            yield (b',\n"tables": {' if first else b",\n") + _line(name) + b": "
            first = False


def _read_header(data: bytes, kind: str, path: Path) -> dict[str, Any]:
    """Parse and check the header in the first line."""
    line = data[: data.find(b"\n")]
    try:
        header = json.loads(line[:-1] + b"}" if line.endswith(b",") else line)
    except (ValueError, RecursionError) as error:
        raise corrupt(path, "its first line is not a header in JSON") from error
    if not isinstance(header, dict) or header.get("format") != kind:
        raise corrupt(path, f"its format is not {kind}")
    version = header.get("format_version")
    if isinstance(version, int) and version > _FORMAT_VERSION:
        raise StateIncompatibleError(
            f"{path} has format version {version}, but this framework reads version {_FORMAT_VERSION}. "
            "Nothing was changed; use the framework that wrote it"
        )
    if header.get("checksum") != _checksum({name: value for name, value in header.items() if name != "checksum"}):
        raise corrupt(path, "its first line does not match its checksum")
    return header


def _read_bodies(data: bytes, header: dict[str, Any], path: Path) -> dict[str, bytes]:
    """The bytes of each table, after checking every byte of the file."""
    sizes = {name: table for name, table in header["sizes"].items() if table["bytes"] is not None}
    first, *others = _separators(header, [*sizes])
    sound, position = data.startswith(first), len(first)
    bodies: dict[str, bytes] = {}
    for (name, table), separator in zip(sizes.items(), others, strict=True):
        end = position + table["bytes"]
        bodies[name] = data[position:end]
        sound = sound and data.startswith(separator, end) and table["checksum"] == f"{checksum((), bodies[name]):08x}"
        position = end + len(separator)
    if not sound or position != len(data):
        raise corrupt(path, "it does not match its checksums")
    return bodies


def _line(value: Any) -> bytes:
    return json.dumps(value).encode()


def _checksum(header: Mapping[str, Any]) -> str:
    return f"{checksum([json.dumps(header)]):08x}"
