"""Numbers as Kafka's own serializers pack them: big-endian, of a fixed size."""

import struct
from typing import Any, ClassVar

from framework.formats import Format

__all__ = ["Double", "Int32", "Int64"]


class _Packed(Format):
    is_mutable = False
    _layout: ClassVar[struct.Struct]

    def read(self, data: bytes) -> Any:
        if len(data) != self._layout.size:
            raise ValueError(f"{len(data)} bytes where {self._layout.size} are needed")
        return self._layout.unpack(data)[0]

    def write(self, value: Any) -> bytes:
        if isinstance(value, bool):
            raise TypeError("a number is needed, not bool")
        try:
            return self._layout.pack(value)
        except (struct.error, OverflowError) as error:
            raise ValueError(str(error)) from error


class Int32(_Packed):
    """Kafka's IntegerSerializer: 4 bytes."""

    name: ClassVar = "int32"
    _layout: ClassVar = struct.Struct(">i")


class Int64(_Packed):
    """Kafka's LongSerializer: 8 bytes."""

    name: ClassVar = "int64"
    _layout: ClassVar = struct.Struct(">q")


class Double(_Packed):
    """Kafka's DoubleSerializer: IEEE 754, 8 bytes."""

    name: ClassVar = "double"
    _layout: ClassVar = struct.Struct(">d")
