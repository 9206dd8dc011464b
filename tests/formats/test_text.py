"""Text, numbers as text, UUIDs and bytes."""

import uuid

import pytest

from framework.formats import Format, FormatOptions
from framework.formats.text import Bytes, Float, Int, Utf8, Uuid
from framework.testing import FormatConformance

NO_OPTIONS = FormatOptions()


class TestBytes(FormatConformance):
    samples = [(b"\xff\x00", b"\xff\x00"), (b"", b"")]
    unwritable = ["text", 5]

    @pytest.fixture
    def form(self) -> Format:
        return Bytes(NO_OPTIONS, "value")


class TestUtf8(FormatConformance):
    samples = [("grün".encode(), "grün"), (b"", "")]
    bad = [b"\xff"]
    unwritable = [b"bytes", 5, "\ud800"]

    @pytest.fixture
    def form(self) -> Format:
        return Utf8(NO_OPTIONS, "value")


class TestInt(FormatConformance):
    samples = [(b"-42", -42), (b"9" * 400, int("9" * 400))]
    bad = [b"", b"4.2", b"1_000", b"x", b"9" * 5000]
    unwritable = ["1", 1.5, True]

    @pytest.fixture
    def form(self) -> Format:
        return Int(NO_OPTIONS, "value")


class TestFloat(FormatConformance):
    samples = [(b"2.5e-1", 0.25), (b"3", 3.0)]
    bad = [b"", b"x", b"1_0.5"]
    unwritable = ["1", float("nan"), float("inf"), 10**400, True]

    @pytest.fixture
    def form(self) -> Format:
        return Float(NO_OPTIONS, "value")


class TestUuid(FormatConformance):
    samples = [(b"12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678"))]
    bad = [b"", b"1234", b"\xff" * 16]
    unwritable = ["12345678-1234-5678-1234-567812345678"]

    @pytest.fixture
    def form(self) -> Format:
        return Uuid(NO_OPTIONS, "value")
