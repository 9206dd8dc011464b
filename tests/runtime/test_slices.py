"""Slices: how many records are applied in one go, and for how long with undo."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.runtime.limits import Limits
from framework.runtime.slices import CarefulSlices, Caution, Pieces


def test_pieces_double_up_to_the_largest_where_nothing_is_sent():
    pieces = Pieces(1, 20, 100)
    sizes = []
    for _ in range(7):
        sizes.append(pieces.size)
        pieces.fit(pieces.size, 0)
    assert sizes == [1, 2, 4, 8, 16, 20, 20]
    assert Pieces(64, 20, 100).size == 20


@given(st.lists(st.integers(0, 500), min_size=1, max_size=50), st.integers(1, 200), st.integers(1, 64))
def test_a_piece_sends_no_more_than_it_should_where_records_send_alike(counts, most, largest):
    for count in counts:
        pieces = Pieces(1, largest, most)
        for _ in range(10):
            pieces.fit(pieces.size, pieces.size * count)
            assert 1 <= pieces.size <= largest
            assert pieces.size == 1 or pieces.size * count <= most


def test_slices_are_the_shorter_the_more_often_records_fail():
    often, seldom = CarefulSlices(Limits()), CarefulSlices(Limits())
    for _ in range(50):
        often.kept(10, 10e-6)
        often.failed()
        seldom.kept(10_000, 10_000e-6)
        seldom.failed()
    assert 1 <= often.size < 20 < seldom.size


def test_slices_grow_where_nothing_fails_and_are_never_empty():
    slices = CarefulSlices(Limits())
    for _ in range(100):
        slices.failed()
    assert slices.size == 1
    for _ in range(40):
        slices.kept(slices.size, 1e-6 * slices.size)
    assert slices.size > 32


def test_slices_can_do_with_a_clock_that_stands_still():
    slices = CarefulSlices(Limits())
    for _ in range(40):
        slices.kept(slices.size, 0.0)
    assert slices.size > 1000
    slices.failed()
    assert slices.size >= 1


LIMITS = Limits(careful_run=100, longest_careful_run=1_000)


def test_a_task_is_not_careful_before_anything_failed():
    assert not Caution(LIMITS).covers(0)


def test_a_failure_is_followed_by_a_careful_run():
    caution = Caution(LIMITS)
    caution.failed(50)
    assert [position for position in (51, 149, 150, 10**9) if caution.covers(position)] == [51, 149]
    caution.failed(10)
    assert caution.covers(149)


@pytest.mark.parametrize("rewinds", [1, 2, 4, 20, 1000])
def test_caution_grows_with_each_rewind_but_is_bounded(rewinds):
    caution = Caution(LIMITS)
    for _ in range(rewinds):
        caution.rewound(10_000)
    run = min(100 * 2 ** (rewinds - 1), 1_000)
    assert caution.covers(10_000 + run - 1)
    assert not caution.covers(10_000 + run)


def test_after_twenty_rewinds_a_task_is_fast_again_within_a_million_offsets():
    caution = Caution(Limits())
    for position in range(20):
        caution.rewound(position)
    assert not caution.covers(19 + 1_000_000)
