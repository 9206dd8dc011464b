"""Batches over rows are the same as batches of columns, whatever is read of them, and in whatever order."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Batch, TopicPartition
from framework.runtime.fetched import FetchedBatch
from framework.runtime.rows import DecodedRows

SOURCE = TopicPartition("orders", 3)
COLUMNS = ["offsets", "timestamps", "keys", "values", "headers"]

BYTES = st.none() | st.binary(max_size=3)
RECORDS = st.lists(
    st.builds(
        SimpleNamespace,
        step=st.sampled_from([1, 1, 1, 2]),
        timestamp=st.integers(0, 9),
        key=st.none() | st.text(max_size=2).map(str.encode),
        value=BYTES,
        headers=st.lists(st.tuples(st.text(max_size=2), BYTES), max_size=2),
    ),
    max_size=12,
)


@st.composite
def twins(draw: st.DrawFn) -> tuple[FetchedBatch, Batch]:
    records, offset = draw(RECORDS), 4
    for record in records:
        offset += record.step
        record.offset = offset
    end = offset + draw(st.integers(1, 2))
    plain = Batch(
        SOURCE,
        5,
        end,
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [tuple(record.headers) for record in records],
    )
    return FetchedBatch(SOURCE, 5, end, DecodedRows(records)), plain


def _assert_same(fetched: Batch, plain: Batch) -> None:
    assert (fetched.source, fetched.start, fetched.end, len(fetched)) == (
        plain.source,
        plain.start,
        plain.end,
        len(plain),
    )
    for name in COLUMNS:
        assert list(getattr(fetched, name)) == list(getattr(plain, name))
    assert list(fetched) == list(plain)
    assert [fetched[position] for position in range(len(plain))] == list(plain)


@given(twins(), st.sets(st.sampled_from(COLUMNS)), st.data())
def test_slices_and_columns(batches, read_first, data):
    fetched, plain = batches
    for name in read_first:
        getattr(fetched, name)
    _assert_same(fetched, plain)
    first, stop = sorted(data.draw(st.integers(0, len(plain))) for _ in range(2))
    _assert_same(fetched.slice(first, stop), plain.slice(first, stop))
    values = [object()] * len(plain)
    _assert_same(
        fetched.with_columns(values=values).slice(first, stop), plain.with_columns(values=values).slice(first, stop)
    )
    assert fetched.key_texts() == plain.key_texts()


@given(twins())
def test_columns_are_made_when_they_are_read(batches):
    fetched, _ = batches
    fetched._rows = None
    with pytest.raises(AttributeError):
        _ = fetched.values
    with pytest.raises(AttributeError, match="no rows"):
        _ = fetched.rows
