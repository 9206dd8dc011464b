"""Writers: the formats that outputs are encoded in."""

from typing import Any

import pytest

from framework.errors import OutputError
from framework.formats import Format, FormatOptions
from framework.plugins import load
from framework.runtime.writers import Writers
from tests.runtime.played import KINDS

make = load([]).format


class Odd(Format):
    """Writes what it is told to, or raises it."""

    name = "odd"

    def __init__(self, outcome: Any) -> None:
        super().__init__(FormatOptions(), "value")
        self.outcome = outcome

    def read(self, data: bytes) -> Any:
        return data

    def write(self, value: Any) -> bytes:
        if isinstance(self.outcome, type) and issubclass(self.outcome, BaseException):
            raise self.outcome
        return self.outcome  # type: ignore[no-any-return]


def writers(form: Format) -> Writers:
    return Writers({("value", "totals"): form}, make)


def test_the_topics_own_format_is_used_for_it_alone():
    chosen = writers(make("int64", "value", topic="totals"))
    assert chosen.of("value", "totals", None)(5) == (5).to_bytes(8, "big")
    assert chosen.of("value", "others", None)(5) == b"5"
    assert chosen.of("key", "totals", None)(5) == b"5"
    assert chosen.of("value", "totals", None)(None) is None


def test_a_call_may_name_a_format_or_a_type():
    chosen = writers(Odd(b"x"))
    assert chosen.of("value", "totals", "int64")(5) == (5).to_bytes(8, "big")
    assert chosen.of("value", "totals", dict[str, int])({"a": 1}) == b'{"a":1}'
    assert chosen.of("value", "totals", "int64") is chosen.of("value", "totals", "int64")


@pytest.mark.parametrize("declared", ["nothing", "avro", 5, []])
def test_a_format_that_cannot_be_used_is_an_error_of_the_output(declared):
    with pytest.raises(OutputError, match="value_format="):
        writers(Odd(b"x")).of("value", "totals", declared)


def test_a_format_that_must_be_opened_cannot_be_named_by_a_call():
    class Opened(Odd):
        async def open(self) -> None: ...

    with pytest.raises(OutputError, match="must be opened before the run"):
        Writers({}, lambda *args, **named: Opened(b"x")).of("value", "totals", "opened")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_format_raises_is_an_error_of_the_output(kind):
    with pytest.raises(OutputError, match="as odd"):
        writers(Odd(kind)).of("value", "totals", None)("text")


def test_an_interrupt_is_raised_on():
    with pytest.raises(KeyboardInterrupt):
        writers(Odd(KeyboardInterrupt)).of("value", "totals", None)("text")


def test_a_format_that_only_reads_says_so():
    with pytest.raises(OutputError, match="the format odd can only be read"):
        writers(Odd(NotImplementedError)).of("value", "totals", None)("text")


@pytest.mark.parametrize("outcome", ["text", None, bytearray(b"x"), 5])
def test_what_is_written_must_be_bytes(outcome):
    with pytest.raises(OutputError, match="not bytes"):
        writers(Odd(outcome)).of("value", "totals", None)("text")


def test_a_topic_that_is_none_is_left_to_the_check_of_the_output():
    assert writers(Odd(b"x")).of("value", 5, None)("a") == b"a"
    assert writers(Odd(b"x")).of("value", [], "int64")(5) == (5).to_bytes(8, "big")
