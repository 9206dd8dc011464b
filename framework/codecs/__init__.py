"""Codecs turn keys and values into bytes and back without loss, or refuse."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["Codec"]


class Codec(ABC):
    """One encoding of values. A subclass supports all types listed here, and refuses all others.

    Supported at any depth: None, bool, int of any size, float with NaN and ±inf, str, bytes, tuple, list, dict with
    keys of any of the hashable types, set, frozenset, datetime, date, timedelta, Decimal, UUID. A decoded value equals
    the encoded one and has the same type. Subclasses of these types are refused, because their type would be lost.

    Also refused: NaN as a key of a dict or an element of a set, or inside a tuple there, because NaN does not equal
    itself; and the same list, dict or set object at two places of a value, because decoding would make two of it.

    Both methods are called in the event loop's thread and in the store's thread, perhaps at the same time. So they must
    not block or wait, and calls must not share anything that they change, such as a buffer.
    """

    name: ClassVar[str]
    """Name of the codec, for `--codec`. It is stored with each unit."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Returns the bytes of a value. It is a dict of keys to values, or a list of such a dict and other data.

        Raises `CodecError` for a type that is not supported, with the type and its place in `value`; and for a value
        that is too large to be decoded. Must not change `value`, nor keep a reference to it.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """Returns a new value that equals the encoded one. Raises `CodecError` for bytes that `encode` did not return.

        The bytes may be damaged or come from elsewhere. No other exception than `CodecError` and `MemoryError` may be
        raised for them.
        """
