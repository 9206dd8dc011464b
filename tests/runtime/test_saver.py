"""The saver: outputs and checkpoints on their way out of memory, and what comes of them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from framework import (
    CodecError,
    FencedError,
    Outcome,
    OutputError,
    StateConflictError,
    StateCorruptError,
    TopicPartition,
    hookimpl,
)
from framework.codecs.json import JsonCodec
from framework.runtime import witness
from framework.runtime.assignment import Assignment
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.saver import Saver
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import SAVED, Checkpoint, Description, Progress
from tests.runtime.played import (
    KINDS,
    Clock,
    Faults,
    PlayedSink,
    PlayedSource,
    PlayedStore,
    breathe,
    definition_of,
    make_batch,
    observers_of,
    run_io,
    running,
    until,
)

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)
DESCRIPTION = Description(codec="json", state_version=1, partitions=3, cluster_id="cluster")
FOREIGN = [kind for kind in KINDS if kind is not StopIteration]


class Fragile(JsonCodec):
    def encode(self, value: Any) -> bytes:
        if "unstorable" in repr(value):
            raise ValueError("as told")
        return super().encode(value)


class Rig:
    """A saver over two partitions."""

    def __init__(
        self, *, survives: bool = True, interval: float = 1000.0, limits: Limits | None = None, observer: Any = None
    ) -> None:
        self.faults = Faults()
        self.store = PlayedStore(self.faults, survives=survives)
        self.sink, self.source = PlayedSink(self.faults), PlayedSource(self.faults)
        self.fenced: list[tuple[PartitionTask, FencedError]] = []
        limits = limits or Limits()
        self.assignment = Assignment(
            "group", "cluster", [definition_of(codec=Fragile())], Lifecycle(), clock=Clock(), limits=limits
        )
        self.saver = Saver(
            self.assignment,
            source=self.source,
            sink=self.sink,
            store=self.store,
            run_io=run_io,
            observers=observers_of(*([observer] if observer else [])),
            interval=interval,
            limits=limits,
            on_fenced=self._on_fenced,
        )
        self.one, self.two = (tasks[0] for tasks in self.assignment.take_up({ONE: 3, TWO: 3}).values())
        for task in (self.one, self.two):
            [claim] = self.store.claim([task.unit], lambda unit, stored: None)
            running(task, claim)
        self.faults.calls.clear()

    def _on_fenced(self, task: PartitionTask, error: FencedError) -> None:
        task.fail()
        self.fenced.append((task, error))

    @property
    def tasks(self) -> list[PartitionTask]:
        return [self.one, self.two]

    async def apply(self, task: PartitionTask, *values: bytes, key: str = "a") -> None:
        records = make_batch(
            [key] * len(values), at=task.position or 0, values=values or None, partition=task.partition
        )
        await task.live.apply(records, breathe)

    def stored_offsets(self) -> list[int]:
        return [each.own_progress.last_offset for each in self.store.stored()]


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def applied(rig: Rig) -> Rig:
    await rig.apply(rig.one, b"1", b"send")
    await rig.apply(rig.two, b"1")
    return rig


# ---- in order


async def test_outputs_are_acknowledged_before_the_checkpoint_that_covers_them_is_saved(rig):
    await applied(rig)
    rig.sink.may_flush.clear()
    saving = asyncio.create_task(rig.saver.save(rig.tasks))
    await until(lambda: rig.saver.saving)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [output.value for output in rig.sink.sent] == [b"x"]
    assert rig.store.saved == []
    rig.sink.may_flush.set()
    await saving
    assert rig.stored_offsets() == [1, 0]
    assert rig.saver.saving is None
    assert rig.saver.last_saved is not None


async def test_nothing_is_saved_where_nothing_changed(rig):
    await rig.saver.save(rig.tasks)
    rig.store.saved.clear()
    await rig.saver.save(rig.tasks)
    await rig.saver.finish()
    assert rig.store.saved == []


async def test_records_are_applied_while_a_save_is_under_way(rig):
    await applied(rig)
    rig.sink.may_flush.clear()
    await rig.saver.begin(rig.tasks)
    under_way = rig.saver.saving
    await rig.apply(rig.one, b"2")
    assert rig.saver.saving is under_way
    rig.sink.may_flush.set()
    await rig.saver.finish()
    assert rig.stored_offsets() == [1, 0]
    await rig.saver.save(rig.tasks)
    assert rig.stored_offsets() == [2, 0]


async def test_a_save_is_begun_when_it_is_time_and_no_other_one_is_under_way():
    rig = await applied(Rig(interval=0.0))
    rig.sink.may_flush.clear()
    await rig.saver.save_if_due()
    under_way = rig.saver.saving
    assert under_way is not None
    await rig.saver.save_if_due()
    assert rig.saver.saving is under_way
    rig.sink.may_flush.set()
    await until(lambda: rig.saver.saving is None)
    assert rig.one.stored.last_offset == -1
    await rig.saver.save_if_due()
    assert rig.one.stored.last_offset == 1


async def test_no_save_is_begun_before_it_is_time(rig):
    await applied(rig)
    await rig.saver.save_if_due()
    assert rig.saver.saving is None


async def test_a_save_when_it_is_time_is_of_the_tasks_that_run():
    rig = await applied(Rig(interval=0.0))
    rig.two.move(TaskStatus.DRAINING)
    await rig.saver.save_if_due()
    await rig.saver.finish()
    assert rig.stored_offsets() == [1, -1]


async def test_outputs_of_a_task_that_has_none_or_no_memory_are_not_handed_over(rig):
    await rig.saver.send_outputs(rig.one)
    rig.one.drop()
    await rig.saver.send_outputs(rig.one)
    assert rig.faults.calls == []


async def test_all_checkpoints_of_a_save_share_what_it_may_spend_on_bases():
    limits = Limits(base_floor=0, base_keys=3, first_row_keys=1, largest_row_keys=1)
    rig = Rig(limits=limits)
    for _ in range(2):
        for task in rig.tasks:
            await rig.apply(task, *[b"v"] * 1, key="k")
        await rig.saver.save(rig.tasks)
    rows = [changes for checkpoint in rig.store.saved[-1] for changes in checkpoint.tables.values()]
    assert all(changes.base for changes in rows)


# ---- what is committed


async def test_what_is_stored_is_committed_with_the_versions(rig):
    await applied(rig)
    await rig.saver.save(rig.tasks)
    await until(lambda: rig.source.offsets)
    told = {partition: witness.Testimony.of(each) for partition, each in rig.source.offsets.items()}
    store = rig.store.id_of("group")
    assert told == {
        ONE: witness.Testimony(2, store, {"count": 1}),
        TWO: witness.Testimony(1, store, {"count": 1}),
    }


async def test_the_id_of_the_store_is_asked_for_once(rig):
    for _ in range(3):
        await rig.saver.commit()
    assert rig.faults.calls.count("store.id_of") == 1


async def test_a_task_that_failed_is_not_committed(rig):
    await applied(rig)
    await rig.saver.save(rig.tasks)
    rig.source.offsets.clear()
    rig.two.fail()
    await rig.saver.commit()
    assert rig.source.offsets.keys() == {ONE}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["store.id_of", "source.commit"])
async def test_a_commit_that_fails_is_logged_and_tried_again(rig, border, kind, caplog):
    await applied(rig)
    await rig.saver.save(rig.tasks)
    await until(lambda: rig.source.offsets)
    again = Rig()
    again.faults.plant(border, kind())
    await applied(again)
    with caplog.at_level(logging.WARNING, "framework"):
        await again.saver.commit()
    assert f"could not commit offsets to the group: {kind.__name__}" in caplog.text
    await again.saver.save(again.tasks)
    await until(lambda: again.source.offsets)


async def test_an_interrupt_out_of_a_commit_is_raised_on(rig):
    rig.faults.plant("store.id_of", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await rig.saver.commit()


# ---- lost answers


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["store.save", "store.save, after"])
async def test_a_save_whose_answer_is_lost_is_asked_again(rig, border, kind, caplog):
    await applied(rig)
    rig.faults.plant(border, kind("planted"))
    with caplog.at_level(logging.WARNING, "framework"):
        await rig.saver.save(rig.tasks)
    first, second = rig.store.saved
    assert first is second
    assert rig.stored_offsets() == [1, 0]
    assert all(task.can_be_stored for task in rig.tasks)
    assert [task.version for task in rig.tasks] == [1, 1]
    assert f"the store failed to save, or its answer was lost; trying again: {kind.__name__}" in caplog.text
    await rig.apply(rig.one, b"2")
    await rig.saver.save(rig.tasks)
    assert rig.stored_offsets() == [2, 0]


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["store.save", "store.save, after"])
async def test_a_second_failure_is_raised_and_nothing_counts_as_stored(rig, border, kind):
    await applied(rig)
    rig.faults.plant(border, ConnectionError("first"), kind("second"))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        await rig.saver.save(rig.tasks)
    assert isinstance(caught.value, kind) or isinstance(caught.value.__cause__, kind)
    assert [task.stored.last_offset for task in rig.tasks] == [-1, -1]
    assert not any(task.can_be_stored for task in rig.tasks)
    assert rig.saver.saving is None
    rig.store.saved.clear()
    await rig.saver.save(rig.tasks)
    assert rig.store.saved == []
    assert rig.saver.last_saved is None


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["sink.flushed", "sink.flushed, called"])
async def test_outputs_that_are_not_acknowledged_are_raised_and_nothing_is_saved(rig, border, kind):
    await applied(rig)
    rig.faults.plant(border, kind("planted"))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        await rig.saver.save(rig.tasks)
    assert isinstance(caught.value, kind) or isinstance(caught.value.__cause__, kind)
    assert rig.store.saved == []
    assert not any(task.can_be_stored for task in rig.tasks)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("border", ["sink.send", "sink.send, after"])
async def test_outputs_that_cannot_be_handed_over_are_never_covered(rig, border, kind):
    await applied(rig)
    rig.faults.plant(border, kind("planted"))
    with pytest.raises(kind):
        await rig.saver.save(rig.tasks)
    assert not rig.one.can_be_stored
    await rig.saver.save(rig.tasks)
    assert rig.one.stored.last_offset == -1
    assert rig.stored_offsets() == [-1, 0]


@pytest.mark.parametrize(
    "answers",
    [
        lambda outcomes: outcomes[:1],
        lambda outcomes: [*outcomes, outcomes[0]],
        lambda outcomes: [],
        lambda outcomes: None,
    ],
    ids=["too few", "too many", "none", "not even a list"],
)
async def test_outcomes_of_another_number_are_an_error(rig, answers):
    await applied(rig)
    rig.store.answers = answers
    with pytest.raises((ValueError, TypeError)):
        await rig.saver.save(rig.tasks)
    assert [task.stored.last_offset for task in rig.tasks] == [-1, -1]
    assert not any(task.can_be_stored for task in rig.tasks)


# ---- other outcomes


def corrupt_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [Outcome("corrupt", StateCorruptError("a flipped bit")), *outcomes[1:]]


async def test_a_corrupt_unit_fails_alone_and_is_raised(rig):
    await applied(rig)
    rig.store.answers = corrupt_first
    with pytest.raises(StateCorruptError, match="a flipped bit"):
        await rig.saver.save(rig.tasks)
    assert [task.status for task in rig.tasks] == [TaskStatus.FAILED, TaskStatus.RUNNING]
    assert rig.one.applier is None
    assert rig.two.stored.last_offset == 0
    assert rig.two.can_be_stored


async def test_a_fenced_unit_fails_alone_and_is_told(rig):
    await applied(rig)
    rig.store.claim([rig.one.unit], lambda unit, stored: None)
    await rig.saver.save(rig.tasks)
    [(task, error)] = rig.fenced
    assert task is rig.one
    assert "claimed it" in str(error)
    assert rig.two.stored.last_offset == 0
    assert rig.saver.last_saved is not None


async def test_a_unit_that_something_else_wrote_fails_alone_with_an_error(rig):
    await applied(rig)
    for version in (1, 2):
        written = Checkpoint(rig.one.unit, rig.one.epoch, version, {ONE: Progress(7, 8)}, DESCRIPTION)
        assert rig.store.save([written]) == [SAVED]
    with pytest.raises(StateConflictError, match="another program wrote"):
        await rig.saver.save(rig.tasks)
    assert rig.fenced == []
    assert [task.status for task in rig.tasks] == [TaskStatus.FAILED, TaskStatus.RUNNING]
    assert rig.stored_offsets() == [7, 0]


async def test_a_task_that_was_dropped_while_it_was_saved_knows_what_is_stored(rig):
    """As after a rewind: its next load finds that version."""
    await applied(rig)
    rig.sink.may_flush.clear()
    await rig.saver.begin(rig.tasks)
    rig.one.drop()
    rig.sink.may_flush.set()
    await rig.saver.finish()
    assert (rig.one.version, rig.one.stored.last_offset, rig.one.position) == (1, 1, 2)
    assert not rig.one.can_be_stored


async def test_one_that_cannot_be_captured_fails_and_the_others_are_saved(rig):
    await applied(rig)
    await rig.apply(rig.one, b"1", key="unstorable")
    with pytest.raises(CodecError, match="key 'unstorable'"):
        await rig.saver.begin(rig.tasks)
    assert rig.one.status is TaskStatus.FAILED
    await rig.saver.finish()
    assert rig.stored_offsets() == [-1, 0]


# ---- observers


class Told:
    def __init__(self, kind: type[BaseException] | None = None) -> None:
        self.kind = kind
        self.seen: list[Any] = []

    @hookimpl
    def framework_checkpoint_saved(
        self, plugin: str, partition: TopicPartition, last_offset: int, changes: int
    ) -> None:
        self.seen.append((plugin, partition, last_offset, changes))
        if self.kind is not None:
            raise self.kind


@pytest.mark.parametrize("kind", [None, *KINDS])
async def test_observers_are_told_and_change_nothing(kind):
    observer = Told(kind)
    rig = await applied(Rig(observer=observer))
    await rig.saver.save(rig.tasks)
    assert observer.seen == [("count", ONE, 1, 1), ("count", TWO, 0, 1)]
    assert all(task.can_be_stored for task in rig.tasks)
    assert rig.stored_offsets() == [1, 0]


# ---- cancelled


async def test_where_waiting_for_a_save_is_cancelled_nothing_counts_as_stored(rig):
    await applied(rig)
    rig.sink.may_flush.clear()
    saving = asyncio.create_task(rig.saver.save(rig.tasks))
    await until(lambda: rig.saver.saving)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert rig.saver.saving is None
    assert not any(task.can_be_stored for task in rig.tasks)
    rig.sink.may_flush.set()
    await rig.saver.save(rig.tasks)
    assert rig.store.saved == []


async def test_stopping_forgets_what_is_under_way(rig):
    await applied(rig)
    await rig.saver.stop()
    rig.sink.may_flush.clear()
    await rig.saver.begin(rig.tasks)
    await rig.saver.stop()
    assert rig.saver.saving is None
    assert rig.store.saved == []
    assert not any(task.can_be_stored for task in rig.tasks)


@pytest.mark.parametrize("kind", FOREIGN)
async def test_stopping_raises_nothing(rig, kind):
    await applied(rig)
    rig.faults.plant("sink.flushed", kind())
    await rig.saver.begin(rig.tasks)
    await until(lambda: rig.saver.saving is None)
    await rig.saver.stop()


async def test_an_output_error_is_itself(rig):
    await applied(rig)
    rig.faults.plant("sink.flushed", OutputError("not acknowledged"))
    with pytest.raises(OutputError, match="not acknowledged"):
        await rig.saver.save(rig.tasks)
