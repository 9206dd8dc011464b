"""Records that fail, on a broker: each policy does what it says, and no failure leaves a trace in the state."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from framework.dead_letters import DEAD_LETTER_HEADERS, REPLAY_HEADER
from framework.records import Record
from framework.testing.brokers import Broker
from tests.end_to_end.worker import Worker, exported, framework, listed, truth

GOOD, BAD = b"good", b"bad"
KEYS = [f"key-{number % 53}" for number in range(2000)]
VALUES = [BAD if number % 97 == 13 else GOOD for number in range(2000)]

PICKY = """
from framework import Processor


class Picky(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
        state.setdefault("seen", []).append(record.offset)
        if record.value == b"bad":
            raise ValueError(f"no good: {record.key}")
        state["seen"].clear()

    def process_batch(self, batch, state, out):
        for record in batch:
            self.process(record, state, out)
"""

ONE_BY_ONE = PICKY.split("    def process_batch")[0]


@pytest.fixture
def on_broker(broker: Broker) -> list[str]:
    return ["--bootstrap-servers", broker.bootstrap_servers]


@pytest.fixture(params=[PICKY, ONE_BY_ONE], ids=["process_batch", "process"])
def picky(request, tmp_path) -> list[str]:
    (tmp_path / "picky.py").write_text(request.param)
    return ["--plugin", "picky.py"]


def without(records: Sequence[Record], *values: bytes) -> dict[tuple[int, Any], Any]:
    """The state of the plugin over the others of these records."""
    good = [record for record in records if record.value not in values]
    return truth(good) | {(record.partition, "seen"): [] for record in good}


def sources(letters: Sequence[Record]) -> dict[tuple[str, int, int], Record]:
    """Dead letters by where they came from, once each."""
    found = {}
    for letter in letters:
        plugin, topic, partition, offset = (_text(letter, name) for name in DEAD_LETTER_HEADERS[:4])
        assert plugin == "picky"
        found[topic, int(partition), int(offset)] = letter
    return found


def _text(record: Record, header: str) -> str:
    return (dict(record.headers)[header] or b"").decode()


def test_stop_saves_what_was_before_and_tries_the_same_record_again(
    picky, on_broker, topic, produce, read_topic, tmp_path
):
    name = topic()
    produce(name, KEYS[:100], [GOOD] * 100, partitions=2)
    produce(name, ["the-key", "later"], [BAD, GOOD], partitions=2)
    args = ["run", *picky, "--topic", name, "--stop-at-end", *on_broker]
    for _ in range(2):
        done = framework(*args, cwd=tmp_path)
        assert done.returncode == 1
        *_, error = done.stderr.splitlines()
        assert f"plugin picky failed on {name}-2 offset 100, key 'the-key': ValueError: no good: the-key" in error
        (unit,) = (unit for unit in listed(tmp_path) if unit["partition"] == 2)
        assert unit["last_offset"] == 99
        assert exported(tmp_path, "picky") == without(read_topic(name)[:100])
    done = framework(*args, "--on-error", "skip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path, "picky") == without(read_topic(name), BAD)


OBSERVER = """
from framework import hookimpl


@hookimpl
def framework_records_failed(plugin, partition, errors, on_error):
    with open("failed", "a") as file:
        for offset, error in errors.items():
            print(plugin, partition, offset, on_error, type(error).__name__, file=file)
"""


def test_skip_goes_on_without_them_and_tells_observers(picky, on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, KEYS, VALUES)
    (tmp_path / "observer.py").write_text(OBSERVER)
    done = framework(
        *("run", *picky, "--plugin", "observer.py", "--topic", name, "--stop-at-end", "--on-error", "skip", *on_broker),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "bad record: skip ·" in done.stderr
    assert " skipped; the first: plugin picky failed on " in done.stderr
    records = read_topic(name)
    assert exported(tmp_path, "picky") == without(records, BAD)
    told = (tmp_path / "failed").read_text().splitlines()
    bad = [record for record in records if record.value == BAD]
    assert set(told) == {f"picky {name}-{each.partition} {each.offset} skip RecordError" for each in bad}


def test_dead_letters_are_the_records_as_they_came_with_their_reason(
    picky, on_broker, topic, produce, read_topic, tmp_path
):
    name, dead = topic(), topic()
    produce(name, [*KEYS, None, b"\xff"], [*VALUES, BAD, GOOD])
    policy = ["--on-error", "dead-letter", "--dead-letter-topic", dead]
    done = framework(
        *("run", *picky, "--topic", name, "--stop-at-end", "--retries", "1", "--retry-backoff", "1ms"),
        *(*policy, *on_broker),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"bad record: dead letter to {dead}, after 1 retry ·" in done.stderr
    records = read_topic(name)
    assert exported(tmp_path, "picky") == without([each for each in records if each.key != b"\xff"], BAD)
    letters = sources(read_topic(dead))
    bad = {(name, each.partition, each.offset): each for each in records if each.value == BAD or each.key == b"\xff"}
    assert letters.keys() == bad.keys()
    for place, record in bad.items():
        letter = letters[place]
        assert (letter.key, letter.value) == (record.key, record.value)
        assert tuple(name for name, _ in letter.headers) == DEAD_LETTER_HEADERS
        assert int(_text(letter, "framework-dead-letter-timestamp")) == record.timestamp
        failed_at = datetime.fromisoformat(_text(letter, "framework-dead-letter-time")).timestamp()
        assert record.timestamp / 1000 <= failed_at + 1
        reason = _text(letter, "framework-dead-letter-error"), _text(letter, "framework-dead-letter-message")
        if record.value == BAD:
            key = record.key.decode() if record.key else None
            assert reason[0] == "ValueError"
            assert re.fullmatch(rf"no good: {key} \(at .*picky\.py:\d+\)", reason[1])
        else:
            assert reason[0] == "DeserializationError"
            assert "the key is not utf8" in reason[1]


@pytest.mark.kafka
def test_workers_that_die_lose_no_dead_letter(picky, on_broker, topic, produce, read_topic, tmp_path):
    name, dead = topic(2), topic(1)
    args = [*picky, "--topic", name, "--on-error", "dead-letter", "--dead-letter-topic", dead]
    args += ["--checkpoint-interval", "20ms", *on_broker]
    for _ in range(2):
        produce(name, KEYS, VALUES)
        with Worker(*args, cwd=tmp_path) as worker:
            worker.wait_for(f"sent to {dead}; the first: ")
            worker.kill()
    done = framework("run", *args, "--stop-at-end", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = read_topic(name)
    assert exported(tmp_path, "picky") == without(records, BAD)
    bad = {(name, each.partition, each.offset) for each in records if each.value == BAD}
    assert sources(read_topic(dead)).keys() == bad


FLAKY = """
from framework import Processor

tries = {}


class Flaky(Processor):
    api_version = 1

    def process(self, record, state, out):
        state.setdefault("order", []).append(record.offset)
        if record.value == b"bad":
            tries[record.offset] = tries.get(record.offset, 0) + 1
            if tries[record.offset] < 4:
                raise ConnectionError("not now")
"""


def test_a_record_that_fails_for_a_while_is_applied_in_its_order(on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, KEYS[:300], VALUES[:300], partitions=1)
    produce(name, KEYS[:300], [GOOD] * 300, partitions=0)
    (tmp_path / "flaky.py").write_text(FLAKY)
    done = framework(
        *("run", "--plugin", "flaky.py", "--topic", name, "--stop-at-end", *on_broker),
        *("--retries", 3, "--retry-backoff", "10ms"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "bad record: stop, after 3 retries ·" in done.stderr
    assert "offset 13: try 1 failed, the next is in 0.01 s: ConnectionError: not now" in done.stderr
    assert "offset 13: try 2 failed, the next is in 0.02 s: ConnectionError: not now" in done.stderr
    assert exported(tmp_path, "flaky") == {(0, "order"): [*range(300)], (1, "order"): [*range(300)]}


BROKEN = """
from framework import Processor


class Broken(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.value == b"bad":
            raise ConnectionError("never")
        state[record.key] = state.get(record.key, 0) + 1
"""


def test_others_go_on_and_are_stored_while_a_record_waits_for_its_retry(on_broker, topic, produce, tmp_path):
    name = topic()
    (tmp_path / "broken.py").write_text(BROKEN)
    produce(name, ["a"] * 5, [BAD] * 5, partitions=1)
    args = ["--plugin", "broken.py", "--topic", name, "--retries", 1000, "--retry-backoff", "1h", *on_broker]
    with Worker(*args, "--checkpoint-interval", "50ms", cwd=tmp_path) as worker:
        worker.wait_for(f"{name}-1 offset 0: try 1 failed, the next is in 3600 s")
        produce(name, ["b"] * 5, [GOOD] * 5, partitions=0)
        while (0, "b") not in _counts(tmp_path):
            pass
        assert worker.terminate() == 0
    assert _counts(tmp_path) == {(0, "b"): 5}
    assert {unit["partition"]: unit["last_offset"] for unit in listed(tmp_path)} == {0: 4, 1: -1, 2: -1, 3: -1}


def _counts(cwd):
    return exported(cwd, "broken") if listed(cwd) else {}


def test_a_record_that_cannot_be_deserialized_stops_before_it(on_broker, topic, produce, tmp_path):
    name = topic()
    produce(name, ["a"] * 3, ["1", "x", "2"], partitions=0)
    (tmp_path / "picky.py").write_text(PICKY)
    args = ["run", "--plugin", "picky.py", "--value-format", "int", "--topic", name, "--stop-at-end", *on_broker]
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{name}-0 offset 1: the value is not int" in done.stderr
    assert exported(tmp_path, "picky") == {(0, "a"): 1, (0, "seen"): []}


@pytest.mark.kafka
def test_the_dead_letter_topic_must_be_there_and_another(on_broker, topic, produce, tmp_path):
    name = topic(1)
    produce(name, KEYS[:10])
    (tmp_path / "picky.py").write_text(PICKY)
    args = ["run", "--plugin", "picky.py", "--topic", name, "--stop-at-end", "--on-error", "dead-letter", *on_broker]
    missing = framework(*args, "--dead-letter-topic", "not-there", cwd=tmp_path)
    assert (missing.returncode, "there is no topic not-there" in missing.stderr) == (4, True)
    same = framework(*args, "--dead-letter-topic", name, cwd=tmp_path)
    assert (same.returncode, f"dead letters cannot go to {name}" in same.stderr) == (2, True)
    assert listed(tmp_path) == []


UNSPEAKABLE = """
from framework import Processor


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("nobody can tell")


class Picky(Processor):
    api_version = 1

    def process_batch(self, batch, state, out):
        bad = [position for position, value in enumerate(batch.values) if value == b"bad"]
        state.tally([key for position, key in enumerate(batch.keys) if position not in bad])
        for position in bad:
            out.refuse(position, Unspeakable())
"""


def test_an_error_that_cannot_be_shown_is_its_records_failure(on_broker, topic, produce, read_topic, tmp_path):
    name = topic()
    produce(name, KEYS, values=VALUES)
    args = ["run", "--plugin", "picky.py", "--topic", name, "--stop-at-end", "--on-error", "skip", *on_broker]
    (tmp_path / "picky.py").write_text(UNSPEAKABLE)
    done = framework(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Unspeakable: (its text cannot be shown: RuntimeError)" in done.stderr
    assert exported(tmp_path, "picky") == truth([record for record in read_topic(name) if record.value != BAD])


def test_dead_letters_are_listed_and_replayed_once(on_broker, topic, produce, read_topic, tmp_path):
    name, dead = topic(), topic()
    produce(name, KEYS[:300], VALUES[:300])
    produce(dead, ["no dead letter"])
    (tmp_path / "picky.py").write_text(PICKY)
    run = ["run", "--plugin", "picky.py", "--topic", name, "--stop-at-end", *on_broker]
    policy = ["--on-error", "dead-letter", "--dead-letter-topic", dead]
    assert framework(*run, *policy, cwd=tmp_path).returncode == 0
    bad = [record for record in read_topic(name) if record.value == BAD]

    done = framework("dead-letters", "list", "--topic", dead, "--json", *on_broker, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    letters = json.loads(done.stdout)
    assert {(each["topic"], each["partition"], each["offset"], each["key"]) for each in letters} == {
        (name, each.partition, each.offset, each.key.decode()) for each in bad
    }
    assert {(each["plugin"], each["error"]) for each in letters} == {("picky", "ValueError")}

    replay = ["dead-letters", "replay", "--topic", dead, "--json", *on_broker]
    done = framework(*replay, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"topic": dead, "sent": {name: len(bad)}, "repeats": 0, "others": 1}
    again = framework(*replay, cwd=tmp_path)
    assert json.loads(again.stdout) == {"topic": dead, "sent": {}, "repeats": 0, "others": 0}
    replayed = [each for each in read_topic(name) if each.headers]
    assert Counter((each.partition, each.key, each.value, each.timestamp) for each in replayed) == Counter(
        (each.partition, each.key, each.value, each.timestamp) for each in bad
    )
    assert {tuple(header for header, _ in each.headers) for each in replayed} == {(REPLAY_HEADER,)}

    (tmp_path / "picky.py").write_text(PICKY.replace('b"bad"', 'b"other"'))
    done = framework(*run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = {key: count for key, count in exported(tmp_path, "picky").items() if key[1] != "seen"}
    assert sum(counts.values()) == 300
