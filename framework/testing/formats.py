"""The conformance kit for formats: a pytest class that packages with a format of their own subclass."""

from collections.abc import Sequence
from copy import deepcopy
from random import Random
from typing import Any, ClassVar

import pytest

from framework.formats import Format

__all__ = ["FormatConformance"]


class FormatConformance:
    """Checks a format against the contract of `framework.Format`. Subclass it, in a module of tests::

        class TestHex(FormatConformance):
            samples = [(b"ff", 255)]
            bad = [b"", b"xyz"]

            @pytest.fixture
            def form(self):
                return Hex(HexOptions(), "value")

    The fixture `form` gives an opened format for reading, and for writing if `writes`.
    """

    samples: ClassVar[Sequence[tuple[bytes, Any]]]
    """Bytes, and the values that they stand for; at least one."""
    bad: ClassVar[Sequence[bytes]] = ()
    """Bytes that the format must refuse."""
    writes: ClassVar[bool] = True
    """Whether the format can encode values, so that `write` of a sample's value reads as that value again."""
    unwritable: ClassVar[Sequence[Any]] = ()
    """Values that the format must refuse to encode."""

    @pytest.fixture
    def form(self) -> Format:
        raise NotImplementedError("give the format to check, as the fixture `form`")

    def test_samples_are_read(self, form: Format) -> None:
        assert self.samples, "give at least one sample"
        for data, value in self.samples:
            read = form.read(data)
            assert read == value
            assert type(read) is type(value)

    def test_a_column_is_read_as_its_values_are(self, form: Format) -> None:
        column = [each for data, _ in self.samples for each in (data, None)]
        for begin in range(len(column)):
            read = list(form.read_column(column[begin:]))
            assert read == [None if data is None else form.read(data) for data in column[begin:]]
        assert list(form.read_column([])) == []

    def test_values_are_made_anew_if_they_can_be_changed(self, form: Format) -> None:
        for data, value in self.samples:
            first, second = form.read(data), form.read(data)
            assert first == second == value
            if not form.is_mutable:
                hash(first)  # so it cannot be changed in place
            elif isinstance(first, list | dict | set):
                assert first is not second

    def test_bad_bytes_are_a_value_error(self, form: Format) -> None:
        for data in self.bad:
            with pytest.raises(ValueError, match=r"\S"):
                form.read(data)
            with pytest.raises(Exception):  # noqa: B017, PT011 - the runtime takes any, and calls `read` then
                form.read_column([data])

    def test_bytes_that_end_early_are_a_value_error_if_anything(self, form: Format) -> None:
        for data, _ in self.samples:
            for end in range(min(len(data), 200)):
                _read_or_refuse(form, data[:end])

    def test_any_bytes_are_a_value_error_if_anything(self, form: Format) -> None:
        random = Random(0)
        for size in [*range(60)] * 10:
            _read_or_refuse(form, random.randbytes(size))
        for data, _ in self.samples:
            for _ in range(100 if data else 0):
                place = random.randrange(len(data))
                _read_or_refuse(form, data[:place] + random.randbytes(1) + data[place + 1 :])

    def test_what_is_written_is_read_again(self, form: Format) -> None:
        if not self.writes:
            with pytest.raises(NotImplementedError):
                form.write(self.samples[0][1])
            return
        for _, value in self.samples:
            before = deepcopy(value)
            written = form.write(value)
            assert type(written) is bytes
            assert value == before
            assert form.read(written) == value
            assert form.write(value) == written

    def test_values_that_cannot_be_written_are_refused(self, form: Format) -> None:
        for value in self.unwritable:
            with pytest.raises((TypeError, ValueError, OverflowError)):
                form.write(value)


def _read_or_refuse(form: Format, data: bytes) -> None:
    """Reads, or raises `ValueError`; every other error fails the test."""
    try:
        form.read(data)
    except ValueError:
        return
