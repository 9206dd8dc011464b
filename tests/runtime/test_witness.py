"""The witness: what committed offsets tell of stored state."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framework import Claim, StateMissingError, TopicPartition
from framework.runtime import witness
from framework.runtime.ports import Committed
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.witness import check_testimony, commits_of, without_foreign
from tests.runtime.played import PARTITION, UNIT, make_task, stored_unit

HERE, ELSEWHERE = "id-here", "id-elsewhere"


def committed(document: Any, position: int = 10) -> Committed:
    return Committed(position, document if isinstance(document, str) else json.dumps(document))


OURS = {"framework": 1, "store": HERE, "versions": {"count": 5}}

# ---- reading


@given(st.integers(0), st.text(), st.dictionaries(st.text(), st.integers()))
def test_what_is_committed_is_read_again(position, store, versions):
    testimony = witness.Testimony(position, store, versions)
    assert witness.Testimony.of(testimony.to_committed()) == testimony


GARBAGE = {
    "nothing": "",
    "null": "null",
    "no JSON": "{",
    "another program's": "host-7",
    "nested too deep": "[" * 100_000,
    "a number of many digits": "9" * 100_000,
    "a list": [1],
    "no store": {"framework": 1, "versions": {}},
    "a store that is no text": {**OURS, "store": 5},
    "versions that are no object": {**OURS, "versions": [5]},
    "a newer format": {**OURS, "framework": 2},
    "a newer format with another meaning": {"framework": 2, "store": HERE, "versions": {"count": {"from": 5}}},
    "no format": {"store": HERE, "versions": {"count": 5}},
}


@pytest.mark.parametrize("metadata", GARBAGE.values(), ids=GARBAGE)
def test_what_cannot_be_read_is_another_programs(metadata):
    """Of a newer framework's, nothing is taken for granted either."""
    assert witness.Testimony.of(committed(metadata)) == witness.Testimony(10)


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
@example("\ud800")
def test_no_metadata_is_too_odd_to_read(metadata):
    assert witness.Testimony.of(Committed(10, metadata)).position == 10


def test_versions_that_are_no_numbers_are_left_out():
    document = {**OURS, "versions": {"count": 5, "a": "5", "b": None, "c": True, "d": 1.5}}
    assert witness.Testimony.of(committed(document)).versions == {"count": 5}


# ---- committing


def task_at(position: int | None, version: int, plugin: str = "count", partition: Any = PARTITION) -> PartitionTask:
    task = make_task(name=plugin, partition=partition)
    if position is not None:
        task.move(TaskStatus.LOADING)
        task.load(Claim(1, stored_unit(position - 1, position, unit=task.unit, version=version)), {})
        task.move(TaskStatus.SEEKING)
    return task


def test_commits_tell_the_lowest_position_and_all_versions():
    other = TopicPartition("topic", 1)
    tasks = [task_at(7, 3), task_at(5, 4, "second"), task_at(9, 1, partition=other)]
    for order in tasks, tasks[::-1]:
        commits = commits_of(order, HERE, survives=True)
        assert {partition: witness.Testimony.of(each) for partition, each in commits.items()} == {
            PARTITION: witness.Testimony(5, HERE, {"count": 3, "second": 4}),
            other: witness.Testimony(9, HERE, {"count": 1}),
        }


def test_nothing_is_committed_that_tells_less_of_a_plugin_than_kafka_knows():
    """One is not loaded yet, or has failed here: its version is not known, and must not be forgotten."""
    assert commits_of([task_at(7, 3), task_at(None, 0, "loading")], HERE, survives=True) == {}
    failed = task_at(7, 3, "failed")
    failed.move(TaskStatus.FAILED)
    assert commits_of([task_at(7, 3), failed], HERE, survives=True) == {}


def test_nobody_expects_versions_of_a_store_that_does_not_survive():
    [commit] = commits_of([task_at(7, 3)], HERE, survives=False).values()
    assert witness.Testimony.of(commit) == witness.Testimony(7, HERE, {})


def test_what_is_stored_counts_and_not_what_is_in_memory():
    task = task_at(7, 3)
    task.start_at(20)
    [commit] = commits_of([task], HERE, survives=True).values()
    assert commit.position == 7


