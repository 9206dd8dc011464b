"""MessagePack, by msgspec."""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from framework.formats import Format

__all__ = ["Msgpack"]

_decode = msgspec.msgpack.Decoder().decode


class Msgpack(Format):
    """MessagePack."""

    name: ClassVar = "msgpack"

    def read(self, data: bytes) -> Any:
        try:
            return _decode(data)
        except RecursionError:
            raise ValueError("nested too deep") from None

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        return [None if data is None else _decode(data) for data in column]

    def write(self, value: Any) -> bytes:
        return msgspec.msgpack.encode(value)
