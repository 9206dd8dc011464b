"""`framework demo`: workers are killed, and a wrong count is found."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.end_to_end.worker import framework

RIGHT = re.compile(
    r"kills: (\d+) · records sent: ([\d,]+) · counted: ([\d,]+) · the counts of all 18 keys are right, and were in all "
    r"([\d,]+) comparisons"
)


def is_right(output: str, kills: int) -> bool:
    """Whether the verdict is that all is right."""
    found = RIGHT.search(output)
    return found is not None and found[1] == str(kills) and found[2] == found[3] != "0" and found[4] != "0"


def test_workers_are_killed_and_the_counts_stay_right(tmp_path: Path) -> None:
    done = framework("demo", "--kill-every", "1s", "--kills", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line[9:] for line in done.stdout.splitlines() if "SIGKILL" in line] == [
        f"kill {kill}: worker {worker} is killed with SIGKILL, and started again"
        for kill, worker in ((1, 1), (2, 2), (3, 1))
    ]
    assert re.search(
        r"s later: the [\d,]+ records from before the kill are counted; all counts are right\n", done.stdout
    )
    assert is_right(done.stdout, 3), done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_verdict(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "framework", "demo", "--kill-every", "1s"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "kill 1: " in process.stdout.readline()
        process.send_signal(number)
        output = process.stdout.read()
        assert process.wait() == 0
    assert is_right(output, 1) or is_right(output, 2), output


def test_on_a_terminal_it_draws_a_table_and_a_key_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with Terminal(["demo", "--kill-every", "0"], cwd=tmp_path) as terminal:
        shown = terminal.wait_for("comparisons: all counts are right")
        assert "independent count" in shown
        assert "all 18 keys" in shown
        assert "kills: 0" in shown
        terminal.press("x")
        terminal.press("k")
        terminal.wait_for("kill 1: worker 1 is killed with SIGKILL")
        terminal.wait_for("s later: the ")
        terminal.press("\x03")
        terminal.wait_for("no more records are sent")
        terminal.wait_for("are right, and were in all")
        assert terminal.wait() == 0


WRONG_PLUGIN = """
from framework import Processor

class KeyCount(Processor):
    api_version = 1

    def process(self, record, state, out):
        BODY
"""


@pytest.fixture
def keycount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module in which the entry point keycount is found first."""
    folder = tmp_path / "first"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder / "framework_keycount.py"


def test_a_wrong_count_is_found(keycount: Path, tmp_path: Path) -> None:
    keycount.write_text(
        WRONG_PLUGIN.replace("BODY", "state[record.key] = state.get(record.key, 0) + 1 + (record.offset == 50)")
    )
    done = framework("demo", "--kill-every", "1s", "--kills", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "keys are WRONG" in done.stdout
    assert re.search(r"error: counts are wrong: \w+: [\d,]+ instead of [\d,]+", done.stderr), done.stderr


def test_a_worker_that_fails_ends_it_with_its_message(keycount: Path, tmp_path: Path) -> None:
    keycount.write_text(WRONG_PLUGIN.replace("BODY", "raise OSError('no more paper')"))
    done = framework("demo", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"error: worker \d ended with status 1: error: .*no more paper", done.stderr), done.stderr
