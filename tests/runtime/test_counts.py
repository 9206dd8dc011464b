from framework.runtime.counts import Counts


def test_counts_add_up_by_name():
    assert Counts(3, 1).plus(Counts(late=4, applied=2)) == Counts(applied=5, failed=1, late=4)
