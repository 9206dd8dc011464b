"""The loader, on a store of its own and a log that the test makes up."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from framework import (
    Anchor,
    FencedError,
    OffsetOutOfRangeError,
    PluginError,
    Processor,
    Record,
    RecordsLostError,
    StateCorruptError,
    StateIncompatibleError,
    StateMissingError,
    StoreError,
    TopicPartition,
    TopicRecreatedError,
    Unit,
    hookimpl,
)
from framework.codecs.json import JsonCodec
from framework.runtime import witness
from framework.runtime.anchor import checksum_of
from framework.runtime.limits import Limits
from framework.runtime.loader import Loader
from framework.runtime.ports import Committed, LogRange
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import STATE_TABLE, Changes, Checkpoint, Progress, StoredUnit
from tests.runtime.played import (
    DESCRIPTION,
    KINDS,
    PARTITION,
    Count,
    PlayedSource,
    PlayedStore,
    breathe,
    captured,
    make_task,
    observers_of,
    run_io,
    to_batch,
    until,
)

UNIT = Unit("group", "count", *PARTITION)
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


@dataclass(eq=False)
class Gaps:
    """An observer."""

    seen: list[Mapping[str, Any]] = field(default_factory=list)

    @hookimpl
    def framework_gap(self, plugin: str, partition: TopicPartition, first: int, stop: int) -> None:
        self.seen.append({"plugin": plugin, "partition": partition, "first": first, "stop": stop})


@dataclass
class Rig:
    log: PlayedSource = field(default_factory=PlayedSource)
    store: PlayedStore = field(default_factory=PlayedStore)
    gaps: Gaps = field(default_factory=Gaps)
    restored: list[tuple[int, int]] = field(default_factory=list)
    ready: list[TopicPartition] = field(default_factory=list)

    def task(self, plugin: str = "count", **chosen: Any) -> PartitionTask:
        return make_task(name=plugin, **chosen)

    def loader(self, policy: Any = "stop", missing: Any = "stop", start: Any = "earliest", embedded=False) -> Loader:
        observers = observers_of(self.gaps)
        told = observers, lambda *progress: self.restored.append(progress)
        return Loader(self.log, self.store, run_io, start, policy, missing, embedded, *told)

    async def load(self, *tasks: PartitionTask, **chosen: Any) -> None:
        await self.loader(**chosen).load({PARTITION: tasks}, self.ready.append)
        assert self.ready.pop() == PARTITION

    async def load_new(self, policy: Any = "stop", **others: Any) -> PartitionTask:
        task = self.task()
        await self.load(task, policy=policy, **others)
        return task

    async def fill(self, plugin: str = "count") -> PartitionTask:
        """Apply all records, and store a checkpoint."""
        task = self.task(plugin)
        await self.load(task)
        task.move(TaskStatus.RUNNING)
        await task.live.apply(to_batch(RECORDS), breathe)
        await self.save(task)
        return task

    async def save(self, task: PartitionTask) -> None:
        checkpoint = await captured(task)
        [outcome] = self.store.save([checkpoint])
        assert outcome.kind == "saved"
        task.saved(checkpoint)

    def stored(self) -> list[StoredUnit]:
        return self.store.stored()

    @property
    def only(self) -> StoredUnit:
        [stored] = self.stored()
        return stored


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
async def filled(rig: Rig) -> Rig:
    await rig.fill()
    return rig


async def test_tells_how_much_is_loaded(filled):
    size = filled.only.bytes
    await filled.load(filled.task(), filled.task("other"))
    assert filled.restored == [(size, size)]


async def test_rows_are_loaded_in_goes_between_which_others_get_the_thread(filled):
    task = filled.task()
    await filled.load(task)
    task.move(TaskStatus.RUNNING)
    await task.live.apply(to_batch([RECORDS[9]._replace(offset=10)]), breathe)
    first = filled.only.bytes
    await filled.save(task)
    filled.log.logs[PARTITION] = LogRange(0, 20, "id")
    size = filled.only.bytes
    filled.restored.clear()
    loader = filled.loader()
    loader.limits = Limits(fold_seconds=-1.0)
    await loader.load({PARTITION: [filled.task()]}, filled.ready.append)
    assert filled.restored == [(first, size), (size, size)]
    assert loader.steps >= 4


@pytest.mark.parametrize(("start", "position"), [("earliest", 3), ("latest", 8), (5, 5)])
async def test_where_a_new_partition_begins_is_stored(rig, start, position):
    rig.log.logs[PARTITION] = LogRange(3, 8)

    task = await rig.load_new(start=start)

    assert (task.status, task.position, task.live.last_offset) == (TaskStatus.SEEKING, position, -1)
    assert rig.only.own_progress.position == position
    assert (await rig.load_new(start=0)).position == position


@pytest.mark.parametrize(
    "log_range", [WHOLE, LogRange(10, 10, "id"), LogRange(9, 30, "id"), LogRange(10, 30, None)], ids=str
)
@pytest.mark.parametrize("there", [True, False], ids=["anchor there", "anchor gone"])
async def test_goes_on_in_the_log_that_it_was_built_from(filled, log_range, there):
    filled.log.logs[PARTITION] = log_range
    filled.log.records = {(PARTITION, 9): RECORDS[9]} if there else {}

    task = await filled.load_new("rebuild")

    assert (task.position, task.view()) == (10, {"key": 10})
    assert filled.log.asked == ([(PARTITION, 9)] if log_range.start <= 9 else [])
    assert [stored.unit.group for stored in filled.store.stored()] == ["group"]


async def test_the_anchor_is_stored_with_every_checkpoint(filled):
    anchor = Anchor("id", RECORDS[9].timestamp, checksum_of(RECORDS[9]))
    assert filled.only.own_progress.anchor == anchor
    filled.log.logs[PARTITION] = WHOLE._replace(topic_id=None)
    task = await filled.load_new()
    task.move(TaskStatus.RUNNING)
    await task.live.apply(to_batch([RECORDS[9]._replace(offset=10)]), breathe)
    await filled.save(task)
    assert filled.only.own_progress.anchor == anchor


async def test_a_topic_id_that_is_told_later_is_stored(rig):
    rig.log.logs[PARTITION] = WHOLE._replace(topic_id=None)
    await rig.fill()
    assert rig.only.own_progress.anchor.topic_id is None
    rig.log.logs[PARTITION] = WHOLE
    task = await rig.load_new()
    task.move(TaskStatus.RUNNING)
    await task.live.apply(to_batch([RECORDS[9]._replace(offset=10)]), breathe)
    await rig.save(task)
    assert rig.only.own_progress.anchor.topic_id == "id"


async def test_a_topic_id_is_enough_where_no_record_was_applied(rig):
    await rig.load_new(start="latest")
    rig.log.logs[PARTITION] = WHOLE._replace(topic_id="other")
    with pytest.raises(TopicRecreatedError, match="has no records and goes on at 10"):
        await rig.load_new()


async def test_stop_leaves_everything_as_it_is(filled):
    before = filled.store.stored()
    filled.log.logs[PARTITION] = LOST
    with pytest.raises(OffsetOutOfRangeError, match="up to 3 records are gone"):
        await filled.load_new()
    [after] = filled.store.stored()
    assert replace(after, epoch=before[0].epoch) == before[0]
    assert filled.gaps.seen == []


@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize("kind", REPLACED)
async def test_another_log_is_never_gone_on_with(filled, policy, kind):
    filled.log.logs[PARTITION], filled.log.records = REPLACED[kind]
    before = filled.store.stored()
    with pytest.raises(TopicRecreatedError, match=r"Choose --on-out-of-range rebuild .*or another --group"):
        await filled.load_new(policy)
    [after] = filled.store.stored()
    assert replace(after, epoch=before[0].epoch) == before[0]
    assert filled.gaps.seen == []


@pytest.mark.parametrize("kind", ["lost", *REPLACED])
async def test_rebuild_sets_the_state_aside_and_starts_at_the_logs_beginning(filled, kind):
    [old], old_rows = filled.store.stored(), list(filled.store.load(UNIT))
    filled.log.logs[PARTITION], filled.log.records = {"lost": (LOST, {}), **REPLACED}[kind]

    task = await filled.load_new("rebuild")

    assert (task.status, task.position, task.live.last_offset, task.view()) == (
        TaskStatus.SEEKING,
        filled.log.logs[PARTITION].start,
        -1,
        {},
    )
    new, aside = filled.store.stored()
    assert aside == replace(old, unit=replace(old.unit, group="group.aside-1"), epoch=old.epoch + 1)
    assert list(filled.store.load(aside.unit)) == old_rows
    assert new.own_progress == Progress(
        -1, filled.log.logs[PARTITION].start, Anchor(filled.log.logs[PARTITION].topic_id)
    )
    assert new.epoch == task.epoch > aside.epoch
    assert (await filled.load_new("stop")).position == filled.log.logs[PARTITION].start


async def test_continue_keeps_the_state_and_counts_the_gap(filled, caplog):
    before = filled.only.own_progress
    filled.log.logs[PARTITION] = LOST

    task = await filled.load_new("continue")

    assert (task.position, task.live.last_offset, task.view()) == (13, 9, {"key": 10})
    assert filled.gaps.seen == [{"plugin": "count", "partition": PARTITION, "first": 10, "stop": 13}]
    assert "offsets 10 to 12 are gone from the log" in caplog.text
    assert filled.only.own_progress == Progress(9, 13, before.anchor, 3)
    filled.log.logs[PARTITION] = LogRange(15, 20, "id")
    await filled.load_new("continue")
    assert filled.only.own_progress.missing_offsets == 5
    await filled.load_new("stop")
    assert len(filled.gaps.seen) == 2


@pytest.mark.parametrize("policy", ["stop", "rebuild", "continue"])
async def test_the_embedded_broker_loses_records_whatever_the_policy(filled, policy):
    filled.log.logs[PARTITION] = LOST
    with pytest.raises(RecordsLostError, match="embedded broker dropped records"):
        await filled.load_new(policy, embedded=True)


async def test_each_plugin_is_compared_with_the_log_by_itself(filled):
    filled.log.logs[PARTITION] = LogRange(10, 20, "id")
    fresh, old = filled.task("fresh"), filled.task()
    await filled.load(fresh, old)
    assert (fresh.position, old.position) == (10, 10)
    filled.log.logs[PARTITION], filled.log.records = WHOLE, {(PARTITION, 9): RECORDS[9]._replace(key=b"another")}
    with pytest.raises(TopicRecreatedError, match="count on topic-0"):
        await filled.load(filled.task("fresh"), filled.task())


async def test_a_changed_partition_count_is_refused_before_anything_else(filled):
    filled.log.logs[PARTITION] = WHOLE._replace(topic_id="other")
    task = filled.task()
    task.description = replace(DESCRIPTION, partitions=4)
    before = filled.store.stored()
    with pytest.raises(StateIncompatibleError, match=r"built over 3 partitions, the topic has 4 now.*new --group"):
        await filled.load(task, policy="rebuild")
    assert filled.store.stored() == before


async def test_rows_that_another_owner_may_have_written_are_not_loaded():
    """A worker that is stopped between its claim and its load wakes up behind the next owner's checkpoints."""

    class StoppedBeforeLoading(PlayedSource):
        async def log_ranges(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, LogRange]:
            rig.store.claim([task.unit], lambda unit, stored: None)
            return await super().log_ranges(partitions)

    rig = Rig()
    await rig.load(rig.task())
    rig.log, task = StoppedBeforeLoading(), rig.task()
    with pytest.raises(FencedError):
        await rig.load(task)
    assert task.applier is None


