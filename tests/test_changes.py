from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.changes import base_row, changes_row, fold_rows
from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.errors import StateCorruptError
from framework.table import Table

KEYS = st.one_of(st.none(), st.integers(0, 5), st.text("ab", max_size=1))


@pytest.mark.parametrize("codec", [JsonCodec(), MsgpackCodec()], ids=lambda codec: codec.name)
@given(
    base=st.lists(st.dictionaries(KEYS, st.integers()), max_size=2),
    steps=st.lists(st.lists(st.tuples(KEYS, st.none() | st.integers()), max_size=5), max_size=4),
)
def test_base_and_changes_make_up_the_state(
    codec: Codec, base: list[dict[Any, int]], steps: list[list[tuple[Any, int | None]]]
) -> None:
    truth: dict[Any, int] = {}
    for piece in base:
        truth |= piece
    rows = [base_row(codec, piece) for piece in base]
    state: Table[Any, int] = Table(dict(truth))
    for step in steps:
        for key, value in step:
            if value is None:
                state.pop(key, None)
                truth.pop(key, None)
            else:
                state[key] = truth[key] = value
        changed, _ = state.take_changed()
        data = state.view()
        gone = [key for key in changed if key not in data]
        rows.append(changes_row(codec, {key: data[key] for key in changed if key in data}, gone))

    assert fold_rows(codec, rows) == truth


def test_rows_go_into_a_given_dict() -> None:
    codec = JsonCodec()
    data = {"a": 1, "b": 2}
    assert fold_rows(codec, [codec.encode([{"c": 3}, ["a"]])], data) is data
    assert data == {"b": 2, "c": 3}


@pytest.mark.parametrize("value", [7, None, [], [{}], [{}, [], {}, []], [[], {}], "{}"])
def test_another_shape_is_corrupt(value: Any) -> None:
    codec = JsonCodec()
    with pytest.raises(StateCorruptError, match="neither a piece of a base nor changes"):
        fold_rows(codec, [codec.encode(value)])


def test_bytes_of_no_codec_are_corrupt() -> None:
    with pytest.raises(StateCorruptError, match="codec json cannot read a row"):
        fold_rows(JsonCodec(), [b'{"a": '])
