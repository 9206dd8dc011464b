"""The plugins that are simulated, each beside its model: the same fold, written the plain way."""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from framework.errors import RecordError
from framework.output import Output
from framework.processor import API_VERSION, Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.testing.simulation.foreign import FOREIGN, Foreign

__all__ = ["DEAD_LETTER_TOPIC", "OUTPUT_TOPIC", "PLUGINS", "Model", "Remedy", "is_marked"]

OUTPUT_TOPIC = "outputs"
DEAD_LETTER_TOPIC = "dead-letters"

_State = MutableMapping[Any, Any]
_PRIME = 1_000_003


@dataclass(slots=True)
class Remedy:
    """The plugins' options: until somebody mends them, they fail on marked records."""

    foreign: Foreign
    mended: bool = False


def _mixed(checksum: int, offset: int, value: int) -> int:
    """A checksum that every record changes, so that one left out, twice or out of order shows."""
    return (checksum * 31 + offset * 7 + value) % _PRIME


class _Simulated(Processor):
    api_version = API_VERSION
    key_format = "int"
    value_format = "int"

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        options.foreign.maybe("plugin: __init__")

    async def open(self) -> None:
        self.options.foreign.maybe("plugin: open")

    async def close(self) -> None:
        self.options.foreign.maybe("plugin: close")

    def refuse_marked(self, offset: int, value: int | None) -> None:
        """Fail on a marked record, the same way each time: whatever is raised is that record's failure."""
        if is_marked(value) and not self.options.mended:
            kinds: tuple[type[BaseException], ...] = (RecordError, *FOREIGN, SystemExit, GeneratorExit)
            raise kinds[offset % len(kinds)]("this record is marked")


class Checksum(_Simulated):
    """A checksum a key; a null value deletes the key."""

    def process(self, record: Record, state: _State, out: Output) -> None:
        if record.value is None:
            state.pop(record.key, None)
        else:
            state[record.key] = _mixed(state.get(record.key, 0), record.offset, record.value)


class ChecksumNow(Checksum):
    """The next version of `Checksum`: the same, in a list."""

    state_version = 2

    def process(self, record: Record, state: _State, out: Output) -> None:
        if record.value is None:
            state.pop(record.key, None)
        else:
            checksum = state.setdefault(record.key, [0])
            checksum[0] = _mixed(checksum[0], record.offset, record.value)

    @classmethod
    def migrate(cls, state: _State, from_version: int) -> None:
        for key, value in list(state.items()):
            state[key] = [value]


class ChecksumBatch(_Simulated):
    """`Checksum` over columns; a marked record fails the batch when it is half applied."""

    def process_batch(self, batch: Batch, state: _State, out: Output) -> None:
        for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            if value is None:
                state.pop(key, None)
            else:
                state.update({key: _mixed(state.get(key, 0), offset, value)})
            self.refuse_marked(offset, value)


class ChecksumAsync(_Simulated):
    """`Checksum` with a pause between reading and writing."""

    async def process(self, record: Record, state: _State, out: Output) -> None:
        before = state.get(record.key, 0)
        state[record.key] = -1
        await asyncio.sleep(record.offset % 4 * 0.004)
        self.refuse_marked(record.offset, record.value)
        if record.value is None:
            del state[record.key]
        else:
            state[record.key] = _mixed(before, record.offset, record.value)


class Tail(_Simulated):
    """The last values of each key, in a list that is changed in place; fails with traces in it."""

    def process(self, record: Record, state: _State, out: Output) -> None:
        tail = state.setdefault(record.key, [])
        tail.append([record.offset, record.value])
        del tail[:-4]
        self.refuse_marked(record.offset, record.value)


class Forward(_Simulated):
    """Counts, and sends each count on; a record gives none to two outputs, a marked one fails after them.

    The oracle reads the record's offset from the timestamp of an output, and the output's index from its partition.
    """

    def process(self, record: Record, state: _State, out: Output) -> None:
        count = state[record.key] = state.get(record.key, 0) + 1
        for index in range(outputs_of(record.value)):
            out.send(OUTPUT_TOPIC, count, key=str(record.key), timestamp=record.offset, partition=index)
        self.refuse_marked(record.offset, record.value)


class ForwardBatch(_Simulated):
    """`Forward` over columns."""

    def process_batch(self, batch: Batch, state: _State, out: Output) -> None:
        for position in range(len(batch)):
            record = batch[position]
            if is_marked(record.value) and not self.options.mended and record.offset % 2:
                out.refuse(position, RecordError("this record is marked"))
                continue
            count = state[record.key] = state.get(record.key, 0) + 1
            for index in range(outputs_of(record.value)):
                key, at = str(record.key), record.offset
                out.send(OUTPUT_TOPIC, count, key=key, timestamp=at, partition=index, position=position)
            self.refuse_marked(record.offset, record.value)


class TallyBatch(_Simulated):
    """Counts by `tally`, and refuses marked records; a null value deletes the key."""

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if is_marked(value) and not self.options.mended:
                out.refuse(position, RecordError("this record is marked"))
            elif value is None:
                state.pop(key, None)
            else:
                state.tally([key])


def is_marked(value: int | None) -> bool:
    """Whether a plugin that can fail fails on it."""
    return value is not None and value < 0


def outputs_of(value: int | None) -> int:
    """How many outputs a record has."""
    return 0 if value is None else value % 3


# The models. A fold changes the state by one record, and gives the outputs' bodies.

_Fold = Callable[[dict[Any, Any], int, Any, Any], list[Any]]


def _fold_checksum(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = (state.get(key, 0) * 31 + offset * 7 + value) % _PRIME
    return []


def _fold_tail(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    state[key] = [*state.get(key, []), [offset, value]][-4:]
    return []


def _fold_forward(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    state[key] = state.get(key, 0) + 1
    return [[offset, state[key], index] for index in range(outputs_of(value))]


def _fold_tally(state: dict[Any, Any], offset: int, key: Any, value: Any) -> list[Any]:
    if value is None:
        state.pop(key, None)
    else:
        state[key] = state.get(key, 0) + 1
    return []


@dataclass(frozen=True, slots=True)
class Model:
    """A plugin and what it should do."""

    name: str
    processor: type[Processor]
    fold: _Fold
    can_fail: bool
    """Whether it fails on marked records."""
    successor: type[Processor] | None = None
    """What a rolling upgrade replaces it with."""
    upgraded: Callable[[Mapping[Any, Any]], dict[Any, Any]] = field(default=dict)
    """The state as the successor has it."""


def _in_lists(state: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: [deepcopy(value)] for key, value in state.items()}


PLUGINS = (
    Model("checksum", Checksum, _fold_checksum, can_fail=False, successor=ChecksumNow, upgraded=_in_lists),
    Model("checksum-batch", ChecksumBatch, _fold_checksum, can_fail=True),
    Model("checksum-async", ChecksumAsync, _fold_checksum, can_fail=True),
    Model("tail", Tail, _fold_tail, can_fail=True),
    Model("forward", Forward, _fold_forward, can_fail=True),
    Model("forward-batch", ForwardBatch, _fold_forward, can_fail=True),
    Model("tally-batch", TallyBatch, _fold_tally, can_fail=True),
)
