"""Captures: encode the changes of a table for a checkpoint, and from time to time pieces of a new base."""

import asyncio
from collections.abc import Callable, Collection, Mapping, MutableSequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Any, Final

from framework.borders import describe, is_plugin_failure, message_of, shown
from framework.changes import base_row, changes_row
from framework.codecs import Codec
from framework.errors import CodecError
from framework.runtime.aliases import Aliases
from framework.runtime.expiry import NotedTable
from framework.runtime.limits import Limits
from framework.stores import Changes
from framework.table import Table, stored_key

__all__ = ["BaseBudget", "Capture"]

_BASE_KEYS_PER_CHANGE: Final = 2
"""Keys of a new base that a checkpoint may write for each changed key at least, so that the base gets finished."""


@dataclass(slots=True)
class BaseBudget:
    """Number of keys of new bases that a save may still write. All checkpoints of a save share it."""

    keys: int


class Capture:
    """Captures one table again and again. Each capture must be stored before the next one begins.

    Keys are encoded in pieces, with a turn of the event loop after each piece. The table must not change meanwhile.
    When the stored rows are larger than the base, each of the next captures brings a part of a new base, so that no
    single capture is expensive.
    """

    def __init__(self, codec: Codec, clock: Callable[[], float], limits: Limits, *, keeps_rows: bool) -> None:
        """`keeps_rows` is that of the store, see `Store.keeps_rows`. `clock` returns seconds."""
        self.rewrites = False
        """Whether the next capture replaces all stored rows of the table, as after a migration."""
        self._encoder = _Encoder(codec)
        self._clock = clock
        self._limits = limits
        self._keeps_rows = keeps_rows
        self._size = limits.first_row_keys
        self._base_keys: list[Any] | None = None
        """Keys that the new base does not have yet, taken from the end; None while no new base is written."""
        self._base_bytes = 0
        self._row_bytes = 0

    def begin(self, base_bytes: int, row_bytes: int) -> None:
        """Continue after a claim, which drops an unfinished base. The sizes are those of the stored base and rows."""
        self._base_keys = None
        self._base_bytes, self._row_bytes = base_bytes, row_bytes

    async def take(self, table: Table[Any, Any] | NotedTable, budget: BaseBudget) -> Changes:
        """Take the changes since the last call out of the table. Returns them encoded.

        Raises `CodecError`, with the key, for a value that the codec cannot encode, and `TallyError` for a tallied
        value that is not a number. The table has lost these changes then, so the caller must drop the table.
        """
        while table.add_tallies(self._limits.tallies_at_once):  # noqa: ASYNC110 - it is work, not waiting
            await asyncio.sleep(0)
        changed, deleted = table.take_changed()
        data = table.view()
        if not self._keeps_rows:
            self.rewrites = False
            return Changes(len(data), len(changed), rows=[self._encoder.base(data)])
        if self.rewrites:
            return await self._anew(data, len(changed))
        rows = await self._rows(changed, deleted, data)
        return await self._with_base(Changes(len(data), len(changed), rows), data, budget)

    async def _anew(self, data: Mapping[Any, Any], changed: int) -> Changes:
        pieces = await self._base_pieces(await self._listed(data), data, inf)
        self.rewrites = False
        self.begin(sum(map(len, pieces)), 0)
        return Changes(len(data), changed, base=pieces, base_begins=True, base_ends=True)

    async def _with_base(self, changes: Changes, data: Mapping[Any, Any], budget: BaseBudget) -> Changes:
        """The changes, with the next pieces of a new base if one is begun or due."""
        begins = self._base_keys is None and self._row_bytes > max(self._limits.base_floor, self._base_bytes)
        if begins:
            self._base_keys = await self._listed(data)
            self._base_bytes = self._row_bytes = 0
        self._row_bytes += sum(len(row) + self._limits.row_cost for row in changes.rows)
        if self._base_keys is None:
            return changes
        left = len(self._base_keys)
        most = max(budget.keys, _BASE_KEYS_PER_CHANGE * changes.changed)
        base = await self._base_pieces(self._base_keys, data, most)
        budget.keys = max(0, budget.keys - (left - len(self._base_keys)))
        self._base_bytes += sum(map(len, base))
        ends = not self._base_keys
        if ends:
            self._base_keys = None
        return Changes(changes.keys, changes.changed, changes.rows, base, begins, ends)

    async def _rows(self, changed: Collection[Any], deleted: Collection[Any], data: Mapping[Any, Any]) -> list[bytes]:
        keys, rows = iter(changed), []
        began = self._clock()
        while chunk := list(islice(keys, self._size)):
            present = {key: data[key] for key in chunk if key in data}
            gone = [key for key in chunk if key not in data] if len(present) < len(chunk) else []
            for key in [key for key in present if key in deleted] if deleted else ():
                gone.append(key)  # it may have been set again as an equal key of another type, such as True for 1
                present[stored_key(data, key)] = present.pop(key)
            rows.append(self._encoder.changes(present, gone, data))
            began = await self._pause(began)
        return rows

    async def _base_pieces(self, keys: MutableSequence[Any], data: Mapping[Any, Any], most: float) -> list[bytes]:
        """Encode up to `most` keys of the new base with their present values, and remove them from `keys`.

        A load applies the rows that were saved since the new base began on top of it, so later changes are not lost.
        """
        pieces: list[bytes] = []
        began = self._clock()
        while most > 0 and keys:
            size = int(min(self._size, most))
            chunk = keys[-size:]
            del keys[-size:]  # in pieces, because to free millions of keys at once would block the event loop
            most -= size
            present = {key: data[key] for key in chunk if key in data}
            pieces.append(self._encoder.base(present, data if self.rewrites else None))
            began = await self._pause(began)
        return pieces

    async def _pause(self, began: float) -> float:
        """Give the event loop a turn after a piece that began at `began`. Returns the time when the next one begins.

        Adapts the size of the next piece: smaller if this one took too long, larger if it was quick.
        """
        seconds = self._clock() - began
        if seconds > 2 * self._limits.row_seconds:
            self._size = max(self._size // 2, 1)
        elif seconds < self._limits.row_seconds / 2:
            self._size = min(2 * self._size, self._limits.largest_row_keys)
        await asyncio.sleep(0)
        return self._clock()

    async def _listed(self, data: Mapping[Any, Any]) -> list[Any]:
        """All keys as a list. The data must not change meanwhile."""
        keys: list[Any] = []
        each = iter(data)
        while len(keys) < len(data):
            keys.extend(islice(each, self._limits.listed_at_once))
            await asyncio.sleep(0)
        return keys


class _Encoder:
    """Encodes rows. Its errors name the key."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._aliases = Aliases()

    def base(self, data: Mapping[Any, Any], whole: Mapping[Any, Any] | None = None) -> bytes:
        """Encode a piece of a base. `whole` is the table that it belongs to if aliases must be searched for.

        Without `whole`, the values were checked when a row of changes held them.
        """
        if whole is not None:
            self._aliases.check(data, whole)
        try:
            return base_row(self._codec, data)
        except BaseException as error:
            raise self._named(data, error) from error

    def changes(self, present: Mapping[Any, Any], gone: Collection[Any], data: Mapping[Any, Any]) -> bytes:
        self._aliases.check(present, data)
        try:
            return changes_row(self._codec, present, gone)
        except BaseException as error:
            raise self._named({**present, **dict.fromkeys(gone)}, error) from error

    def _named(self, data: Mapping[Any, Any], error: BaseException) -> BaseException:
        """The error with the key that caused it. The codec knows only a place in the row."""
        if not is_plugin_failure(error):
            return error
        for key, value in data.items():
            try:
                base_row(self._codec, {key: value})
            except BaseException as culprit:
                if not is_plugin_failure(culprit):
                    return culprit
                return CodecError(
                    f"codec {self._codec.name} cannot hold the state of key {shown(key)} (value of type "
                    f"{type(value).__name__}): {_reason(culprit)}"
                )
        return CodecError(f"codec {self._codec.name} cannot hold {len(data)} keys in one row: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return message_of(error) if isinstance(error, CodecError) else describe(error)
