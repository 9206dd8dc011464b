"""A worker that is stopped for longer than its session, while another one takes over: it must change nothing."""

import signal
import time

import pytest

from tests.faults.aim import stop
from tests.faults.application import SESSION_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_a_zombie_changes_nothing(store, application):
    running = application(store=store)
    zombie = running.start()
    zombie.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    stop(zombie.pid, in_a_write=False)
    heir = running.start()
    heir.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    zombie.signal(signal.SIGCONT)
    zombie.wait_for("assigned: ")
    running.wait_for(2000)
    running.finish()


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_a_zombie_that_was_stopped_in_a_write(store, application):
    """Its heir waits for the write to end, and finds it done."""
    running = application(store=store)
    zombie = running.start()
    zombie.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    stop(zombie.pid, in_a_write=True)
    heir = running.start()
    heir.wait_for(f"assigned: {running.all_partitions}")
    time.sleep(SESSION_SECONDS)
    zombie.signal(signal.SIGCONT)
    running.wait_for(2000)
    running.finish()


def test_a_zombie_whose_heir_has_come_and_gone(application):
    """No rebalance tells it that somebody else has been there."""
    running = application()
    zombie = running.start()
    zombie.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    stop(zombie.pid, in_a_write=False)
    heir = running.start()
    heir.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    running.terminate(heir)
    zombie.signal(signal.SIGCONT)
    zombie.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(2000)
    running.finish()


def test_one_zombie_after_the_other(application):
    """Each is stopped at another moment: while it applies, stores, loads or hands over."""
    running = application()
    workers = [running.start(), running.start()]
    for turn in range(6):
        zombie = workers[turn % 2]
        running.wait_for(500 + 37 * turn)
        stop(zombie.pid, in_a_write=False)
        running.wait_for(500)
        zombie.signal(signal.SIGCONT)
    running.wait_for(1000)
    assert any("has claimed it" in message for worker in workers for message in worker.messages)
    running.finish()
