"""A codec as simulated processes use it: it fails now and then, and reads dicts in another order."""

from random import Random
from typing import Any

from framework.codecs import Codec
from framework.testing.simulation.foreign import Foreign

__all__ = ["SimulatedCodec"]


class SimulatedCodec(Codec):
    """Passes everything on to the codec under test. The order of a state's keys is unspecified, so it is shuffled."""

    def __init__(self, codec: Codec, random: Random, foreign: Foreign) -> None:
        self.name = codec.name  # type: ignore[misc]
        self._codec = codec
        self._random = random
        self._foreign = foreign

    def encode(self, value: Any) -> bytes:
        self._foreign.maybe("codec.encode")
        return self._codec.encode(value)

    def decode(self, data: bytes) -> Any:
        self._foreign.maybe("codec.decode")
        match self._codec.decode(data):
            case dict() as piece:
                return self._shuffled(piece)
            case [dict() as changed, gone]:
                return [self._shuffled(changed), gone]
            case other:
                return other

    def _shuffled(self, values: dict[Any, Any]) -> dict[Any, Any]:
        items = list(values.items())
        self._random.shuffle(items)
        return dict(items)
