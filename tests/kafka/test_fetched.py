"""Batches over columns are the same as batches of columns, whatever is read of them, and in whatever order."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Batch, TopicPartition
from framework.kafka.columns import Columns, DecodedColumns
from framework.kafka.fetched import FetchedBatch
from tests.kafka.batches import NEEDS_SPEEDUPS, SPEEDUPS, Row, default_batch

SOURCE = TopicPartition("orders", 3)
START = 5
COLUMNS = ["offsets", "timestamps", "keys", "values", "headers"]

BYTES = st.none() | st.binary(max_size=3)
RECORDS = st.lists(
    st.builds(
        Row,
        gap=st.sampled_from([0, 0, 0, 1]),
        timestamp=st.integers(0, 9),
        key=st.none() | st.text(max_size=2).map(str.encode),
        value=BYTES,
        headers=st.lists(st.tuples(st.text(max_size=2), BYTES), max_size=2).map(tuple),
    ),
    max_size=12,
)


def _offsets(records: Sequence[Row]) -> list[int]:
    return [START + number + sum(record.gap for record in records[: number + 1]) for number in range(len(records))]


def _decoded(records: Sequence[Row]) -> Columns:
    offsets = _offsets(records)
    objects = [
        SimpleNamespace(**record._asdict(), offset=offset) for record, offset in zip(records, offsets, strict=True)
    ]
    return DecodedColumns(objects)


def _native(records: Sequence[Row]) -> Columns:
    columns: Columns = SPEEDUPS.Columns(SPEEDUPS.batches(default_batch(START, records) if records else b""))
    return columns


KINDS = pytest.mark.parametrize(
    "columns_of", [_decoded, pytest.param(_native, marks=NEEDS_SPEEDUPS)], ids=["decoded", "speedups"]
)


def _twins(
    records: Sequence[Row], last_gap: int, columns_of: Callable[[Sequence[Row]], Columns]
) -> tuple[FetchedBatch, Batch]:
    offsets = _offsets(records)
    end = (offsets[-1] if offsets else START - 1) + last_gap + 1
    plain = Batch(
        SOURCE,
        START,
        end,
        offsets,
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.headers for record in records],
    )
    return FetchedBatch(SOURCE, START, end, columns_of(records)), plain


def _assert_same(fetched: Batch, plain: Batch) -> None:
    assert (fetched.topic_partition, fetched.start, fetched.end, len(fetched)) == (
        plain.topic_partition,
        plain.start,
        plain.end,
        len(plain),
    )
    for name in COLUMNS:
        assert list(getattr(fetched, name)) == list(getattr(plain, name))
    assert list(fetched) == list(plain)
    assert [fetched[position] for position in range(len(plain))] == list(plain)


@KINDS
@given(RECORDS, st.integers(0, 1), st.sets(st.sampled_from(COLUMNS)), st.data())
def test_slices_and_columns(columns_of, records, last_gap, read_first, data):
    fetched, plain = _twins(records, last_gap, columns_of)
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
    assert fetched.slice(first, stop).key_texts() == plain.slice(first, stop).key_texts()


@KINDS
def test_columns_are_made_when_they_are_read(columns_of):
    fetched, _ = _twins([Row()], 0, columns_of)
    kept = fetched.offsets
    del fetched._columns
    assert fetched.offsets is kept
    with pytest.raises(AttributeError, match="_columns"):
        _ = fetched.values


@KINDS
def test_keys_that_are_no_text(columns_of):
    fetched, plain = _twins([Row(key=b"a"), Row(key=b"\xff")], 0, columns_of)
    for batch in fetched, plain:
        with pytest.raises(UnicodeDecodeError):
            batch.key_texts()
