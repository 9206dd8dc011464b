"""What the rows of a checkpoint hold, in a codec's bytes.

A piece of a base is a dict of keys to values. Changes are a list of two: a dict of the keys that changed with their
values, and the list of the keys that are gone. A key may stand in both, where it was deleted and then set again under
an equal key of another type, such as 1 and True. So the gone keys are removed first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from framework.codecs import Codec
from framework.errors import StateCorruptError

__all__ = ["base_row", "changes_row", "fold_rows"]

_ADVICE = "restore a backup, or start a new --group to build the state again from the log"


def base_row(codec: Codec, values: Mapping[Any, Any]) -> bytes:
    """A piece of a base. Raises what `codec.encode` raises."""
    return codec.encode(dict(values))


def changes_row(codec: Codec, present: Mapping[Any, Any], gone: Iterable[Any]) -> bytes:
    """Changes: the keys that are `present` with their values, and those that are gone. Raises what `codec.encode`
    raises."""
    return codec.encode([dict(present), list(gone)])


def fold_rows(codec: Codec, rows: Iterable[bytes], into: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """The table that rows in their order make up; `into` is changed where it is given.

    Raises `StateCorruptError` for a row that is neither a piece of a base nor changes, and what `rows` raises.
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
        raise StateCorruptError(f"a row of stored state has a key that cannot be one: {error}; {_ADVICE}") from error


def _decode(codec: Codec, row: bytes) -> Any:
    try:
        return codec.decode(row)
    except MemoryError:
        raise  # says nothing of the row
    except Exception as error:
        raise StateCorruptError(
            f"a row of stored state is not in codec {codec.name}: {str(error) or type(error).__name__}; {_ADVICE}"
        ) from error
