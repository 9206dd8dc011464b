"""The quiet collector."""

import gc

import pytest

from framework.runtime.collector import quiet_collector


def test_it_looks_less_often_and_is_as_it_was_afterwards():
    before = gc.get_threshold()
    with quiet_collector():
        assert gc.get_threshold()[0] > 10_000
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_it_is_as_it_was_after_an_error():
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="inside"), quiet_collector():
        raise ValueError("inside")
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
