"""Dead letters, made and read back."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Record
from framework.dead_letters import DEAD_LETTER_HEADERS, REPLAY_HEADER, DeadLetter, to_dead_letter
from framework.output import OutputRecord

RECORD = Record("orders", 3, 17, 1_700_000_000_000, b"\xff", None, (("mine", b"x"), ("none", None), ("mine", b"y")))


def as_read(output: OutputRecord) -> Record:
    return Record(output.topic, 1, 5, 1_800_000_000_000, output.key, output.value, output.headers)


def read(output: OutputRecord) -> DeadLetter:
    letter = DeadLetter.of(as_read(output))
    assert letter is not None
    return letter


def test_what_it_tells():
    output = to_dead_letter("orders-bad", RECORD, "sumbykey", ValueError("no field amount"))
    assert (output.topic, output.key, output.value) == ("orders-bad", b"\xff", None)
    assert (output.partition, output.timestamp) == (None, None)
    assert output.headers[:3] == RECORD.headers
    assert tuple(name for name, _ in output.headers[3:]) == DEAD_LETTER_HEADERS
    letter = read(output)
    assert (letter.plugin, letter.origin, letter.offset) == ("sumbykey", ("orders", 3), 17)
    assert (letter.timestamp, letter.error, letter.message) == (RECORD.timestamp, "ValueError", "no field amount")


@given(
    st.binary() | st.none(), st.binary() | st.none(), st.lists(st.tuples(st.text(), st.none() | st.binary())), st.text()
)
def test_a_replay_is_the_record_as_it_came(key, value, headers, message):
    record = RECORD._replace(key=key, value=value, headers=tuple(headers))
    replay = read(to_dead_letter("bad", record, "plugin", ValueError(message))).to_replay(None)
    assert (replay.topic, replay.partition, replay.timestamp) == ("orders", 3, RECORD.timestamp)
    assert (replay.key, replay.value) == (key, value)
    assert replay.headers == (*headers, (REPLAY_HEADER, b"bad-1:5"))


def test_a_replay_to_another_topic_goes_by_key():
    replay = read(to_dead_letter("bad", RECORD, "plugin", ValueError())).to_replay("again")
    assert (replay.topic, replay.partition) == ("again", None)


def test_a_replay_that_fails_again_carries_one_replay_header():
    first = read(to_dead_letter("bad", RECORD, "plugin", ValueError())).to_replay(None)
    second = read(to_dead_letter("worse", RECORD._replace(headers=first.headers), "plugin", ValueError()))
    assert second.to_replay(None).headers == (*RECORD.headers, (REPLAY_HEADER, b"worse-1:5"))


def test_a_dead_letter_of_a_dead_letter_gives_back_the_first():
    first = as_read(to_dead_letter("bad", RECORD, "plugin", ValueError()))
    replay = read(to_dead_letter("worse", first, "rescuer", KeyError())).to_replay(None)
    assert (replay.topic, replay.partition) == ("bad", 1)
    assert replay.headers[:-1] == first.headers


def test_a_record_without_a_timestamp_is_replayed_without_one():
    letter = read(to_dead_letter("bad", RECORD._replace(timestamp=-1), "plugin", ValueError()))
    assert letter.to_replay(None).timestamp is None


@pytest.mark.parametrize(
    ("key", "value"), [(None, None), (None, b""), (b"", None), (b"", b""), (b"k", None), (None, b"v")]
)
def test_null_and_empty_stay_what_they_are(key, value):
    output = to_dead_letter("bad", RECORD._replace(key=key, value=value), "plugin", ValueError())
    assert (output.key, output.value) == (key, value)
    replay = read(output).to_replay(None)
    assert (replay.key, replay.value) == (key, value)


class UnprintableError(Exception):
    def __init__(self, error):
        self.error = error

    def __str__(self):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [ValueError(), MemoryError(), SystemExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_without_a_text_makes_a_letter_that_says_so(error):
    letter = read(to_dead_letter("bad", RECORD, "plugin", UnprintableError(error)))
    assert letter.error == "UnprintableError"
    assert letter.message == f"(its text cannot be shown: {type(error).__name__})"


def test_a_long_or_odd_message_makes_no_large_or_broken_header():
    letter = read(to_dead_letter("bad", RECORD, "plugin", ValueError("\ud800" + "x" * 5000)))
    assert letter.message.startswith("\\ud800xxx")
    assert len(letter.message) < 1100


@pytest.mark.parametrize("headers", [(), (("a", b"1"),) * 8, tuple((name, b"x") for name in DEAD_LETTER_HEADERS)])
def test_other_records_are_no_dead_letters(headers):
    assert DeadLetter.of(RECORD._replace(headers=headers)) is None
