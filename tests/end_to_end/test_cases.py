"""Whatever plugins, stores and observers do wrong without a warning, on a broker: nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from framework.dead_letters import DEAD_LETTER_HEADERS
from framework.testing.brokers import Broker
from tests.end_to_end.worker import Worker, exported, framework, listed, truth

VALUES = ["v0", "v1", "v2", "v3", "bad", "v4", "v5", "v6", "v7", "v8", "v9"]
LOSSY = Path(__file__).with_name("lossy.py")
AGAIN = ["--checkpoint-interval", "1ms"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def name(broker: Broker, topic: Callable[..., str], produce: Callable[..., Any]) -> str:
    """A topic of one partition with the values."""
    if not broker.real:
        pytest.skip("needs a topic of one partition")
    name = topic(1)
    produce(name, VALUES, VALUES)
    return name


@pytest.fixture
def run(broker: Broker, name: str, tmp_path: Path) -> Run:
    """Runs the plugin to the end of the topic, with FAULT and other variables."""
    shutil.copy(LOSSY, tmp_path)

    def run(fault: str, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "framework", "run", "--plugin", "lossy.py", "--topic", name, "--stop-at-end"]
        command += ["--bootstrap-servers", broker.bootstrap_servers, *AGAIN, *map(str, arguments)]
        environment = {**os.environ, "FAULT": fault, **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def state(directory: Path) -> dict[Any, Any]:
    """What lossy.py has stored, by value."""
    return {value: count for (_, value), count in exported(directory, "lossy").items()}


def expected(*left_out: str) -> dict[str, int]:
    return {value: 1 for value in VALUES if value not in left_out}


def assert_repaired(run: Run, directory: Path, *arguments: object, **variables: str) -> None:
    """Run again without the fault: everything is there, once."""
    done = run("", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert state(directory) == expected()


@pytest.mark.kafka
@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_what_a_codec_cannot_hold_loses_nothing(store, run, tmp_path):
    failed = run("unstorable", "--store", store)
    assert failed.returncode == 1, failed.stderr
    assert "plugin lossy" in failed.stderr
    assert "value of type object" in failed.stderr
    assert "the stored state ends at offset" in failed.stderr.lower()
    assert "Traceback" not in failed.stderr
    done = run("", "--store", store)
    assert done.returncode == 0, done.stderr
    assert {value: count for (_, value), count in exported(tmp_path, "lossy", "--store", store).items()} == expected()


FAULTY_STORE = """
import asyncio
import os

from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class FaultyStore(SqliteStore):
    name = "faulty"
    saves = 0

    def save(self, checkpoints):
        FaultyStore.saves += 1
        kind, when = os.environ["STORE_FAULT"].split("-")
        fails = self.saves > 1
        if fails and when == "before":
            raise vars(__import__("builtins"))[kind]("planted")
        outcomes = super().save(checkpoints)
        if fails and when == "after":
            raise vars(__import__("builtins"))[kind]("planted")
        return outcomes


@hookimpl
def framework_stores():
    return [FaultyStore]