# ---- warm memory


async def test_memory_that_is_as_it_was_stored_is_not_loaded_again(rig):
    opened: list[Processor] = []

    class Opens(Count):
        async def open(self):
            opened.append(self)

    task = rig.task(processor=Opens)
    await rig.load(task)
    task.move(TaskStatus.RUNNING)
    await task.live.apply(to_batch(RECORDS), breathe)
    await rig.save(task)
    memory = task.live.memory
    for status in TaskStatus.DRAINING, TaskStatus.RELEASED, TaskStatus.ASSIGNED:
        task.move(status)
    rig.store.faults.calls.clear()
    await rig.load(task)
    assert task.live.memory is memory
    assert (task.status, task.epoch, task.position) == (TaskStatus.SEEKING, 2, 10)
    assert "store.load" not in rig.store.faults.calls
    assert len(opened) == 1
    task.move(TaskStatus.RUNNING)
    await task.live.apply(to_batch([RECORDS[9]._replace(offset=10)]), breathe)
    await rig.save(task)


async def test_partitions_that_are_in_memory_flow_first(rig):
    other = TopicPartition("topic", 1)
    rig.log.logs[other] = LogRange(0, 10)
    warm = await rig.fill()
    for status in TaskStatus.DRAINING, TaskStatus.RELEASED, TaskStatus.ASSIGNED:
        warm.move(status)
    cold = rig.task(partition=other)
    order: list[TopicPartition] = []
    await rig.loader().load({other: [cold], PARTITION: [warm]}, order.append)
    assert order == [PARTITION, other]


