"""Numbers as Kafka's serializers pack them."""

import struct

import pytest

from framework.formats import Format, FormatOptions
from framework.formats.packed import Double, Int32, Int64
from framework.testing import FormatConformance

NO_OPTIONS = FormatOptions()


class TestInt32(FormatConformance):
    samples = [(b"\xff\xff\xff\xfe", -2), (b"\x7f\xff\xff\xff", 2**31 - 1)]
    bad = [b"", b"\x00\x01", b"\x00" * 5]
    unwritable = [2**31, "1", 1.5, True]

    @pytest.fixture
    def form(self) -> Format:
        return Int32(NO_OPTIONS, "value")


class TestInt64(FormatConformance):
    samples = [(b"\x00\x00\x00\x01\x00\x00\x00\x00", 2**32)]
    bad = [b"\x00" * 4]
    unwritable = [2**63, None]

    @pytest.fixture
    def form(self) -> Format:
        return Int64(NO_OPTIONS, "value")


class TestDouble(FormatConformance):
    samples = [(struct.pack(">d", -0.5), -0.5)]
    bad = [b"1.5"]
    unwritable = ["1.5", 10**400]

    @pytest.fixture
    def form(self) -> Format:
        return Double(NO_OPTIONS, "value")
