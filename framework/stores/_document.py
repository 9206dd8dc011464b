"""What the `file` store's files hold, and how they look. No I/O.

The first line is a header in JSON. With codec `json` the whole file is one JSON document, in which the state
follows on the second line; with any other codec the state's bytes follow as they are.
"""

import json
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from framework.errors import InternalError, StateCorruptError, StateIncompatibleError
from framework.stores import Anchor, Checkpoint, Description, StoredUnit, Unit

__all__ = ["Document", "corrupt"]

_FORMAT = "framework-state"
_VERSION = 1
_JSON_CODEC = "json"
_STATE, _END = b'"state": ', b"}\n"


@dataclass(frozen=True, slots=True)
class Document:
    """A unit and its state's bytes; None where no state was saved yet."""

    stored: StoredUnit
    body: bytes | None

    def to_bytes(self) -> bytes:
        header = _header(self.stored, self.body)
        return _render({**header, "checksum": _checksum(header, self.body)}, self.body)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> "Document":
        """Raises `StateCorruptError` for any byte that `to_bytes` did not write, `StateIncompatibleError` for another
        format version; both name `path`."""
        line, _, rest = data.partition(b"\n")
        header = _parse_header(line, path)
        body = _body(line, rest, header.get("bytes"))
        unchecked = {name: value for name, value in header.items() if name != "checksum"}
        if header.get("checksum") != _checksum(unchecked, body) or _render(header, body) != data:
            raise corrupt(path, "it does not match its checksum")
        return cls(_stored(header), body)

    def claimed(self) -> "Document":
        """The next owner's."""
        return replace(self, stored=replace(self.stored, epoch=self.stored.epoch + 1))

    def saved(self, checkpoint: Checkpoint) -> "Document":
        """What the unit is after `checkpoint`. Raises `InternalError` for what comes in pieces."""
        if checkpoint.base or checkpoint.base_begins or checkpoint.base_ends or len(checkpoint.rows) > 1:
            raise InternalError(f"{checkpoint.unit}: pieces for a store that keeps no rows. Please report this")
        body = checkpoint.rows[0] if checkpoint.rows else self.body
        stored = replace(
            self.stored,
            description=checkpoint.description,
            last_offset=checkpoint.last_offset,
            position=checkpoint.position,
            keys=checkpoint.keys,
            bytes=len(body or b""),
            base_bytes=len(body or b""),
            saved_at=time.time(),
            anchor=checkpoint.anchor,
            missing_offsets=checkpoint.missing_offsets,
        )
        return Document(stored, body)


def corrupt(path: Path, what: str) -> StateCorruptError:
    return StateCorruptError(
        f"{path} is damaged: {what}. Nothing was changed; bring back a copy of it, or move it away to build the state "
        "anew from the log"
    )


def _header(stored: StoredUnit, body: bytes | None) -> dict[str, Any]:
    description = stored.description
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "codec": description and description.codec,
        "plugin": stored.unit.plugin,
        "state_version": description and description.state_version,
        "group": stored.unit.group,
        "topic": stored.unit.topic,
        "partition": stored.unit.partition,
        "partitions": description and description.partitions,
        "cluster_id": description and description.cluster_id,
        "topic_id": stored.anchor.topic_id,
        "anchor_timestamp": stored.anchor.timestamp,
        "anchor_checksum": stored.anchor.checksum,
        "missing_offsets": stored.missing_offsets,
        "epoch": stored.epoch,
        "keys": stored.keys,
        "bytes": None if body is None else len(body),
        "position": stored.position,
        "last_offset": stored.last_offset,
        "saved_at": stored.saved_at,
    }


def _stored(header: dict[str, Any]) -> StoredUnit:
    description = None
    if header["codec"] is not None:
        description = Description(header["codec"], header["state_version"], header["partitions"], header["cluster_id"])
    return StoredUnit(
        unit=Unit(header["group"], header["plugin"], header["topic"], header["partition"]),
        description=description,
        epoch=header["epoch"],
        last_offset=header["last_offset"],
        position=header["position"],
        keys=header["keys"],
        bytes=header["bytes"] or 0,
        base_bytes=header["bytes"] or 0,
        saved_at=header["saved_at"],
        anchor=Anchor(header["topic_id"], header["anchor_timestamp"], header["anchor_checksum"]),
        missing_offsets=header["missing_offsets"],
    )


def _render(header: dict[str, Any], body: bytes | None) -> bytes:
    line = json.dumps(header).encode()
    if body is None:
        return line + b"\n"
    if header.get("codec") == _JSON_CODEC:
        return line[:-1] + b",\n" + _STATE + body + _END
    return line + b"\n" + body


def _checksum(header: dict[str, Any], body: bytes | None) -> str:
    """CRC-32 finds every burst of up to 32 flipped bits; it guards against accident, not malice."""
    return f"{zlib.crc32(body or b'', zlib.crc32(json.dumps(header).encode())):08x}"


def _parse_header(line: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line[:-1] + b"}" if line.endswith(b",") else line)
    except (ValueError, RecursionError) as error:
        raise corrupt(path, "its first line is no header") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise corrupt(path, "it is no state file")
    version = header.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise StateIncompatibleError(
            f"{path} has format version {version}, but this framework reads version {_VERSION}. "
            "Nothing was changed; use the framework that wrote it"
        )
    return header


def _body(line: bytes, rest: bytes, size: int | None) -> bytes | None:
    if size is None:
        return None
    return rest[len(_STATE) : -len(_END)] if line.endswith(b",") else rest