# ---- what is damaged


def store_rows(rig: Rig, rows: Sequence[bytes], *, keys: int, table: str = STATE_TABLE) -> None:
    [claim] = rig.store.claim([UNIT], lambda unit, stored: None)
    progress = {PARTITION: Progress(4, 5)}
    checkpoint = Checkpoint(UNIT, claim.epoch, 1, progress, DESCRIPTION, {table: Changes(keys, rows=rows)})
    assert rig.store.save([checkpoint])[0].is_stored


def row(**present: int) -> bytes:
    return JsonCodec().encode([present, []])


@pytest.mark.parametrize("keys", [0, 1, 3])
async def test_another_number_of_keys_than_was_stored_is_refused(rig, keys):
    store_rows(rig, [row(a=1), row(b=2)], keys=keys)
    task = rig.task()
    with pytest.raises(
        StateCorruptError,
        match=f"^count on topic-0 .*: 2 keys were loaded, but {keys} were stored, in memory; nothing was changed",
    ):
        await rig.load(task)
    assert task.applier is None
    assert rig.only.own_progress == Progress(4, 5)


async def test_the_number_of_keys_that_was_stored_is_loaded(rig):
    store_rows(rig, [row(a=1), row(b=2), row(a=3)], keys=2)
    assert (await rig.load_new()).view() == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("rows", "table", "message"),
    [
        ([b"{"], STATE_TABLE, "codec json cannot read a row"),
        ([b"5"], STATE_TABLE, "neither a piece of a base nor changes"),
        ([row(a=1)], "$unknown", r"rows of a table '\$unknown', which this framework does not know"),
    ],
)
async def test_rows_that_are_none_are_refused_with_the_unit(rig, rows, table, message):
    store_rows(rig, rows, keys=0, table=table)
    with pytest.raises(StateCorruptError, match=f"^count on topic-0 .*{message}"):
        await rig.load_new()


