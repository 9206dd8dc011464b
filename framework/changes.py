"""The format of the rows of a checkpoint. A codec encodes each row.

A row with a piece of a base is a dict of keys to values. A row of changes is a list of two: a dict of changed keys with
their values, and a list of deleted keys. A key may be in both, if it was deleted and then set again as an equal key of
another type, such as 1 and True. So deleted keys are removed first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from framework.codecs import Codec
from framework.errors import StateCorruptError

__all__ = ["base_row", "changes_row", "fold_rows"]

_ADVICE = "restore a backup, or start a new --group to build the state again from the log"


def base_row(codec: Codec, values: Mapping[Any, Any]) -> bytes:
    """Encode a piece of a base. Raises as `codec.encode` does."""
    return codec.encode(dict(values))


def changes_row(codec: Codec, present: Mapping[Any, Any], gone: Iterable[Any]) -> bytes:
    """Encode changes: changed keys that are `present`, with their values, and keys that are `gone`.

    Raises as `codec.encode` does.
    """
    return codec.encode([dict(present), list(gone)])


def fold_rows(codec: Codec, rows: Iterable[bytes], into: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """Decode rows and apply them in order. Returns `into`, changed, or a new dict if it is None.

    Raises `StateCorruptError` for a row that is neither a piece of a base nor changes, and any exception of `rows`.
    """
    data: dict[Any, Any] = {} if into is None else into
    for row in rows:
        match _decode(codec, row):
            case dict() as piece:
                data.update(piece)
            case [dict() as present, list() as gone]:
                _remove(gone, data)
                data.update(present)
            case other:
                name = type(other).__name__
                raise StateCorruptError(
                    f"a row of stored state is a {name}, neither a piece of a base nor changes; {_ADVICE}"
                )
    return data


def _remove(gone: list[Any], data: dict[Any, Any]) -> None:
    try:
        for key in gone:
            data.pop(key, None)
    except TypeError as error:
        raise StateCorruptError(f"a row of stored state has an invalid key: {error}; {_ADVICE}") from error


def _decode(codec: Codec, row: bytes) -> Any:
    try:
        return codec.decode(row)
    except MemoryError:
        raise  # the row may be sound
    except Exception as error:
        raise StateCorruptError(
            f"codec {codec.name} cannot read a row of stored state: {str(error) or type(error).__name__}; {_ADVICE}"
        ) from error
