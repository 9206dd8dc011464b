"""Codecs turn keys and values into bytes and back without loss, or refuse."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["Codec"]


class Codec(ABC):
    """One encoding of values. A subclass names itself, and writes and reads all that follows.

    Supported, at any depth, and given back equal and of the same type: None, bool, int of any size, float with
    NaN and ±inf, str, bytes, tuple, list, dict with keys of any of the hashable ones, set, frozenset, datetime,
    date, timedelta, Decimal, UUID. Only these exact types: a subclass would come back as its base.

    Refused, besides: NaN as a key of a dict or an element of a set, also inside tuples, as it does not equal itself;
    and one list, dict or set that stands twice in a value, as it would come back as two.

    Both methods are called in the event loop's thread and in the store's thread, and may run in both at once. So they
    must not block or wait for anything, and must not share what they change, such as a buffer, between calls.
    """

    name: ClassVar[str]
    """For `--codec`, and in every stored unit."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """The bytes of a value. The runtime gives a dict of keys to values, or a list of such a dict and other data.

        Raises `CodecError`, naming the type and where in `value` it is, for anything not supported; and for a value
        that is too large to be read back. `value` must not be changed or kept.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """The value that `encode` was given, made anew. Raises `CodecError` for bytes that it did not write.

        The bytes may be damaged or foreign: whatever they hold, nothing but `CodecError` is raised, save `MemoryError`.
        """
