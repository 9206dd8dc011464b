"""State files of aiokafka's example "local state and storing offsets outside of Kafka", which framework takes over.

The example counts the keys of a topic, and keeps `{"last_offset": 4, "counts": {"123123": 1}}` in a file
`my-partition-state-{topic}-{partition}.json` for each partition.
"""

import glob
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from framework.changes import base_row
from framework.codecs import Codec
from framework.errors import StateIncompatibleError, UsageError
from framework.records import TopicPartition
from framework.stores import STATE_TABLE, Changes, Checkpoint, Description, Progress, Store, StoredUnit, Unit

__all__ = ["SeedState", "read_seed_states", "save_seed_states"]

_FILE_NAME: Final = re.compile(r"my-partition-state-(?P<topic>[a-zA-Z0-9._-]+)-(?P<partition>0|[1-9][0-9]*)\.json")
_FIELDS: Final = {"last_offset", "counts"}


@dataclass(frozen=True, slots=True)
class SeedState:
    """The counts of one partition, up to its last offset (-1: none)."""

    file: Path
    partition: TopicPartition
    last_offset: int
    counts: dict[str, int]


def read_seed_states(pattern: str, topics: Sequence[str] = ()) -> list[SeedState]:
    """The states in the files that match a glob pattern, of these topics (of all, where none is named), in order.

    Raises `UsageError`, naming the file, where one of them is not as the example writes it.
    """
    files = {Path(name): _source(Path(name)) for name in sorted(glob.glob(pattern))}
    if not files:
        raise UsageError(f"no file matches {pattern}; quote the pattern, and check the directory")
    chosen = {file: source for file, source in files.items() if not topics or source.topic in topics}
    if not chosen:
        there = ", ".join(sorted({source.topic for source in files.values()}))
        raise UsageError(
            f"no file that matches {pattern} is of topic {' or '.join(topics)}; there are files of {there}"
        )
    _refuse_twins(chosen)
    return sorted((_read(file, source) for file, source in chosen.items()), key=lambda state: state.partition)


def _source(file: Path) -> TopicPartition:
    """A topic may have dashes; the partition is what follows the last one."""
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise UsageError(f"{file} is not named my-partition-state-TOPIC-PARTITION.json; narrow the pattern")
    return TopicPartition(match["topic"], int(match["partition"]))


def _refuse_twins(files: dict[Path, TopicPartition]) -> None:
    first: dict[TopicPartition, Path] = {}
    for file, source in files.items():
        if source in first:
            raise UsageError(f"{first[source]} and {file} are both of {source}; narrow the pattern to one of them")
        first[source] = file


def _read(file: Path, source: TopicPartition) -> SeedState:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} is not whole JSON: {error}; restore it, or leave it out to count anew") from error
    if problem := _problem(document):
        raise UsageError(f"{file} is not as the example writes it: {problem}; restore it, or leave it out")
    return SeedState(file, source, document["last_offset"], document["counts"])


def _problem(document: Any) -> str | None:
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        return "it must be an object with last_offset and counts, and nothing else"
    last_offset, counts = document["last_offset"], document["counts"]
    if type(last_offset) is not int or last_offset < -1:
        return f"last_offset is {last_offset!r}, not an offset or -1"
    if not isinstance(counts, dict):
        return "counts is not an object"
    for key, count in counts.items():
        if type(count) is not int or count < 0:
            return f"the count of {key!r} is {count!r}, not a whole number from 0"
    if last_offset == -1 and counts:
        return "it has counts although last_offset is -1"
    return None


def save_seed_states(
    store: Store, states: Mapping[Unit, SeedState], descriptions: Mapping[str, Description], codec: Codec
) -> None:
    """Store each state as its unit's first checkpoint; `descriptions` are by topic.

    Raises `StateIncompatibleError`, with nothing written, where a unit has state already; and what the store raises.
    """
    for group in {unit.group for unit in states}:
        for stored in store.stored(group):
            if stored.unit in states:
                _refuse_stored(stored.unit, stored)
    checkpoints = [
        _checkpoint(store, unit, state, descriptions[unit.topic], base_row(codec, state.counts))
        for unit, state in states.items()
    ]
    for outcome in store.save(checkpoints):
        if outcome.error is not None:
            raise outcome.error


def _refuse_stored(unit: Unit, stored: StoredUnit | None) -> None:
    if stored is not None and stored.description is not None:
        raise StateIncompatibleError(
            f"{unit} has state already, up to offset {stored.own_progress.last_offset}; nothing was taken over. "
            "Name another --group, or leave that partition's file out"
        )


def _checkpoint(store: Store, unit: Unit, state: SeedState, description: Description, body: bytes) -> Checkpoint:
    [claim] = store.claim([unit], _refuse_stored)
    changes = Changes(
        keys=len(state.counts),
        changed=len(state.counts),
        rows=() if store.keeps_rows else [body],
        base=[body] if store.keeps_rows else (),
        base_begins=store.keeps_rows,
        base_ends=store.keeps_rows,
    )
    return Checkpoint(
        unit=unit,
        epoch=claim.epoch,
        version=claim.previous.version + 1 if claim.previous else 1,
        progress={unit.topic_partition: Progress(state.last_offset, state.last_offset + 1)},
        description=description,
        tables={STATE_TABLE: changes},
    )