async def test_rows_are_let_go_of_where_a_load_ends_early(rig):
    closed: list[Unit] = []

    class Closes(PlayedStore):
        def load(self, unit, epoch=None):
            try:
                yield from super().load(unit, epoch)
            finally:
                closed.append(unit)

    rig.store = Closes()
    store_rows(rig, [b"{", row(a=1)], keys=1)
    with pytest.raises(StateCorruptError):
        await rig.load_new()
    assert closed == [UNIT]


# ---- what is raised, and cancelled

BORDERS = [
    "source.committed",
    "store.id_of",
    "store.claim",
    "store.claim, after",
    "source.log_ranges",
    "source.records_at",
    "store.load",
    "store.load, a row",
    "store.save",
    "store.save, after",
]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not StopIteration])
@pytest.mark.parametrize("border", BORDERS)
async def test_whatever_a_border_raises_comes_out_and_the_next_load_is_well(filled, border, kind):
    filled.log.logs[PARTITION] = LogRange(0, 20, "id")
    filled.log.records[(PARTITION, 9)] = RECORDS[9]
    faults = filled.store.faults if border.startswith("store") else filled.log.faults
    faults.plant(border, kind("planted"))
    task = migrating(filled.task())
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any
        await filled.loader().load({PARTITION: [task]}, filled.ready.append)
    error = caught.value
    assert isinstance(error, kind) or isinstance(error.__cause__, kind)
    assert filled.ready == []
    assert task.status is TaskStatus.LOADING
    assert not task.can_be_stored
    again = migrating(filled.task())
    await filled.load(again)
    assert (again.position, again.view()) == (10, {"key": 10})


