"""Workers that share a PostgreSQL server, and the example of the README."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.testing import Broker
from tests.brokers.postgresql import Server
from tests.end_to_end.worker import Worker, exported

pytest_plugins = ["tests.brokers.postgresql_fixtures"]

README = Path(__file__).parents[1] / "README.md"
RECORDS = 20_000


def test_workers_without_a_common_directory_count_each_record_once_through_kills(
    embedded_broker: Broker, new_database: Callable[[], str], tmp_path: Path
) -> None:
    location, keys = new_database(), [f"key-{number * number % 997}" for number in range(RECORDS)]
    embedded_broker.produce("orders", [(key, b"") for key in keys])
    arguments = ["--plugin", "keycount", "--topic", "orders", "--bootstrap-servers", embedded_broker.bootstrap_servers]
    arguments += ["--store", location, "--checkpoint-interval", "50ms"]
    for number in range(3):
        place = tmp_path / str(number)
        place.mkdir()
        with Worker(*arguments, cwd=place) as worker:
            worker.wait_for("assigned: ")
            worker.kill()
    place = tmp_path / "last"
    place.mkdir()
    with Worker(*arguments, "--stop-at-end", cwd=place) as worker:
        assert worker.wait() == 0, worker.messages
    assert {path.name for path in tmp_path.rglob("*")} == {"0", "1", "2", "last"}
    stored = exported(tmp_path, "keycount", "--store", location)
    assert {key: value for (_, key), value in stored.items()} == Counter(keys)


def test_the_example_of_the_readme_prints_what_it_shows(
    server: Server, embedded_broker: Broker, tmp_path: Path
) -> None:
    embedded_broker.produce("orders", [("ann", b""), ("bob", b""), ("ann", b"")])
    environ = dict(os.environ)
    tried = 0
    for block in re.findall(r"^```console\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL):
        for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            command = command.replace("localhost:5432", f"127.0.0.1:{server.port}")
            command = command.replace("localhost:9092", embedded_broker.bootstrap_servers)
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                environ[name] = value
                continue
            program, *arguments = command.split()
            assert program == "framework"
            ended = subprocess.run(
                [sys.executable, "-m", "framework", *arguments],
                env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            assert shown in ("", ended.stdout)
            tried += bool(shown)
    assert tried == 1


@pytest.mark.parametrize("arguments", [["run", "--plugin", "keycount"], ["state", "list"]], ids=" ".join)
def test_a_password_in_the_location_is_refused_and_told_nowhere(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "framework", *arguments, "--store", "postgresql://a:hidden@127.0.0.1:1/x"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "has a password, which others could see" in ended.stderr
    assert "hidden" not in ended.stdout + ended.stderr