"""


@pytest.mark.kafka
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["MemoryError", "OSError", "ValueError", "TypeError", "AssertionError", "SystemExit"])
def test_whatever_a_store_raises_nothing_is_lost(kind, when, run, tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY_STORE)
    arguments = ["--plugin", "faulty.py", "--store", "faulty:state"]
    failed = run("", *arguments, STORE_FAULT=f"{kind}-{when}")
    assert failed.returncode not in (0, -11), failed.stderr
    assert kind in failed.stderr
    assert_repaired(run, tmp_path)


@pytest.mark.kafka
def test_a_header_that_kafka_cannot_take_is_its_records_failure(run, topic, read_topic, tmp_path):
    outputs = topic(1)
    failed = run("header", OUT=outputs)
    assert failed.returncode == 1
    assert "offset 4" in failed.stderr
    assert "header" in failed.stderr
    assert_repaired(run, tmp_path, OUT=outputs)
    assert {record.value.decode() for record in read_topic(outputs)} == set(VALUES)


@pytest.mark.kafka
def test_an_output_that_kafka_cannot_take_is_refused_at_once(run, topic, read_topic, tmp_path):
    outputs = topic(1)
    done = run("null-output", "--on-error", "skip", OUT=outputs)
    assert done.returncode == 0, done.stderr
    assert state(tmp_path) == expected("bad")
    assert {record.value.decode() for record in read_topic(outputs)} == {*VALUES} - {"bad"}


@pytest.mark.kafka
def test_a_null_record_becomes_a_dead_letter_and_is_replayed(broker, topic, produce, read_topic, tmp_path):
    name, letters = topic(1), topic(1)
    produce(name, [None, "key"], [None, "value"])
    (tmp_path / "picky.py").write_text(
        "from framework import Processor\n"
        "class Picky(Processor):\n"
        "    api_version = 1\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key or 'null'] = len(record.value)\n"
    )
    arguments = ["--plugin", "picky.py", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    arguments += ["--on-error", "dead-letter", "--dead-letter-topic", letters, "--stop-at-end"]
    done = framework("run", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [letter] = read_topic(letters)
    assert [header for header, _ in letter.headers] == list(DEAD_LETTER_HEADERS)
    assert (letter.key, letter.value) == (None, None)
    assert exported(tmp_path, "picky") == {(0, "key"): 5}
    done = framework("dead-letters", "replay", "--topic", letters, *arguments[4:6], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, _, again = read_topic(name)
    assert (again.key, again.value, again.timestamp) == (None, None, first.timestamp)


@pytest.mark.kafka
def test_an_observer_that_raises_changes_nothing(broker, topic, produce, tmp_path):
    """Two records of one batch fail in different ways; the observer fails on being told."""
    name = topic(1)
    values = ['{"v": 1}', "no JSON", '{"v": 2}', '{"v": "bad"}', '{"v": 3}']
    produce(name, values, values)
    (tmp_path / "telling.py").write_text(
        "from framework import Processor, RecordError, hookimpl\n"
        "class Telling(Processor):\n"
        "    api_version = 1\n"
        "    value_format = 'json'\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key] = state.get(record.key, 0) + 1\n"
        "        if record.value['v'] == 'bad':\n"
        "            raise RecordError('refused')\n"
        "@hookimpl\n"
        "def framework_processors():\n"
        "    return [Telling]\n"
        "@hookimpl\n"
        "def framework_records_failed(plugin, partition, errors, on_error):\n"
        "    raise RecordError('an observer has no say in this')\n"
    )
    arguments = ["--plugin", "telling.py", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    done = framework("run", *arguments, *AGAIN, "--on-error", "skip", "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "framework_records_failed of plugin" in done.stderr
    assert "an observer has no say in this" in done.stderr
    good = [value for value in values if value != "no JSON" and "bad" not in value]
    assert exported(tmp_path, "telling") == {(0, value): 1 for value in good}


@pytest.mark.kafka
@pytest.mark.parametrize("fault", ["tally", "systemexit", "cancelled", "nan", "error"])
def test_whatever_a_plugin_raises_is_that_records_failure(fault, run, tmp_path):
    stopped = run(fault)
    assert stopped.returncode == 1, stopped.stderr
    assert "offset 4, key b'bad'" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert [unit["last_offset"] for unit in listed(tmp_path)] == [3]
    skipped = run(fault, "--on-error", "skip")
    assert skipped.returncode == 0, skipped.stderr
    assert state(tmp_path) == expected("bad")


@pytest.mark.kafka
def test_one_container_under_two_keys_is_refused(run, tmp_path):
    failed = run("alias")
    assert failed.returncode == 1
    assert "'one'" in failed.stderr
    assert "'two'" in failed.stderr
    assert_repaired(run, tmp_path)


@pytest.mark.kafka
def test_a_record_that_never_ends_does_not_hold_up_a_stop(broker, name, tmp_path, monkeypatch):
    shutil.copy(LOSSY, tmp_path)
    monkeypatch.setenv("FAULT", "never")
    arguments = ["--plugin", "lossy.py", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    with Worker(*arguments, *AGAIN, "--shutdown-timeout", "2s", cwd=tmp_path) as worker:
        worker.wait_for("at it")
        assert worker.terminate() == 1
        assert any("still stopping" in line and "lossy" in line for line in worker.messages)
        assert any("not stopped 2 s after the signal" in line for line in worker.messages)
    monkeypatch.delenv("FAULT")
    done = framework("run", *arguments, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert state(tmp_path) == expected()


MANY = """
from framework import Processor


class Many(Processor):
    api_version = 1

    async def process(self, record, state, out):
        for index in range(1000):
            out.send("{topic}", str(index), key=record.key)
        state[record.key] = 1