# ---- what is told


def test_an_offset_of_another_program_tells_nothing_where_any_plugin_has_state():
    other = TopicPartition("topic", 1)
    told = {PARTITION: witness.Testimony(10), other: witness.Testimony(10)}
    stored = [
        stored_unit(9, 10, unit=replace(UNIT, plugin="another"), version=5),
        stored_unit(unit=replace(UNIT, partition=1), version=0, description=None),
    ]
    assert without_foreign(told, stored) == {other: witness.Testimony(10)}


def test_an_offset_of_ours_always_tells():
    told = {PARTITION: witness.Testimony(10, HERE, {"count": 5})}
    assert without_foreign(told, [stored_unit(9, 10, version=7)]) == told


# ---- comparing

NEVER_SAVED = stored_unit(version=0, description=None)
WELL = {
    "nothing committed": (stored_unit(9, 10, version=5), None),
    "nothing at all": (None, None),
    "the same version": (stored_unit(9, 10, version=5), witness.Testimony(10, HERE, {"count": 5})),
    "a newer version": (stored_unit(9, 10, version=6), witness.Testimony(10, HERE, {"count": 5})),
    "a plugin that is new": (None, witness.Testimony(10, HERE, {"other": 5})),
    "a plugin that is new, in another store": (None, witness.Testimony(10, ELSEWHERE, {"other": 5})),
    "a state that was set aside": (
        stored_unit(version=5, description=None),
        witness.Testimony(10, HERE, {"count": 5}),
    ),
}
MISSING = {
    "another store, with nothing": (None, witness.Testimony(10, ELSEWHERE, {"count": 5}), "has no state of it"),
    "another store, with state": (
        stored_unit(9, 10, version=7),
        witness.Testimony(10, ELSEWHERE, {"count": 5}),
        f"version 5 of this state, up to position 10, is in the store with id {ELSEWHERE}; this store \\(id {HERE}\\) "
        "has version 7, up to offset 9",
    ),
    "an older version": (
        stored_unit(3, 4, version=4),
        witness.Testimony(10, HERE, {"count": 5}),
        "has version 4, up to offset 3, so it lost state or is an older copy",
    ),
    "nothing": (None, witness.Testimony(10, HERE, {"count": 5}), "has no state of it, so it lost state"),
    "a claim alone": (NEVER_SAVED, witness.Testimony(10, HERE, {"count": 5}), "has no state of it, so it lost state"),
    "another program's offset": (
        None,
        witness.Testimony(10),
        "has committed offset 10, .*: another program or a newer",
    ),
    "another program's offset beside a claim": (NEVER_SAVED, witness.Testimony(10), "another program"),
}


@pytest.mark.parametrize("policy", ["stop", "rebuild", "continue"])
@pytest.mark.parametrize(("stored", "testimony"), WELL.values(), ids=WELL)
def test_where_nothing_is_missing_all_is_well(stored, testimony, policy):
    assert check_testimony(UNIT, stored, testimony, HERE, policy) is None


@pytest.mark.parametrize(("stored", "testimony", "message"), MISSING.values(), ids=MISSING)
def test_what_is_missing_stops_with_the_choices(stored, testimony, message):
    with pytest.raises(
        StateMissingError, match=rf"^count on topic-0 .*{message}.*No state was changed.*--on-missing-state rebuild"
    ) as stopped:
        check_testimony(UNIT, stored, testimony, HERE, "stop")
    assert ("--on-missing-state continue" in str(stopped.value)) is bool(stored and stored.description)


@pytest.mark.parametrize(("stored", "testimony", "message"), MISSING.values(), ids=MISSING)
def test_rebuilding_goes_on_whatever_is_missing(stored, testimony, message):
    assert check_testimony(UNIT, stored, testimony, HERE, "rebuild")


@pytest.mark.parametrize(("stored", "testimony", "message"), MISSING.values(), ids=MISSING)
def test_only_with_state_can_it_be_continued(stored, testimony, message):
    if stored and stored.description:
        assert check_testimony(UNIT, stored, testimony, HERE, "continue")
    else:
        with pytest.raises(StateMissingError):
            check_testimony(UNIT, stored, testimony, HERE, "continue")
