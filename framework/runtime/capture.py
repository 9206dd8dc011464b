"""What a checkpoint writes of a state: the rows of what changed, and now and then the pieces of a new base."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from math import inf
from typing import Any, Final

from framework.codecs import Codec
from framework.errors import CodecError
from framework.state import State
from framework.stores import Checkpoint

__all__ = ["BaseBudget", "Capture"]

_FIRST_PIECE: Final = 2_000
_LARGEST_PIECE: Final = 5_000
"""Keys that are looked up and encoded in one go; how many follows how long that takes."""
_PIECE_SECONDS: Final = 0.005
_BASE_KEYS: Final = 80_000
"""Keys of new bases that a save carries, over all its checkpoints."""
_BASE_KEYS_PER_CHANGE: Final = 2
"""Keys of a new base that a checkpoint may carry in any case for each that it changes, so that bases keep up."""
_SETTLED_AT_ONCE: Final = 2_000
"""Keys: a millisecond or two."""
_LISTED_AT_ONCE: Final = 100_000
_BASE_FLOOR: Final = 1 << 20
"""Bytes of rows below which a new base is not worth it."""
_ROW_COST: Final = 128
"""Bytes that a row costs beyond its own: many small rows make a load slow, too."""


@dataclass(slots=True)
class BaseBudget:
    """What a save may spend on new bases; its checkpoints share it."""

    keys: int = field(default_factory=lambda: _BASE_KEYS)


class Capture:
    """Fills checkpoints of one state, in order; each must be stored before the next one.

    Everything is encoded in pieces, between which the event loop gets a turn; the state must not change meanwhile.
    Where rows outweigh the base, the next checkpoints carry a new base, some of it each, so that none costs much.
    """

    def __init__(self, codec: Codec, clock: Callable[[], float], *, keeps_rows: bool) -> None:
        """`keeps_rows`: whether the store wants changes, or the whole state each time."""
        self._codec = codec
        self._clock = clock
        self._keeps_rows = keeps_rows
        self._piece = _FIRST_PIECE
        self._base_keys: list[Any] | None = None
        """Those that a new base lacks yet, the next ones last."""
        self._base_bytes = 0
        self._row_bytes = 0
        self.rewrites = False
        """Whether the next checkpoint replaces all that is stored, as after a migration."""

    def begin(self, base_bytes: int, row_bytes: int) -> None:
        """Go on from what is stored: a claim voids a base that is not finished."""
        self._base_keys = None
        self._base_bytes, self._row_bytes = base_bytes, row_bytes

    async def fill(self, checkpoint: Checkpoint, state: State[Any, Any], budget: BaseBudget) -> Checkpoint:
        """The checkpoint, with what it writes of the state as it is now.

        Raises `CodecError`, naming the key, for a value that the codec cannot hold, and `TallyError` for one that was
        tallied but is no number.
        """
        while state.settle(_SETTLED_AT_ONCE):  # noqa: ASYNC110 - it is work, not waiting
            await asyncio.sleep(0)
        if not self._keeps_rows:
            changed, data = state.take_changed(), state.view()
            self.rewrites = False
            return replace(checkpoint, rows=[self._encode(data, data)], keys=len(data), changes=len(changed))
        if self.rewrites:
            return await self._anew(checkpoint, state)
        return await self._changes(checkpoint, state, budget)

    async def _anew(self, checkpoint: Checkpoint, state: State[Any, Any]) -> Checkpoint:
        changed, data = state.take_changed(), state.view()
        pieces = await self._base_pieces(await _listed(data), data, inf)
        self.rewrites = False
        self.begin(sum(map(len, pieces)), 0)
        checkpoint = replace(checkpoint, keys=len(data), changes=len(changed))
        return replace(checkpoint, base=pieces, base_begins=True, base_ends=True)

    async def _changes(self, checkpoint: Checkpoint, state: State[Any, Any], budget: BaseBudget) -> Checkpoint:
        changed, data = state.take_changed(), state.view()
        rows = await self._rows(changed, data)
        begins = self._base_keys is None and self._row_bytes > max(_BASE_FLOOR, self._base_bytes)
        if begins:
            self._base_keys = await _listed(data)
            self._base_bytes = self._row_bytes = 0
        self._row_bytes += sum(len(row) + _ROW_COST for row in rows)
        checkpoint = replace(checkpoint, rows=rows, keys=len(data), changes=len(changed))
        if self._base_keys is None:
            return checkpoint
        most = max(budget.keys, _BASE_KEYS_PER_CHANGE * len(changed))
        left = len(self._base_keys)
        base = await self._base_pieces(self._base_keys, data, most)
        budget.keys = max(0, budget.keys - (left - len(self._base_keys)))
        self._base_bytes += sum(map(len, base))
        ends = not self._base_keys
        if ends:
            self._base_keys = None
        return replace(checkpoint, base=base, base_begins=begins, base_ends=ends)

    async def _rows(self, changed: Collection[Any], data: Mapping[Any, Any]) -> list[bytes]:
        keys, rows = iter(changed), []
        began = self._clock()
        while chunk := list(islice(keys, self._piece)):
            present = {key: data[key] for key in chunk if key in data}
            gone = [key for key in chunk if key not in data] if len(present) < len(chunk) else []
            rows.append(self._encode([present, gone], present))
            began = await self._pause(began)
        return rows

    async def _base_pieces(self, keys: list[Any], data: Mapping[Any, Any], most: float) -> list[bytes]:
        """Some more of the new base, as of now, whose keys are taken away.

        Rows saved since it began bring it up to date when it is loaded.
        """
        pieces: list[bytes] = []
        began = self._clock()
        while most > 0 and keys:
            size = int(min(self._piece, most))
            chunk = keys[-size:]
            del keys[-size:]  # bit by bit: to free millions at once would stall the loop
            most -= size
            piece = {key: data[key] for key in chunk if key in data}
            pieces.append(self._encode(piece, piece))
            began = await self._pause(began)
        return pieces

    def _encode(self, value: Any, data: Mapping[Any, Any]) -> bytes:
        try:
            return self._codec.encode(value)
        except CodecError as error:
            raise self._named(data, error) from error

    async def _pause(self, began: float) -> float:
        """After a piece that was begun then: the loop gets a turn; pieces become smaller where this one took long, and
        larger where it did not. Gives when the next one begins.
        """
        seconds = self._clock() - began
        if seconds > 2 * _PIECE_SECONDS:
            self._piece = max(self._piece // 2, 1)
        elif seconds < _PIECE_SECONDS / 2:
            self._piece = min(2 * self._piece, _LARGEST_PIECE)
        await asyncio.sleep(0)
        return self._clock()

    def _named(self, data: Mapping[Any, Any], error: CodecError) -> CodecError:
        """The error with the key, which the codec knows only as a place."""
        for key, value in data.items():
            try:
                self._codec.encode({key: value})
            except CodecError as culprit:
                return CodecError(
                    f"codec {self._codec.name} cannot hold the state of key {key!r} (value of type "
                    f"{type(value).__name__}): {culprit}"
                )
        return error


async def _listed(data: Mapping[Any, Any]) -> list[Any]:
    """All keys, which must not change meanwhile."""
    keys: list[Any] = []
    each = iter(data)
    while len(keys) < len(data):
        keys.extend(islice(each, _LISTED_AT_ONCE))
        await asyncio.sleep(0)
    return keys
