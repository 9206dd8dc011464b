"""The values that pass between the runtime and Kafka."""

import pytest

from framework.runtime.ports import Fetched, LogRange, OutOfRange
from tests.runtime.played import PARTITION, make_batch


@pytest.mark.parametrize(
    ("log_range", "text"),
    [
        (LogRange(0, 0), "no records, and goes on at offset 0"),
        (LogRange(7, 7, "id"), "no records, and goes on at offset 7"),
        (LogRange(7, 8), "offsets 7 to 7"),
        (LogRange(3, 20, "id"), "offsets 3 to 19"),
    ],
)
def test_a_log_tells_what_it_holds(log_range, text):
    assert str(log_range) == text


def test_what_was_fetched_knows_its_assignment():
    batch = make_batch(["a"])
    fetched = Fetched(iter([batch]), 4)
    assert (list(fetched), fetched.assignment) == ([batch], 4)


def test_what_is_out_of_range_is_named():
    error = OutOfRange([PARTITION])
    assert error.partitions == [PARTITION]
    assert "topic" in str(error)
