import json
from pathlib import Path
from typing import Any

import pytest

from framework.cli.seed_files import SeedState, read_seed_states, save_seed_states
from framework.codecs.json import JsonCodec
from framework.errors import StateIncompatibleError, UsageError
from framework.records import TopicPartition
from framework.stores import Description, Progress, Unit
from framework.stores.memory import MemoryStore

SEED_LINE = '{"last_offset": 4, "counts": {"123123": 1, "4444": 1, "321": 2, "5555": 1}}'


def write(directory: Path, source: str, content: Any) -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / f"my-partition-state-{source}.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_reads_what_the_example_wrote(tmp_path: Path) -> None:
    file = write(tmp_path, "test-0", SEED_LINE)
    counts = {"123123": 1, "4444": 1, "321": 2, "5555": 1}
    assert read_seed_states(f"{tmp_path}/*") == [SeedState(file, TopicPartition("test", 0), 4, counts)]


@pytest.mark.parametrize(
    ("name", "partition"),
    [
        ("test-0", TopicPartition("test", 0)),
        ("my-topic-12-3", TopicPartition("my-topic-12", 3)),
        ("a.b_c--7", TopicPartition("a.b_c-", 7)),
    ],
)
def test_a_topic_may_have_dashes(tmp_path: Path, name: str, partition: TopicPartition) -> None:
    write(tmp_path, name, SEED_LINE)
    (state,) = read_seed_states(f"{tmp_path}/*")
    assert state.partition == partition


def test_partitions_come_in_order_and_by_topic(tmp_path: Path) -> None:
    for source in ("b-0", "a-10", "a-9"):
        write(tmp_path, source, SEED_LINE)
    assert [str(state.partition) for state in read_seed_states(f"{tmp_path}/*")] == ["a-9", "a-10", "b-0"]
    assert [str(state.partition) for state in read_seed_states(f"{tmp_path}/*", ["b"])] == ["b-0"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not whole JSON"),
        (SEED_LINE[:30], "not whole JSON"),
        ("[]", "must be an object"),
        ({"last_offset": 4}, "with last_offset and counts"),
        ({"counts": {}}, "with last_offset and counts"),
        ({"last_offset": 4, "counts": {}, "more": 1}, "nothing else"),
        ({"last_offset": -2, "counts": {}}, "last_offset is -2"),
        ({"last_offset": "4", "counts": {}}, "last_offset is '4'"),
        ({"last_offset": True, "counts": {}}, "last_offset is True"),
        ({"last_offset": 4, "counts": []}, "counts is not an object"),
        ({"last_offset": 4, "counts": {"a": 1.0}}, "the count of 'a' is 1.0"),
        ({"last_offset": 4, "counts": {"a": True}}, "the count of 'a' is True"),
        ({"last_offset": 4, "counts": {"a": -1}}, "the count of 'a' is -1"),
        ({"last_offset": -1, "counts": {"a": 1}}, "although last_offset is -1"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: Any, problem: str) -> None:
    write(tmp_path, "test-0", SEED_LINE)
    bad = write(tmp_path, "test-1", content)
    with pytest.raises(UsageError, match=problem) as raised:
        read_seed_states(f"{tmp_path}/*")
    assert str(bad) in str(raised.value)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "test-0", "")
    file.write_bytes(b'{"last_offset": 4, "counts": {"\xff": 1}}')
    with pytest.raises(UsageError, match=r"test-0\.json is not whole JSON"):
        read_seed_states(f"{tmp_path}/*")


@pytest.mark.parametrize("name", ["notes.txt", "my-partition-state-test.json", "my-partition-state-test-01.json"])
def test_a_foreign_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SEED_LINE)
    with pytest.raises(UsageError, match="is not named my-partition-state-TOPIC-PARTITION"):
        read_seed_states(f"{tmp_path}/*")


def test_two_files_of_one_partition_are_refused(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, "test-0", SEED_LINE) for name in "ab")
    with pytest.raises(UsageError, match="both of test-0") as raised:
        read_seed_states(f"{tmp_path}/*/*")
    assert str(first) in str(raised.value)
    assert str(second) in str(raised.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file matches"):
        read_seed_states(f"{tmp_path}/*")
    write(tmp_path, "test-0", SEED_LINE)
    with pytest.raises(UsageError, match="is of topic other; there are files of test"):
        read_seed_states(f"{tmp_path}/*", ["other"])


def test_nothing_is_written_where_one_unit_has_state() -> None:
    store = MemoryStore()
    first, second = (Unit("g", "keycount", "test", partition) for partition in range(2))
    states = {unit: SeedState(Path(), TopicPartition("test", unit.partition), 4, {"a": 5}) for unit in (first, second)}
    descriptions = {"test": Description("json", 1, 2, None)}
    save_seed_states(store, {second: states[second]}, descriptions, JsonCodec())
    before = store.stored()

    with pytest.raises(StateIncompatibleError, match=r"test-1 \(group g\) has state already, up to offset 4"):
        save_seed_states(store, states, descriptions, JsonCodec())
    assert store.stored() == before


def test_a_unit_that_was_only_claimed_is_new() -> None:
    store = MemoryStore()
    unit = Unit("g", "keycount", "test", 0)
    store.claim([unit], lambda unit, stored: None)
    state = SeedState(Path(), TopicPartition("test", 0), 4, {"a": 5})
    save_seed_states(store, {unit: state}, {"test": Description("json", 1, 1, None)}, JsonCodec())
    (stored,) = store.stored()
    assert (stored.epoch, stored.version, stored.own_progress, stored.keys) == (2, 1, Progress(4, 5), 1)
