"""Connections that are cut, slow, or open and dead."""

import time
from collections.abc import Iterator

import pytest

from tests.faults.application import SESSION_SECONDS, Application
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(seed=1) as proxy:
        yield proxy


@pytest.fixture
def running(proxy, kafka_jars, on_servers) -> Application:
    """Two workers that reach the broker through the proxy alone."""
    kafka = kafka_jars({"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"})
    proxy.target = int(kafka.bootstrap_servers.rpartition(":")[2])
    running: Application = on_servers(f"127.0.0.1:{proxy.port}", rate=1000)
    for _ in range(2):
        running.start().wait_for("assigned: ")
    return running


def test_connections_are_cut_slow_and_stalled(proxy, running):
    running.wait_for(1000)
    for _ in range(5):
        proxy.cut(0.5)
        running.wait_for(500)
    proxy.delay = 0.3
    running.wait_for(500)
    proxy.cut()
    running.wait_for(500)
    proxy.delay = 0
    for seconds in (1, 3 * SESSION_SECONDS):
        proxy.stall()
        time.sleep(seconds)
        proxy.flow()
        running.wait_for(500)
    assert proxy.cuts > 20
    running.finish()


def test_workers_killed_while_their_outputs_are_under_way(proxy, running):
    """What is not acknowledged never arrives, so no checkpoint may cover it."""
    for _ in range(3):
        running.wait_for(500)
        proxy.stall()
        time.sleep(0.3)
        for worker in list(running.workers):
            running.kill(worker)
        proxy.cut()
        proxy.flow()
        running.start()
    running.wait_for(500)
    running.finish()
