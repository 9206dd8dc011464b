"""The broker goes away and comes back: workers go on by themselves, and every count is right."""

import time

import pytest

from tests.faults.application import SESSION_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def test_the_broker_goes_away_and_comes_back(kafka, on_servers):
    running = on_servers(kafka.bootstrap_servers)
    for _ in range(2):
        running.start().wait_for("assigned: ")
    running.wait_for(2000)
    for end, seconds in ((kafka.stop, 0), (kafka.kill, 0), (kafka.stop, 3 * SESSION_SECONDS)):
        end()
        time.sleep(seconds)
        kafka.start()
        running.wait_for(2000)
    running.finish()


def test_the_broker_is_away_while_a_worker_starts(kafka, on_servers):
    running = on_servers(kafka.bootstrap_servers)
    running.start().wait_for("assigned: ")
    running.wait_for(1000)
    kafka.stop()
    second = running.start()
    second.wait_for("no broker at")
    kafka.start()
    second.wait_for("assigned: ")
    running.wait_for(1000)
    running.finish()
