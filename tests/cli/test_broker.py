import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from framework.embedded.broker import is_embedded
from framework.embedded.feed import Feed
from framework.embedded.inputs import InputRecord
from framework.kafka.cluster import connect
from framework.testing.brokers.traffic import read_topic

COMMAND = (sys.executable, "-m", "framework", "broker")


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_runs_until_a_signal(kind: signal.Signals) -> None:
    with running() as process:
        address = first_line(process)
        process.send_signal(kind)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert stdout == ""
    assert f"export KAFKA_BOOTSTRAP_SERVERS={address}" in stderr
    assert "5 MB" in stderr
    assert "Traceback" not in stderr


async def test_it_listens_where_it_is_told_to() -> None:
    port = free_port()
    with running("--port", str(port)) as process:
        address = first_line(process)
        assert address == f"127.0.0.1:{port}"
        client = {"bootstrap_servers": address}
        cluster = await connect(client, ["t"], 30, creates_topics=True)
        assert is_embedded(cluster.cluster_id)
        await Feed("t", client).run([InputRecord(b"k", b"v", 1)])
        records = await asyncio.to_thread(read_topic, address, "t", committed=False)
        assert [(record.key, record.value) for record in records] == [(b"k", b"v")]
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "rror" not in stderr


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: cannot listen at port {port}: it is in use; choose another --port, or leave it out\n"