"""


@pytest.mark.kafka
def test_a_thousand_outputs_a_record_are_held_in_bounded_memory(broker, topic, produce, tmp_path):
    """As a process sees it: its peak is near that of a run that sends one output a record."""
    name, outputs = topic(1), topic(1)
    produce(name, [f"key-{number}" for number in range(400)])
    peaks = []
    for count in (1, 1000):
        source = MANY.replace("{topic}", outputs).replace("range(1000)", f"range({count})")
        (tmp_path / "many.py").write_text(source + PEAK)
        arguments = ["--plugin", "many.py", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
        done = framework("run", *arguments, "--group", f"g{count}", "--stop-at-end", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.rpartition("peak ")[2].split()[0]))
    assert peaks[1] < peaks[0] + 60_000, f"KiB: {peaks}; all outputs at once are 230,000 more"


PEAK = """
    async def close(self):
        import resource, sys
        print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.kafka
def test_a_csv_field_is_summed_as_a_number(tmp_path):
    flights = Path(__file__).parents[2] / "examples" / "data" / "flights-2013-01.csv"
    arguments = ["--plugin", "sumbykey", "--option", "field=distance", "--input", flights, "--input-key", "dest"]
    done = framework("run", *arguments, "--stop-at-end", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sums: Counter[str] = Counter()
    header, *lines = flights.read_text().splitlines()
    columns = header.split(",")
    for line in lines:
        row = dict(zip(columns, line.split(","), strict=True))
        sums[row["dest"]] += int(row["distance"])
    found = {entry["key"]: int(entry["value"]["$decimal"]) for entry in map(json.loads, done.stdout.splitlines())}
    assert found == dict(sums)


@pytest.mark.kafka
def test_a_plugin_file_runs_as_it_is_now(broker, topic, produce, tmp_path):
    """Edited within the same second, at the same size."""
    name = topic(1)
    produce(name, ["key"])
    source = (
        "from framework import Processor\n"
        "class Edited(Processor):\n"
        "    api_version = 1\n"
        "    def process(self, record, state, out):\n"
        "        state[record.key] = 1\n"
    )
    arguments = ["--plugin", "edited.py", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    for value in (1, 2, 3):
        (tmp_path / "edited.py").write_text(source.replace("= 1\n    ", "= 1\n    ").replace("] = 1", f"] = {value}"))
        os.utime(tmp_path / "edited.py", (1_700_000_000, 1_700_000_000))
        done = framework("run", *arguments, "--group", f"g{value}", "--stop-at-end", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert exported(tmp_path, "edited", "--group", f"g{value}") == {(0, "key"): value}
    assert not list(tmp_path.rglob("__pycache__"))


# ---- state that is elsewhere


def keys_of(numbers: Sequence[int]) -> list[str]:
    return [f"key-{number % 7}" for number in numbers]


@pytest.fixture
def counting(broker: Broker, topic: Callable[..., str], produce: Callable[..., Any]) -> list[str]:
    """Arguments of a run of keycount over a topic of one partition with records."""
    if not broker.real:
        pytest.skip("needs a topic of one partition")
    name = topic(1)
    produce(name, keys_of(range(100)))
    return ["--plugin", "keycount", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]


def run_to_end(directory: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return framework("run", *arguments, "--stop-at-end", cwd=directory)


@pytest.mark.kafka
def test_a_worker_with_another_directory_does_not_begin_anew(counting, produce, read_topic, tmp_path):
    """As two pods with a directory each: the second takes over, and its directory has nothing."""
    assert run_to_end(tmp_path, *counting, "--state-dir", "one").returncode == 0
    [one] = listed(tmp_path, "--state-dir", "one")
    refused = run_to_end(tmp_path, *counting, "--state-dir", "two")
    assert refused.returncode == 3, refused.stderr
    assert "in the store with id" in refused.stderr
    assert "--on-missing-state rebuild" in refused.stderr
    assert framework("state", "list", "--state-dir", "two", "--json", cwd=tmp_path).stdout.strip() == "[]"
    produce(counting[3], keys_of(range(50)))
    assert run_to_end(tmp_path, *counting, "--state-dir", "one").returncode == 0
    assert exported(tmp_path, "keycount", "--state-dir", "one") == truth(read_topic(counting[3]))
    assert listed(tmp_path, "--state-dir", "one")[0]["version"] > one["version"]


@pytest.mark.kafka
def test_two_workers_with_two_directories_refuse_to_make_wrong_state(broker, topic, produce, tmp_path):
    name = topic(4)
    produce(name, [f"key-{number % 97}" for number in range(2000)])
    arguments = ["--plugin", "keycount", "--topic", name, "--bootstrap-servers", broker.bootstrap_servers]
    arguments += ["--checkpoint-interval", "50ms"]
    with Worker(*arguments, "--state-dir", "one", cwd=tmp_path) as first:
        first.wait_for("assigned: ")
        _wait_until_stored(tmp_path, "one", 2000)
        with Worker(*arguments, "--state-dir", "two", cwd=tmp_path) as second:
            assert second.wait() == 3
            assert any("according to Kafka, version" in line for line in second.messages)
        assert first.terminate() == 0
    assert sum(exported(tmp_path, "keycount", "--state-dir", "one").values()) == 2000


def _wait_until_stored(directory: Path, state_dir: str, records: int) -> None:
    """Until the worker has stored so many records; the test's time-out ends this."""
    while sum(unit["last_offset"] + 1 for unit in listed(directory, "--state-dir", state_dir)) < records:
        pass


@pytest.mark.kafka
def test_a_deleted_directory_is_missed(counting, read_topic, tmp_path):
    assert run_to_end(tmp_path, *counting).returncode == 0
    shutil.rmtree(tmp_path / "state")
    refused = run_to_end(tmp_path, *counting)
    assert refused.returncode == 3, refused.stderr
    rebuilt = run_to_end(tmp_path, *counting, "--on-missing-state", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "building the state from the log's beginning" in rebuilt.stderr
    assert exported(tmp_path, "keycount") == truth(read_topic(counting[3]))
    assert run_to_end(tmp_path, *counting).returncode == 0, "it is not missed again"


@pytest.mark.kafka
def test_a_restored_backup_says_which_version_it_has(counting, produce, read_topic, tmp_path):
    assert run_to_end(tmp_path, *counting).returncode == 0
    [backup] = listed(tmp_path)
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    produce(counting[3], keys_of(range(50)))
    assert run_to_end(tmp_path, *counting).returncode == 0
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "backup", tmp_path / "state")
    refused = run_to_end(tmp_path, *counting)
    assert refused.returncode == 3, refused.stderr
    assert f"has version {backup['version']}, up to offset {backup['last_offset']}" in refused.stderr
    done = run_to_end(tmp_path, *counting, "--on-missing-state", "continue")
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount") == truth(read_topic(counting[3]))
    assert run_to_end(tmp_path, *counting).returncode == 0


@pytest.mark.kafka
def test_a_group_that_another_program_used_is_told(broker, counting, read_topic, tmp_path):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": f"used-{counting[3]}"})
    consumer.commit(offsets=[TopicPartition(counting[3], 0, 40)], asynchronous=False)
    consumer.close()
    refused = run_to_end(tmp_path, *counting, "--group", f"used-{counting[3]}")
    assert refused.returncode == 3, refused.stderr
    assert "committed offset 40" in refused.stderr
    done = run_to_end(tmp_path, *counting, "--group", f"used-{counting[3]}", "--on-missing-state", "rebuild")
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "keycount", "--group", f"used-{counting[3]}") == truth(read_topic(counting[3]))


@pytest.mark.kafka
def test_a_damaged_database_is_found_before_it_is_written(counting, produce, tmp_path):
    assert run_to_end(tmp_path, *counting).returncode == 0
    [database] = tmp_path.rglob("state.sqlite3")
    data = bytearray(database.read_bytes())
    place = data.index(b"CREATE TABLE store")
    data[place + 15] ^= 1
    database.write_bytes(data)
    produce(counting[3], ["more"])
    refused = run_to_end(tmp_path, *counting)
    assert refused.returncode == 3, refused.stderr
    assert database.read_bytes() == bytes(data)


@pytest.mark.kafka
def test_a_load_that_finds_another_number_of_keys_is_an_error(counting, tmp_path):
    (tmp_path / "forgetful.py").write_text(FORGETFUL_STORE)
    arguments = [*counting, "--plugin", "forgetful.py", "--store", "forgetful:state"]
    assert run_to_end(tmp_path, *arguments).returncode == 0
    refused = run_to_end(tmp_path, *arguments)
    assert refused.returncode == 3, refused.stderr
    assert "0 keys were loaded, but 7 were stored" in refused.stderr


FORGETFUL_STORE = """
from framework import hookimpl
from framework.stores.sqlite import SqliteStore


class ForgetfulStore(SqliteStore):
    name = "forgetful"

    def load(self, unit, epoch=None):
        yield from ()


@hookimpl
def framework_stores():
    return [ForgetfulStore]
"""
