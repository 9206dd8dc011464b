"""The main job on Kafka in a container, as a user with Docker would try it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from framework.testing.brokers import Docker
from framework.testing.brokers.traffic import create_topic, produce

pytestmark = pytest.mark.docker


def framework(*arguments: str) -> str:
    """What the command prints, where it ends well."""
    command = [sys.executable, "-m", "framework", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout


@pytest.mark.skipif("KAFKA_IMAGE" not in os.environ, reason="KAFKA_IMAGE names no image")
def test_keys_are_counted_on_kafka_in_a_container(tmp_path: Path) -> None:
    keys = [f"key-{index % 7}" for index in range(1_000)]
    place = ("--state-dir", str(tmp_path / "state"))
    with Docker(os.environ["KAFKA_IMAGE"]).running(tmp_path) as servers:
        topic = create_topic(servers)
        produce(servers, topic, keys)
        framework(
            *("run", "--plugin", "keycount", "--topic", topic, "--bootstrap-servers", servers, *place, "--stop-at-end")
        )
    counts = [json.loads(line) for line in framework("state", "export", "keycount", *place).splitlines()]
    assert {count["key"]: count["value"] for count in counts} == Counter(keys)
    assert len(counts) == 7
