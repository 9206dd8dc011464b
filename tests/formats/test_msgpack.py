"""MessagePack."""

import msgpack
import pytest

from framework.formats import Format, FormatOptions
from framework.formats.msgpack import Msgpack
from framework.testing import FormatConformance


class TestMsgpack(FormatConformance):
    samples = [(msgpack.packb({"a": [1, 2.5, None, b"x"]}), {"a": [1, 2.5, None, b"x"]}), (b"\x05", 5)]
    bad = [b"", b"\xc1", msgpack.packb([1, 2])[:-1], msgpack.packb("a") * 2, b"\x91" * 10_000 + b"\x01"]
    unwritable = [object(), 2**70]

    @pytest.fixture
    def form(self) -> Format:
        return Msgpack(FormatOptions(), "value")
