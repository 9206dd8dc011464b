"""The broker forgets a group that is empty, and counts its generations from 1 again: what fences must be ours."""

import signal
import time

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from tests.faults.aim import stop

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

_FORGETS_SOON = {
    "offsets.retention.check.interval.ms": "3000",
    "offsets.retention.minutes": "1",  # the least that a broker takes
}


def test_a_group_that_was_forgotten(kafka_jars, on_servers):
    kafka = kafka_jars(_FORGETS_SOON)
    running = on_servers(kafka.bootstrap_servers, rate=500)
    zombie = running.start()
    zombie.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(500)
    stop(zombie.pid, in_a_write=False)
    heir = running.start()
    heir.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(500)
    running.terminate(heir)
    _wait_until_forgotten(kafka.bootstrap_servers, running.group)
    successor = running.start()
    successor.wait_for(f"assigned: {running.all_partitions}")
    running.wait_for(500)
    assert kafka.log.read_text().count(f"Stabilized group {running.group} generation 1 ") == 2
    zombie.signal(signal.SIGCONT)
    zombie.wait_for("assigned: ")
    running.wait_for(500)
    running.finish()


def _wait_until_forgotten(servers: str, group: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        described = admin.describe_consumer_groups([group])[group].result(60)
        if described.state == ConsumerGroupState.DEAD:
            return
        time.sleep(1)
    raise AssertionError(f"the broker still knows group {group}: {described.state}")
