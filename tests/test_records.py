import copy
import gc
import importlib.util
import sys
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Batch, Record, TopicPartition
from framework import records as records_module

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
    with pytest.raises(ValueError, match="items"):
        list(Batch(SOURCE, 0, 2, [0, 1], [0, 0], ["a"], ["a", "b"], [(), ()]))


# ---- the two ways to make records

WAYS: dict[str, Any] = {"python": records_module.plain_rows}
if (speedups := importlib.util.find_spec("framework_speedups")) is not None:
    WAYS["c"] = importlib.import_module("framework_speedups").Rows
ITEMS = st.none() | st.integers() | st.text() | st.binary()


@pytest.fixture(params=WAYS)
def rows(request: pytest.FixtureRequest) -> Any:
    return WAYS[request.param]


def test_records_are_made_in_c_wherever_that_is_installed() -> None:
    assert records_module.rows is WAYS["c" if speedups else "python"]


@given(
    st.lists(st.tuples(st.integers(), ITEMS, ITEMS), max_size=6),
    st.integers(-5, 2**63),
    st.sampled_from([1, -1, 2, 2**40]),
    st.sampled_from([list, tuple]),
)
def test_both_ways_make_the_same_records(
    items: list[tuple[int, Any, Any]], first: int, step: int, kind: type[Any]
) -> None:
    offsets = range(first, first + step * len(items), step)
    columns = [kind(column) for column in zip(*items, strict=True)] or [kind()] * 3
    for own_offsets in (offsets, kind(offsets)):
        made = {
            name: list(way(Record, "orders", 3, own_offsets, *columns, kind([()] * len(items))))
            for name, way in WAYS.items()
        }
        expected = [Record("orders", 3, offset, *item, ()) for offset, item in zip(offsets, items, strict=True)]
        for found in made.values():
            assert found == expected
            assert all(type(record) is Record for record in found)


def test_a_record_is_one_of_python(rows: Any) -> None:
    [record] = rows(Record, "orders", 3, [7], [10], ["key"], [b"value"], [()])
    assert record._replace(value=b"other") == Record("orders", 3, 7, 10, "key", b"other", ())
    assert hash(record) == hash(Record("orders", 3, 7, 10, "key", b"value", ()))
    assert record.offset == 7
    assert copy.copy(record) == record


def test_columns_of_unequal_length_make_no_records(rows: Any) -> None:
    with pytest.raises(ValueError, match="items"):
        rows(Record, "orders", 3, [1], [2], [3, 4], [5], [()])


def test_a_column_that_becomes_shorter_is_an_error_or_the_end(rows: Any) -> None:
    keys = [1, 2, 3]
    records = rows(Record, "orders", 3, [1, 2, 3], [1, 2, 3], keys, [1, 2, 3], [()] * 3)
    next(records)
    keys.clear()
    with pytest.raises((IndexError, StopIteration)):
        next(records)


def test_what_is_no_column_is_an_error(rows: Any) -> None:
    with pytest.raises(TypeError):
        rows(Record, "orders", 3, 5, [], [], [], [])


def test_nothing_is_leaked(rows: Any) -> None:
    key = object()
    before = sys.getrefcount(key)
    for _ in range(100):
        records = rows(Record, "orders", 3, [1, 2], [1, 2], [key, key], [1, 2], [(), ()])
        next(records)
    del records
    gc.collect()
    assert sys.getrefcount(key) == before
