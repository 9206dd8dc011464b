"""A thousand partitions in one group."""

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def test_a_thousand_partitions(application):
    running = application(partitions=1000, checkpoint_interval="1s")
    running.start().wait_for("assigned: ")
    running.wait_for(2000)
    second = running.start()
    second.wait_for("assigned: ")
    running.wait_for(2000)
    assert len(second.messages) < 100
    running.finish()
