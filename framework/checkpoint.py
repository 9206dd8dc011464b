"""What the rows of a checkpoint hold, in a codec's bytes.

A piece of a base is a dict of keys to values; changes are a list of two: such a dict, and the keys that are gone.
"""

from collections.abc import Iterable
from typing import Any

from framework.codecs import Codec
from framework.errors import CodecError, StateCorruptError

__all__ = ["fold_rows"]


def fold_rows(codec: Codec, rows: Iterable[bytes], into: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """The state that rows in their order make up; `into` is changed where it is given.

    Raises `StateCorruptError` for a row that is neither a piece of a base nor changes, and what `rows` raises.
    """
    data: dict[Any, Any] = {} if into is None else into
    for row in rows:
        match _decode(codec, row):
            case dict() as piece:
                data.update(piece)
            case [dict() as changed, list() as gone]:
                data.update(changed)
                for key in gone:
                    data.pop(key, None)
            case other:
                raise StateCorruptError(
                    f"a row of stored state is a {type(other).__name__}, neither a piece of a base nor changes; "
                    "restore a backup, or start a new --group to build the state again from the log"
                )
    return data


def _decode(codec: Codec, row: bytes) -> Any:
    try:
        return codec.decode(row)
    except CodecError as error:
        raise StateCorruptError(f"a row of stored state is not in codec {codec.name}: {error}") from error