def migrating(task: PartitionTask) -> PartitionTask:
    """A task that has something to save as soon as it is loaded."""

    class Newer(Count):
        state_version = 2

        @classmethod
        def migrate(cls, state, from_version):
            return

    task.definition = replace(task.definition, processor=Newer)
    task.description = replace(task.description, state_version=2)
    return task


async def test_a_processor_that_cannot_be_opened_is_not_ready(rig):
    class Fails(Count):
        async def open(self):
            raise ValueError("no connection")

    task = rig.task(processor=Fails)
    with pytest.raises(PluginError, match="could not be opened: ValueError: no connection"):
        await rig.loader().load({PARTITION: [task]}, rig.ready.append)
    assert rig.ready == []
    assert task.applier is None


class Gate:
    """Calls wait for it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def run_io(self, function: Any, *args: Any) -> Any:
        self.waiting += 1
        await self.open.wait()
        return function(*args)


async def gated(rig: Rig, name: str) -> tuple[Gate, "asyncio.Task[None]"]:
    """A load that waits before it calls the store's method of this name."""
    gate, loader = Gate(), rig.loader()

    async def run(function: Any, *args: Any) -> Any:
        held = getattr(function, "__name__", "") == name
        return await (gate.run_io if held else run_io)(function, *args)

    loader.run_io = run
    loading = asyncio.create_task(loader.load({PARTITION: [rig.task()]}, rig.ready.append))
    await until(lambda: gate.waiting)
    return gate, loading


async def test_a_claim_that_has_begun_is_waited_for_also_where_the_load_is_cancelled(rig):
    """It must not come after that of the next owner."""
    gate, loading = await gated(rig, "claim")
    loading.cancel()
    await asyncio.sleep(0)
    assert not loading.done()
    assert rig.stored() == []
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert rig.only.epoch == 1


async def test_a_claim_that_fails_while_the_load_is_cancelled_is_the_news(rig):
    gate, loading = await gated(rig, "claim")
    loading.cancel()
    await asyncio.sleep(0)
    rig.store.faults.plant("store.claim", StoreError("the disk"))
    gate.open.set()
    with pytest.raises(StoreError, match="the disk"):
        await loading


async def test_somebody_elses_claim_before_the_first_checkpoint_is_told(rig):
    gate, loading = await gated(rig, "save")
    rig.store.claim([UNIT], lambda unit, stored: None)
    gate.open.set()
    with pytest.raises(FencedError):
        await loading
    assert rig.ready == []


# ---- the witness


def tell(rig: Rig, position: int = 10, store: str | None = None, **versions: int) -> None:
    """What the group has committed."""
    store = rig.store.id_of("group") if store is None else store
    rig.log.offsets[PARTITION] = witness.Testimony(position, store, versions).to_committed()


async def lower(rig: Rig) -> None:
    await rig.fill()
    tell(rig, count=rig.only.version + 3)


async def elsewhere(rig: Rig) -> None:
    await rig.fill()
    tell(rig, store="another", count=1)


async def empty(rig: Rig) -> None:
    tell(rig, store="another", count=5)


async def another_program(rig: Rig) -> None:
    rig.log.offsets[PARTITION] = Committed(7, "somebody")


WITH_STATE = [lower, elsewhere]
WITHOUT = [empty, another_program]


@pytest.mark.parametrize("case", [*WITH_STATE, *WITHOUT])
async def test_where_kafka_knows_newer_state_nothing_is_claimed(rig, case):
    await case(rig)
    before = rig.stored()
    task = rig.task()
    with pytest.raises(StateMissingError, match="No state was changed"):
        await rig.load(task)
    assert rig.stored() == before
    assert rig.ready == []
    assert task.applier is None


