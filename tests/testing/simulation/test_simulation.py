import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from framework.errors import InternalError
from framework.runtime.task import PartitionTask
from framework.testing.simulation import ACTIONS, STORES, Simulation, SimulationError, Step

FAULTS = (
    "asked again",
    "broker down",
    "disk fills",
    "disk full",
    "expelled",
    "foreign exception",
    "frozen",
    "idle step",
    "killed",
    "outputs failed",
    "rebalance",
    "record failed",
    "record late",
    "records deleted",
    "records expired",
    "revoked late",
    "save refused: FencedError",
    "session timeout",
    "set aside",
    "store failed",
    "too late for the rebalance",
    "topic made anew",
)
STEPS = st.builds(Step, st.sampled_from(list(ACTIONS)), st.integers(0, 300), st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("first", range(0, 1200, 100))
def test_every_promise_is_kept_in_memory(first):
    for seed in range(first, first + 100):
        Simulation(seed, 20, store="memory").run()


@pytest.mark.parametrize("store", ["sqlite", "file"])
@pytest.mark.parametrize("first", range(0, 100, 50))
def test_every_promise_is_kept_on_disk(store, first):
    for seed in range(first, first + 50):
        Simulation(seed, 20, store=store).run()


def test_every_promise_is_kept_for_long():
    for seed in range(10):
        Simulation(seed, 300, store="memory").run()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[*Phase])
@given(seed=st.integers(0, 2**32), plan=st.lists(STEPS, max_size=40))
def test_every_promise_is_kept_whatever_the_plan(seed, plan):
    Simulation(seed, store="memory", plan=plan).run()


def test_the_fixed_seeds_meet_every_fault():
    """What the tests above say is worth as much as the faults in them."""
    faults: Counter[str] = Counter()
    for seed in range(200):
        faults += Simulation(seed, 20, store="memory").run().faults
    assert set(faults) == set(FAULTS)
    assert min(faults.values()) >= 3, faults


@pytest.mark.parametrize("store", STORES)
def test_repeats_exactly_from_its_seed_in_another_process(store):
    def lines(hash_seed: str) -> str:
        command = [sys.executable, "-m", "framework.testing.simulation", "--seed=7", f"--store={store}", "--show"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.partition(" kept every promise")[0]

    assert lines("1") == lines("2")
    assert len(lines("1").splitlines()) > 50


def test_a_broken_promise_is_told_with_seed_and_history(monkeypatch):
    def capture(self, budget=None):
        raise InternalError("planted")

    monkeypatch.setattr(PartitionTask, "capture", capture)
    with pytest.raises(SimulationError) as raised:
        Simulation(3, 40).run()
    first, *history, last = str(raised.value).splitlines()
    assert first.startswith("seed 3: ")
    assert any("w1" in line and "assigned: records-0" in line for line in history)
    assert last == "framework.errors.InternalError: planted"
