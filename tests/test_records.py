from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Batch, Record, TopicPartition

SOURCE = TopicPartition("orders", 3)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Batches with gaps between, before and after their records."""
    steps = draw(st.lists(st.integers(1, 3), max_size=8))
    start = draw(st.integers(0, 5))
    offsets = [start + step - 1 for step in accumulate(steps)]
    end = (offsets[-1] + 1 if offsets else start) + draw(st.integers(0, 3))
    texts = [str(offset) for offset in offsets]
    headers = [((text, b""),) for text in texts]
    return Batch(SOURCE, start, end, offsets, [10 * offset for offset in offsets], texts, texts[::-1], headers)


def test_a_partition_is_written_as_kafka_does() -> None:
    assert str(SOURCE) == "orders-3"


@given(batches())
def test_a_batch_is_its_records(batch: Batch) -> None:
    records = list(batch)
    assert records == [batch[position] for position in range(len(batch))]
    assert [record.offset for record in records] == list(batch.offsets)
    for record, key, value in zip(records, batch.keys, batch.values, strict=True):
        assert record == Record(
            "orders", 3, record.offset, 10 * record.offset, key, value, ((str(record.offset), b""),)
        )


@given(batches(), st.data())
def test_slices_hold_every_record_once_and_meet(batch: Batch, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(batch)))) | {0, len(batch)})
    pieces = [batch.slice(first, stop) for first, stop in zip(cuts, [*cuts[1:], len(batch)], strict=True)]
    assert [record for piece in pieces for record in piece] == list(batch)
    assert pieces[0].start == batch.start
    assert pieces[-1].end == batch.end
    for piece, following in pairwise(pieces):
        assert piece.end == following.start
    for piece in pieces:
        assert all(piece.start <= offset < piece.end for offset in piece.offsets)


@given(batches())
def test_other_columns_leave_the_rest(batch: Batch) -> None:
    keys, values = [1] * len(batch), [2] * len(batch)
    other = batch.with_columns(keys=keys, values=values)
    assert (other.keys, other.values) == (keys, values)
    assert other.with_columns(keys=batch.keys, values=batch.values) == batch


def test_columns_of_unequal_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(Batch(SOURCE, 0, 2, [0, 1], [0, 0], ["a"], ["a", "b"], [(), ()]))