@pytest.mark.parametrize("case", WITHOUT)
async def test_what_is_not_there_is_built_anew_from_the_logs_beginning(rig, case, caplog):
    await case(rig)
    rig.log.logs[PARTITION] = LogRange(3, 20, "id")
    with caplog.at_level(logging.WARNING, "framework"):
        task = await rig.load_new(missing="rebuild", start="latest")
    assert (task.position, task.view()) == (3, {})
    assert "building the state from the log's beginning" in caplog.text
    assert (await rig.load_new()).position == 3


@pytest.mark.parametrize("case", WITHOUT)
async def test_what_is_not_there_cannot_be_continued(rig, case):
    await case(rig)
    with pytest.raises(StateMissingError):
        await rig.load_new(missing="continue")
    assert rig.stored() == []


@pytest.mark.parametrize("there", [True, False], ids=["its last record there", "gone"])
@pytest.mark.parametrize("case", WITH_STATE)
async def test_older_state_is_set_aside_and_built_anew(rig, case, there):
    await case(rig)
    rig.log.records = {(PARTITION, 9): RECORDS[9]} if there else {}
    rig.log.logs[PARTITION] = LogRange(3, 20, "id")
    task = await rig.load_new(missing="rebuild")
    assert (task.position, task.live.last_offset, task.view()) == (3, -1, {})
    new, aside = rig.stored()
    assert (aside.unit.group, aside.own_progress.last_offset) == ("group.aside-1", 9)
    assert new.version > aside.version
    await rig.load_new()
    assert len(rig.stored()) == 2


@pytest.mark.parametrize("case", WITH_STATE)
async def test_older_state_is_continued(rig, case, caplog):
    await case(rig)
    with caplog.at_level(logging.WARNING, "framework"):
        task = await rig.load_new(missing="continue")
    assert (task.position, task.view()) == (10, {"key": 10})
    assert "continuing with the older state (--on-missing-state continue)" in caplog.text
    assert (await rig.load_new()).position == 10


async def test_older_state_that_is_continued_must_still_be_of_this_log(rig):
    await lower(rig)
    rig.log.logs[PARTITION] = LogRange(0, 20, "id")
    rig.log.records = {(PARTITION, 9): RECORDS[9]._replace(value=b"another")}
    with pytest.raises(TopicRecreatedError):
        await rig.load_new(missing="continue")


async def test_an_offset_of_another_program_beside_state_is_nothing(filled):
    await another_program(filled)
    assert (await filled.load_new()).position == 10


async def test_a_plugin_that_is_added_begins_where_another_has_state_and_the_offsets_were_reset(filled):
    await another_program(filled)
    old, new = filled.task(), filled.task("new")
    await filled.load(old, new)
    assert (old.position, new.position) == (10, 0)


async def test_a_plugin_that_is_added_later_begins_while_the_others_go_on(filled):
    tell(filled, count=filled.only.version)
    old, new = filled.task(), filled.task("new")
    await filled.load(old, new)
    assert (old.position, new.position) == (10, 0)


async def test_one_plugin_whose_state_is_missing_stops_all_and_claims_none(filled):
    tell(filled, count=filled.only.version, other=3)
    before = filled.stored()
    with pytest.raises(StateMissingError, match=r"^other on topic-0"):
        await filled.load(filled.task(), filled.task("other"))
    assert filled.stored() == before


async def test_of_several_plugins_only_the_one_that_misses_state_is_built_anew(filled):
    tell(filled, count=filled.only.version, other=3)
    old, other = filled.task(), filled.task("other")
    await filled.load(old, other, missing="rebuild")
    assert (old.position, old.view(), other.position) == (10, {"key": 10}, 0)
    assert [each.unit.group for each in filled.stored()] == ["group", "group"]
    await filled.load(filled.task(), filled.task("other"))


async def test_a_store_that_does_not_survive_asks_nothing(rig):
    rig.store = PlayedStore(survives=False)
    tell(rig, store="another", count=5)
    assert (await rig.load_new()).position == 0
    assert "source.committed" not in rig.log.faults.calls
