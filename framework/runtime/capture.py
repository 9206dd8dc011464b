"""What a checkpoint writes of a state: the rows of what changed, and now and then the pieces of a new base."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from framework.codecs import Codec
from framework.errors import CodecError
from framework.state import State
from framework.stores import Checkpoint

__all__ = ["Capture"]

_BASE_PIECE: Final = 20_000
"""Keys in a piece of a new base; about 10 ms to encode."""
_BASE_PIECES: Final = 4
"""Pieces that a checkpoint carries at the most."""
_BASE_FLOOR: Final = 1 << 20
"""Bytes of rows below which a new base is not worth it."""
_ROW_COST: Final = 128
"""Bytes that a row costs beyond its own: many small rows make a load slow, too."""


class Capture:
    """Fills checkpoints of one state, in order; each must be stored before the next one.

    Where rows outweigh the base, the next checkpoints carry a new base in pieces, so that none costs much.
    """

    def __init__(self, codec: Codec, *, keeps_rows: bool) -> None:
        """`keeps_rows`: whether the store wants changes, or the whole state each time."""
        self._codec = codec
        self._keeps_rows = keeps_rows
        self._base_keys: Iterator[Any] | None = None
        self._base_bytes = 0
        self._row_bytes = 0
        self.rewrites = False
        """Whether the next checkpoint replaces all that is stored, as after a migration."""

    def begin(self, base_bytes: int, row_bytes: int) -> None:
        """Go on from what is stored: a claim voids a base that is not finished."""
        self._base_keys = None
        self._base_bytes, self._row_bytes = base_bytes, row_bytes

    def fill(self, checkpoint: Checkpoint, state: State[Any, Any]) -> Checkpoint:
        """The checkpoint, with what it writes of the state as it is now.

        Raises `CodecError`, naming the key, for a value that the codec cannot hold.
        """
        if self.rewrites or not self._keeps_rows:
            return self._whole(checkpoint, state)
        return self._changes(checkpoint, state)

    def _whole(self, checkpoint: Checkpoint, state: State[Any, Any]) -> Checkpoint:
        body = self._encode(state.view(), state.view())
        state.take_changes()
        self.rewrites = False
        if not self._keeps_rows:
            return replace(checkpoint, row=body)
        self.begin(len(body), 0)
        return replace(checkpoint, base=[body], base_begins=True, base_ends=True)

    def _changes(self, checkpoint: Checkpoint, state: State[Any, Any]) -> Checkpoint:
        if state.changed:
            changed, gone = state.take_changes()
            checkpoint = replace(checkpoint, row=self._encode([changed, gone], changed))
        begins = self._base_keys is None and self._row_bytes > max(_BASE_FLOOR, self._base_bytes)
        if begins:
            self._base_keys = iter(list(state.view()))
            self._base_bytes = self._row_bytes = 0
        if checkpoint.row is not None:
            self._row_bytes += len(checkpoint.row) + _ROW_COST
        if self._base_keys is None:
            return checkpoint
        base, ends = self._next_pieces(self._base_keys, state.view())
        if ends:
            self._base_keys = None
        return replace(checkpoint, base=base, base_begins=begins, base_ends=ends)

    def _next_pieces(self, keys: Iterator[Any], data: Mapping[Any, Any]) -> tuple[list[bytes], bool]:
        """Some more of the new base, as of now: rows saved since it began bring it up to date when it is loaded."""
        pieces = []
        for _ in range(_BASE_PIECES):
            chunk = list(islice(keys, _BASE_PIECE))
            if chunk:
                piece = {key: data[key] for key in chunk if key in data}
                pieces.append(self._encode(piece, piece))
            if len(chunk) < _BASE_PIECE:
                break
        self._base_bytes += sum(map(len, pieces))
        return pieces, len(chunk) < _BASE_PIECE

    def _encode(self, value: Any, data: Mapping[Any, Any]) -> bytes:
        try:
            return self._codec.encode(value)
        except CodecError as error:
            raise self._named(data, error) from error

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
