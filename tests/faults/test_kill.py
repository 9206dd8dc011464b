"""Workers killed at random while others join: nothing is lost, nothing is counted twice."""

import random

import pytest

from tests.faults.kill import Storm

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.mark.parametrize(("store", "seconds"), [("sqlite", 50), ("file", 20)])
def test_workers_killed_at_random(store, seconds, application):
    storm, running = Storm(), application(store=store)
    storm.blow(running, seconds, random.Random(1))
    running.finish()
    assert storm.kills > seconds / 5
    assert running.assignments > storm.kills / 2
    assert storm.checks > 0
