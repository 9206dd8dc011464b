import pytest
from click.testing import CliRunner

from framework.runtime.task import PartitionTask
from framework.testing.simulation.__main__ import main


def run(*args: str):
    return CliRunner().invoke(main, args)


def test_sums_up_what_was_simulated():
    result = run("--seed=5", "--steps=10", "--histories=3", "--store=memory")
    assert result.exit_code == 0
    assert result.output.startswith("3 histories kept every promise: ")
    assert " faults: " in result.output
    assert "w1 starts" not in result.output


def test_shows_histories():
    assert "w1 starts" in run("--steps=5", "--show").output


def test_a_broken_promise_ends_it_with_its_history_and_how_to_repeat_it(monkeypatch):
    monkeypatch.setattr(PartitionTask, "saved", lambda self, checkpoint: None)
    result = run("--seed=9", "--histories=100", "--store=memory")
    assert result.exit_code == 1
    assert "w1 starts" in result.output
    assert result.output.splitlines()[-1].startswith("repeat it with: framework-simulate --seed ")
    assert result.output.rstrip().endswith("--steps 40 --store memory")


@pytest.mark.parametrize("option", ["--store=rocks", "--histories=0", "--steps=-1"])
def test_refuses_what_it_cannot_do(option):
    assert run(option).exit_code == 2
