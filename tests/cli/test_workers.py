import os
import time
from pathlib import Path

import pytest

from framework.cli.workers import Workers
from framework.embedded.broker import EmbeddedBroker
from framework.errors import FrameworkError

SECONDS = 60.0


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_worker_is_killed_in_turn_and_started_again(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        arguments = ["--plugin", "keycount", "--topic", "t", "--bootstrap-servers", broker.bootstrap_servers]
        with Workers([*arguments, "--state-dir", str(tmp_path / "state")], 2, tmp_path) as workers:
            first = workers.pids
            assert len(set(first)) == 2
            assert [workers.kill_next() for _ in range(3)] == [1, 2, 1]
            last = workers.pids
            assert len({*first, *last}) == 4
            assert workers.kills == 3
            assert not any(map(is_there, first))
            assert all(map(is_there, last))
            workers.check()
    assert not any(map(is_there, last))


def check_until_it_ends(workers: Workers) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        workers.check()


def test_a_worker_that_ends_by_itself_is_an_error_with_its_message(tmp_path: Path) -> None:
    with (
        Workers(["--plugin", "nobody"], 1, tmp_path) as workers,
        pytest.raises(FrameworkError, match="worker 1 ended with status 2: error: no plugin named 'nobody'"),
    ):
        check_until_it_ends(workers)


def test_variables_that_set_options_do_not_reach_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEWORK_CHECKPOINT_INTERVAL", "no duration")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "localhost:1")
    with Workers(["--plugin", "keycount"], 1, tmp_path) as workers:
        deadline = time.monotonic() + SECONDS
        while "assigned: " not in (tmp_path / "worker-1.log").read_text():
            workers.check()
            assert time.monotonic() < deadline
