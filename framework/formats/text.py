"""Text, numbers and UUIDs as text, and plain bytes."""

import math
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from framework.formats import Format

__all__ = ["Bytes", "Float", "Int", "Utf8", "Uuid"]


class Bytes(Format):
    """The bytes, unchanged."""

    name: ClassVar = "bytes"
    reads_anything: ClassVar = True
    is_mutable = False

    def read(self, data: bytes) -> bytes:
        return data

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        return column

    def write(self, value: Any) -> bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(f"bytes are needed, not {type(value).__name__}")
        return bytes(value)


class Utf8(Format):
    """Text."""

    name: ClassVar = "utf8"
    reads_text: ClassVar = True
    is_mutable = False

    def read(self, data: bytes) -> str:
        return data.decode()

    def write(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"text is needed, not {type(value).__name__}")
        return value.encode()


class Int(Format):
    """A whole number as text."""

    name: ClassVar = "int"
    is_mutable = False

    def read(self, data: bytes) -> int:
        return int(_digits(data))

    def write(self, value: Any) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"an int is needed, not {type(value).__name__}")
        return b"%d" % value


class Float(Format):
    """A number as text."""

    name: ClassVar = "float"
    is_mutable = False

    def read(self, data: bytes) -> float:
        return float(_digits(data))

    def write(self, value: Any) -> bytes:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"a number is needed, not {type(value).__name__}")
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a finite number")
        return repr(number).encode()


class Uuid(Format):
    """A UUID as text, as Kafka's UUIDSerializer writes it."""

    name: ClassVar = "uuid"
    is_mutable = False

    def read(self, data: bytes) -> uuid.UUID:
        return uuid.UUID(data.decode())

    def write(self, value: Any) -> bytes:
        if not isinstance(value, uuid.UUID):
            raise TypeError(f"a UUID is needed, not {type(value).__name__}")
        return str(value).encode()


def _digits(data: bytes) -> bytes:
    if b"_" in data:  # only Python's grammar of numbers allows underscores
        raise ValueError(f"not a number: {data!r}")
    return data
