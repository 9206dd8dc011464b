"""Columns: the records of one fetch of a partition, from which columns are made when somebody asks for them."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, Protocol, Self

__all__ = ["Columns", "DecodedColumns"]


class Columns(Protocol):
    """Records in offset order. Each method makes a column anew; nulls are None."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: slice, /) -> Self:
        """Some of the columns."""

    def offsets(self) -> Sequence[int]:
        """A range where there are no gaps."""

    def timestamps(self) -> Sequence[int]:
        """In milliseconds since the epoch."""

    def keys(self) -> Sequence[bytes | None]: ...

    def values(self) -> Sequence[bytes | None]: ...

    def headers(self) -> Sequence[tuple[tuple[str, bytes | None], ...]]: ...

    def key_texts(self) -> Sequence[str | None]:
        """Keys as text. Raises `UnicodeDecodeError` where one is not UTF-8."""


class DecodedColumns:
    """Columns over the objects of aiokafka's decoder, or over its `ConsumerRecord`s: they have the same attributes."""

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, positions: slice, /) -> "DecodedColumns":
        return DecodedColumns(self._records[positions])

    def offsets(self) -> Sequence[int]:
        if not self._records:
            return ()
        first, last = self._records[0].offset, self._records[-1].offset
        if last - first + 1 == len(self._records):
            return range(first, last + 1)
        return list(map(_offset, self._records))

    def timestamps(self) -> Sequence[int]:
        return list(map(_timestamp, self._records))

    def keys(self) -> Sequence[bytes | None]:
        return list(map(_key, self._records))

    def values(self) -> Sequence[bytes | None]:
        return list(map(_value, self._records))

    def headers(self) -> Sequence[tuple[tuple[str, bytes | None], ...]]:
        return list(map(tuple, map(_headers, self._records)))

    def key_texts(self) -> Sequence[str | None]:
        return [None if key is None else key.decode() for key in map(_key, self._records)]


_offset: Final = attrgetter("offset")
_timestamp: Final = attrgetter("timestamp")
_key: Final = attrgetter("key")
_value: Final = attrgetter("value")
_headers: Final = attrgetter("headers")
