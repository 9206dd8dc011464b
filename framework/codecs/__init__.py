"""Codecs turn keys and values into bytes and back without loss, or refuse."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["Codec"]


class Codec(ABC):
    """One encoding of values.

    Supported, at any depth, and given back equal and of the same type: None, bool, int of any size, float with
    NaN and ±inf, str, bytes, tuple, list, dict with keys of any of the hashable ones, set, frozenset, datetime,
    date, timedelta, Decimal, UUID. Only these exact types: a subclass would come back as its base.
    """

    name: ClassVar[str]
    """For `--codec`, and in every stored unit."""

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Raises `CodecError`, naming the type and where in `value` it is, for anything not supported."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """The value that `encode` was given. Raises `CodecError` for bytes that it did not write."""
