"""Outputs of a part of a batch."""

from collections.abc import Sequence
from typing import Any

from framework.output import Output

__all__ = ["Positioned"]


class Positioned(Output):
    """Translates positions in a part of a batch into positions in the batch."""

    __slots__ = ("_out", "_positions")

    def __init__(self, out: Output, positions: Sequence[int]) -> None:
        """`positions`: of the part's records, in the batch."""
        self._out = out
        self._positions = positions

    def send(self, topic: str, value: Any, *, position: int | None = None, **others: Any) -> None:
        """As `Output.send`. Without `position`, it comes from the first record of the part."""
        self._out.send(topic, value, position=self._positions[position or 0], **others)

    def refuse(self, position: int, error: Exception) -> None:
        """As `Output.refuse`."""
        self._out.refuse(self._positions[position], error)
