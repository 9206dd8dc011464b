"""Decoding: whole columns, and what is wrong with those records that cannot be decoded."""

from dataclasses import replace
from typing import Any

import pytest

from framework import DeserializationError
from framework.formats import Format, FormatOptions
from framework.plugins import load
from framework.policy import ErrorPolicy
from framework.runtime.decoding import Decoder
from framework.runtime.formats import Formats
from tests.runtime.played import KINDS, NO_WRITERS, definition_of, make_batch

SKIP = ErrorPolicy("skip")


def decoder(**chosen: Any) -> Decoder:
    return Decoder(definition_of(**chosen))


def test_columns_are_decoded_and_the_rest_stays():
    raw = make_batch(["a", None], at=7, values=[b"1", b"[2]"])
    batch, refused = decoder(value_format="json").decode(raw)
    assert (batch.keys, batch.values, batch.offsets, refused) == (["a", None], [1, [2]], [7, 8], [])


def test_a_column_that_reads_anything_is_not_touched():
    raw = make_batch([b"\xff"], values=[b"\xff"])
    batch, refused = decoder(key_format="bytes").decode(raw)
    assert batch.keys is raw.keys
    assert batch.values is raw.values
    assert refused == []


def test_what_cannot_be_decoded_is_told_by_position_with_its_reason():
    raw = make_batch(["a", b"\xff", "c", b"\xff"], at=7, values=[b"{", b"2", b"3", b"x"])
    batch, refused = decoder(value_format="json", on_error=SKIP).decode(raw)
    assert [(position, str(error).partition(":")[0]) for position, error in refused] == [
        (0, "topic-0 offset 7"),
        (1, "topic-0 offset 8"),
        (3, "topic-0 offset 10"),
    ]
    assert all(isinstance(error, DeserializationError) for _, error in refused)
    assert "the value is not json" in str(refused[0][1])
    assert "the key is not utf8" in str(refused[1][1])
    assert (batch.keys[2], batch.values[1], batch.values[2]) == ("c", 2, 3)


@pytest.mark.parametrize(("policy", "advised"), [(ErrorPolicy(), True), (SKIP, False)])
def test_the_advice_is_given_where_it_stops(policy, advised):
    raw = make_batch([b"\xff"], values=[b"x"])
    for part, chosen in (("key", {}), ("value", {"key_format": "bytes", "value_format": "int"})):
        [(_, error)] = decoder(on_error=policy, **chosen).decode(raw)[1]
        assert (f"set --{part}-format, or --on-error" in str(error)) is advised


class Failing(Format):
    """A format that fails as a whole, and on some values, with any kind."""

    name = "failing"
    is_mutable = False

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__(FormatOptions(), "value")
        self.kind = kind

    def read(self, data: bytes) -> Any:
        if data == b"bad":
            raise self.kind
        return data.decode()

    def read_column(self, column: Any) -> Any:
        return [self.read(data) for data in column]


def failing(kind: type[BaseException]) -> Decoder:
    form = Failing(kind)
    definition = definition_of(on_error=SKIP)
    return Decoder(replace(definition, formats=Formats(definition.formats.key, form, {}, NO_WRITERS)))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_format_raises_is_that_records_failure(kind):
    batch, [(position, error)] = failing(kind).decode(make_batch(["a"] * 3, values=[b"1", b"bad", None]))
    assert position == 1
    assert "topic-0 offset 1: the value is not failing" in str(error)
    assert (kind.__name__ in str(error)) is not issubclass(kind, ValueError)
    assert (batch.values[0], batch.values[2]) == ("1", None)


def test_an_interrupt_is_raised_on():
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt).decode(make_batch(["a"], values=[b"bad"]))


def test_values_that_a_try_may_have_changed_are_decoded_again():
    raw = make_batch(["a"] * 4, values=[b"[0]", b"[1]", b"[2]", b"[3]"])
    decode = decoder(value_format="json")
    batch, _ = decode.decode(raw)
    for value in batch.values:
        value.append("changed")
    piece = batch.slice(1, 4)
    again = decode.decode_again(piece, 2, raw)
    assert again.values == [[1], [2], [3, "changed"]]
    assert again.keys == ["a"] * 3
    assert decode.decode_again(batch.slice(1, 3), 99, raw).values == [[1], [2]]


def test_values_that_cannot_change_are_not_decoded_again():
    raw = make_batch(["a"], values=[b"1"])
    decode = decoder(value_format="int")
    batch, _ = decode.decode(raw)
    assert decode.decode_again(batch, 1, raw) is batch
    assert not load([]).format("int", "value").is_mutable
