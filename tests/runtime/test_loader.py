"""The loader, on a store of its own and a log that the test makes up."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from framework import (
    Anchor,
    Batch,
    Description,
    FencedError,
    OffsetOutOfRangeError,
    Processor,
    Record,
    RecordsLostError,
    StateIncompatibleError,
    TopicPartition,
    TopicRecreatedError,
    Unit,
)
from framework.codecs.json import JsonCodec
from framework.formats import format_named
from framework.runtime import loader as loader_module
from framework.runtime.anchor import checksum_of
from framework.runtime.applier import Definition
from framework.runtime.loader import Loader
from framework.runtime.lookup import Place
from framework.runtime.policy import ErrorPolicy
from framework.runtime.task import LogRange, PartitionTask, TaskStatus
from framework.stores.memory import MemoryStore

PARTITION = TopicPartition("topic", 0)
DESCRIPTION = Description("json", 1, 3, "cluster")
RECORDS = [Record(*PARTITION, offset, 1000 + offset, b"key", b"%d" % offset) for offset in range(10)]

WHOLE = LogRange(0, 10, "id")
LOST = LogRange(13, 20, "id")
REPLACED = {
    "shorter": (LogRange(0, 5), {}),
    "empty": (LogRange(0, 0), {}),
    "another id": (WHOLE._replace(topic_id="other"), {}),
    "another id, and behind": (LOST._replace(topic_id="other"), {}),
    "another record": (LogRange(0, 20), {(PARTITION, 9): RECORDS[9]._replace(value=b"another")}),
}


class Count(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1


class Log:
    """As much of a source as the loader needs."""

    def __init__(self) -> None:
        self.range = WHOLE
        self.records: dict[Place, Record] = {}
        self.asked: list[Place] = []

    async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
        return dict.fromkeys(partitions, self.range)

    async def records_at(self, places: Collection[Place]) -> dict[Place, Record]:
        self.asked += places
        return {place: self.records[place] for place in places if place in self.records}

    async def positions_at(self, partitions: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, timestamp)


@dataclass
class Gaps:
    """An observer."""

    seen: list[Mapping[str, Any]] = field(default_factory=list)

    def framework_gap(self, **told: Any) -> None:
        self.seen.append(told)


async def run_io(function: Any, *args: Any) -> Any:
    return function(*args)


@dataclass
class Rig:
    log: Log = field(default_factory=Log)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(Path()))
    gaps: Gaps = field(default_factory=Gaps)
    restored: list[tuple[int, int]] = field(default_factory=list)

    def task(self, plugin: str = "count") -> PartitionTask:
        definition = Definition(
            name=plugin,
            processor=Count,
            options=None,
            codec=JsonCodec(),
            key_format=format_named("utf8"),
            value_format=format_named("bytes"),
            on_error=ErrorPolicy(),
            keeps_rows=True,
            on_records_failed=lambda *_: None,
        )
        return PartitionTask(Unit("group", plugin, *PARTITION), definition, DESCRIPTION, lambda: 0.0)

    async def load(self, *tasks: PartitionTask, policy: Any = "stop", start: Any = "earliest", embedded=False) -> None:
        ready: list[TopicPartition] = []
        told = self.gaps, lambda *progress: self.restored.append(progress)
        loader = Loader(self.log, self.store, run_io, start, policy, embedded, *told)  # type: ignore[arg-type]
        await loader.load({PARTITION: tasks}, ready.append)
        assert ready == [PARTITION]

    async def load_new(self, policy: Any = "stop", **others: Any) -> PartitionTask:
        task = self.task()
        await self.load(task, policy=policy, **others)
        return task

    async def fill(self) -> None:
        """Apply all records, and store a checkpoint."""
        task = await self.load_new()
        task.move(TaskStatus.RUNNING)
        await apply(task, RECORDS)
        await self.save(task)

    async def save(self, task: PartitionTask) -> None:
        checkpoint = await task.capture()
        assert checkpoint is not None
        assert self.store.save([checkpoint]) == [None]
        task.saved(checkpoint)


async def apply(task: PartitionTask, records: Sequence[Record]) -> None:
    async def breathe() -> None:
        return

    columns = {
        "offsets": [record.offset for record in records],
        "timestamps": [record.timestamp for record in records],
        "keys": [record.key for record in records],
        "values": [record.value for record in records],
        "headers": [()] * len(records),
    }
    await task.apply(Batch(PARTITION, records[0].offset, records[-1].offset + 1, **columns), breathe)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
async def filled(rig: Rig) -> Rig:
    await rig.fill()
    return rig


async def test_tells_how_much_is_loaded(filled, monkeypatch):
    monkeypatch.setattr(loader_module, "_FOLD_SECONDS", -1)
    size = filled.store.stored()[0].bytes
    await filled.load(filled.task(), filled.task("other"))
    assert filled.restored == [(size, size)]
    unit = filled.store._units[Unit("group", "count", *PARTITION)]
    unit.changes.append(unit.changes[0])
    unit.stored = replace(unit.stored, bytes=2 * size)
    filled.restored.clear()
    await filled.load(filled.task())
    assert filled.restored == [(size, 2 * size), (2 * size, 2 * size)]


@pytest.mark.parametrize(("start", "position"), [("earliest", 3), ("latest", 8), (5, 5)])
async def test_where_a_new_partition_begins_is_stored(rig, start, position):
    rig.log.range = LogRange(3, 8)

    task = await rig.load_new(start=start)

    assert (task.status, task.position, task.last_offset) == (TaskStatus.SEEKING, position, -1)
    assert rig.store.stored()[0].position == position
    assert (await rig.load_new(start=0)).position == position


@pytest.mark.parametrize(
    "log_range", [WHOLE, LogRange(10, 10, "id"), LogRange(9, 30, "id"), LogRange(10, 30, None)], ids=str
)
@pytest.mark.parametrize("there", [True, False], ids=["anchor there", "anchor gone"])
async def test_goes_on_in_the_log_that_it_was_built_from(filled, log_range, there):
    filled.log.range = log_range
    filled.log.records = {(PARTITION, 9): RECORDS[9]} if there else {}

    task = await filled.load_new("rebuild")

    assert (task.position, task.view()) == (10, {"key": 10})
    assert filled.log.asked == ([(PARTITION, 9)] if log_range.start <= 9 else [])
    assert [stored.unit.group for stored in filled.store.stored()] == ["group"]


async def test_the_anchor_is_stored_with_every_checkpoint(filled):
    anchor = Anchor("id", RECORDS[9].timestamp, checksum_of(RECORDS[9]))
    assert filled.store.stored()[0].anchor == anchor
    filled.log.range = WHOLE._replace(topic_id=None)
    task = await filled.load_new()
    task.move(TaskStatus.RUNNING)
    await apply(task, [RECORDS[9]._replace(offset=10)])
    await filled.save(task)
    assert filled.store.stored()[0].anchor == anchor


async def test_a_topic_id_that_is_told_later_is_stored(rig):
    rig.log.range = WHOLE._replace(topic_id=None)
    await rig.fill()
    assert rig.store.stored()[0].anchor.topic_id is None
    rig.log.range = WHOLE
    task = await rig.load_new()
    task.move(TaskStatus.RUNNING)
    await apply(task, [RECORDS[9]._replace(offset=10)])
    await rig.save(task)
    assert rig.store.stored()[0].anchor.topic_id == "id"


async def test_a_topic_id_is_enough_where_no_record_was_applied(rig):
    await rig.load_new(start="latest")
    rig.log.range = WHOLE._replace(topic_id="other")
    with pytest.raises(TopicRecreatedError, match="has no records and goes on at 10"):
        await rig.load_new()


async def test_stop_leaves_everything_as_it_is(filled):
    before = filled.store.stored()
    filled.log.range = LOST
    with pytest.raises(OffsetOutOfRangeError, match="up to 3 records are gone"):
        await filled.load_new()
    [after] = filled.store.stored()
    assert replace(after, epoch=before[0].epoch) == before[0]
    assert filled.gaps.seen == []


@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize("kind", REPLACED)
async def test_another_log_is_never_gone_on_with(filled, policy, kind):
    filled.log.range, filled.log.records = REPLACED[kind]
    before = filled.store.stored()
    with pytest.raises(TopicRecreatedError, match=r"Choose --on-out-of-range rebuild .*or another --group"):
        await filled.load_new(policy)
    [after] = filled.store.stored()
    assert replace(after, epoch=before[0].epoch) == before[0]
    assert filled.gaps.seen == []


@pytest.mark.parametrize("kind", ["lost", *REPLACED])
async def test_rebuild_sets_the_state_aside_and_starts_at_the_logs_beginning(filled, kind):
    [old], old_rows = filled.store.stored(), list(filled.store.rows(Unit("group", "count", *PARTITION)))
    filled.log.range, filled.log.records = {"lost": (LOST, {}), **REPLACED}[kind]

    task = await filled.load_new("rebuild")

    assert (task.status, task.position, task.last_offset, task.view()) == (
        TaskStatus.SEEKING,
        filled.log.range.start,
        -1,
        {},
    )
    new, aside = filled.store.stored()
    assert aside == replace(old, unit=replace(old.unit, group="group.aside-1"), epoch=old.epoch + 1)
    assert list(filled.store.rows(aside.unit)) == old_rows
    assert (new.position, new.last_offset, new.missing_offsets) == (filled.log.range.start, -1, 0)
    assert new.anchor == Anchor(filled.log.range.topic_id)
    assert new.epoch == task.epoch > aside.epoch
    assert (await filled.load_new("stop")).position == filled.log.range.start


async def test_continue_keeps_the_state_and_counts_the_gap(filled, caplog):
    filled.log.range = LOST

    task = await filled.load_new("continue")

    assert (task.position, task.last_offset, task.view()) == (13, 9, {"key": 10})
    assert filled.gaps.seen == [{"plugin": "count", "partition": PARTITION, "first": 10, "stop": 13}]
    assert "offsets 10 to 12 are gone from the log" in caplog.text
    [stored] = filled.store.stored()
    assert (stored.position, stored.last_offset, stored.missing_offsets) == (13, 9, 3)
    filled.log.range = LogRange(15, 20, "id")
    await filled.load_new("continue")
    assert filled.store.stored()[0].missing_offsets == 5
    await filled.load_new("stop")
    assert len(filled.gaps.seen) == 2


@pytest.mark.parametrize("policy", ["stop", "rebuild", "continue"])
async def test_the_embedded_broker_loses_records_whatever_the_policy(filled, policy):
    filled.log.range = LOST
    with pytest.raises(RecordsLostError, match="embedded broker dropped records"):
        await filled.load_new(policy, embedded=True)


async def test_each_plugin_is_compared_with_the_log_by_itself(filled):
    filled.log.range = LogRange(10, 20, "id")
    fresh, old = filled.task("fresh"), filled.task()
    await filled.load(fresh, old)
    assert (fresh.position, old.position) == (10, 10)
    filled.log.range, filled.log.records = WHOLE, {(PARTITION, 9): RECORDS[9]._replace(key=b"another")}
    with pytest.raises(TopicRecreatedError, match="count on topic-0"):
        await filled.load(filled.task("fresh"), filled.task())


async def test_a_changed_partition_count_is_refused_before_anything_else(filled):
    filled.log.range = WHOLE._replace(topic_id="other")
    task = filled.task()
    task.description = replace(DESCRIPTION, partitions=4)
    before = filled.store.stored()
    with pytest.raises(StateIncompatibleError, match=r"built over 3 partitions, the topic has 4 now.*new --group"):
        await filled.load(task, policy="rebuild")
    assert filled.store.stored() == before


async def test_rows_that_another_owner_may_have_written_are_not_loaded():
    """A worker that is stopped between its claim and its load wakes up behind the next owner's checkpoints."""

    class StoppedBeforeLoading(Log):
        async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
            rig.store.claim(task.unit, lambda stored: None)
            return await super().log_ranges(partitions)

    rig = Rig()
    await rig.load(rig.task())
    rig.log, task = StoppedBeforeLoading(), rig.task()
    with pytest.raises(FencedError):
        await rig.load(task)
    assert not task.is_loaded
