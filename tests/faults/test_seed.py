"""What aiokafka's example makes of damaged files, for comparison: the measure itself must work."""

import pytest

from tests.faults.seed import PAGE, code_of, damage


@pytest.mark.skipif(not PAGE.exists(), reason="the page with the example is not beside this repository")
def test_the_example_takes_most_damage_for_state(tmp_path):
    result = damage(code_of(PAGE), tmp_path)
    assert result.tried == 9 * (result.tried // 9) > 600
    assert result.silently_wrong > result.tried / 2
