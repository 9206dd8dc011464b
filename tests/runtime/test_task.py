"""The partition task, step by step, without a store or Kafka."""

from dataclasses import replace
from typing import Any

import pytest

from framework import (
    Anchor,
    Batch,
    Claim,
    CodecError,
    Description,
    InternalError,
    OffsetOutOfRangeError,
    PluginError,
    Processor,
    Progress,
    Record,
    StateIncompatibleError,
    TallyError,
    TopicRecreatedError,
)
from framework.changes import fold_rows
from framework.codecs.json import JsonCodec
from framework.runtime.anchor import checksum_of
from framework.runtime.applier import Rewind
from framework.runtime.capture import BaseBudget
from framework.runtime.counts import Counts
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits
from framework.runtime.ports import LogRange
from framework.runtime.task import PartitionTask, TaskStatus
from framework.stores import STATE_TABLE
from tests.runtime.played import (
    KINDS,
    PARTITION,
    Clock,
    Count,
    breathe,
    captured,
    make_batch,
    make_task,
    rows_of,
    running,
    stored_unit,
)

# ---- its life

STEPS = {
    TaskStatus.ASSIGNED: {TaskStatus.LOADING, TaskStatus.RELEASED, TaskStatus.FAILED},
    TaskStatus.LOADING: {TaskStatus.SEEKING, TaskStatus.RELEASED, TaskStatus.FAILED},
    TaskStatus.SEEKING: {TaskStatus.RUNNING, TaskStatus.RELEASED, TaskStatus.FAILED},
    TaskStatus.RUNNING: {TaskStatus.DRAINING, TaskStatus.ASSIGNED, TaskStatus.FAILED},
    TaskStatus.DRAINING: {TaskStatus.RELEASED, TaskStatus.FAILED},
    TaskStatus.RELEASED: {TaskStatus.ASSIGNED, TaskStatus.FAILED},
    TaskStatus.FAILED: {TaskStatus.RELEASED, TaskStatus.FAILED},
}


@pytest.mark.parametrize("status", list(TaskStatus))
def test_only_the_steps_of_the_diagram_are_possible(status):
    task = make_task()
    for following in TaskStatus:
        task.status = status
        if following in STEPS[status]:
            task.move(following)
            assert task.status is following
        else:
            with pytest.raises(InternalError, match=f"from {status.value} to {following.value}"):
                task.move(following)
            assert task.status is status


def test_without_memory_there_is_no_state():
    task = make_task()
    with pytest.raises(InternalError, match="has no state in memory"):
        task.view()
    assert not task.can_be_stored
    assert (task.position, task.counts, task.is_waiting) == (None, Counts(), False)


async def test_what_is_dropped_and_loaded_again_counts_as_it_was_stored():
    task = running(make_task())
    await task.live.apply(make_batch(["a", "b"]), breathe)
    checkpoint = await captured(task)
    await task.live.apply(make_batch(["c"], at=2), breathe)
    task.saved(checkpoint)
    assert task.counts == Counts(3)
    task.drop()
    assert task.counts == Counts(2)
    assert task.position == 2
    task.move(TaskStatus.ASSIGNED)
    running(task, Claim(2, stored_unit(1, 2)), {"a": 1, "b": 1})
    assert task.counts == Counts(2)


# ---- what it accepts

COUNTS = Description("json", 1, 3, "cluster", "counts")


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (Description("msgpack", 1, 3, "cluster"), "codec msgpack"),
        (Description("json", 2, 3, "cluster"), "install the newer plugin"),
        (Description("json", 1, 4, "cluster"), "4 partitions"),
        (Description("json", 1, 3, "elsewhere"), "Kafka cluster elsewhere"),
        (Description("json", 1, 3, "cluster", row_format=99), "row format 99"),
        (Description("json", 1, 3, "cluster", "sums of a"), "was built with sums of a, but the plugin here has counts"),
    ],
)
def test_refuses_state_that_it_could_not_go_on_with(description, message):
    with pytest.raises(StateIncompatibleError, match=message):
        make_task(description=COUNTS).accept(stored_unit(description=description))


def test_accepts_its_own_state_and_one_whose_cluster_is_unknown():
    make_task().accept(None)
    make_task().accept(stored_unit())
    make_task().accept(stored_unit(description=None))
    make_task().accept(stored_unit(description=Description("json", 1, 3, None)))
    make_task().accept(stored_unit(description=Description("json", 1, 3, None, "sums of a")))
    make_task(description=COUNTS).accept(stored_unit())


# ---- migration

NEWER = Description("json", 2, 3, "cluster")


class Newer(Count):
    state_version = 2

    @classmethod
    def migrate(cls, state, from_version):
        for key in list(state):
            state[key] *= 100


async def test_migrates_older_state_at_the_same_offset():
    task = make_task(Newer, description=NEWER)
    old = stored_unit(7, 8, version=4)
    task.accept(old)
    running(task, Claim(2, old), {"a": 1})
    assert task.view() == {"a": 100}
    checkpoint = await captured(task)
    assert (checkpoint.own_progress, checkpoint.version) == (Progress(7, 8), 5)
    changes = checkpoint.tables[STATE_TABLE]
    assert (changes.base_begins, changes.base_ends, changes.rows) == (True, True, ())
    assert [JsonCodec().decode(piece) for piece in changes.base] == [{"a": 100}]
    task.saved(checkpoint)
    assert await task.capture() is None


def test_older_state_without_migrate_is_refused():
    class NoWay(Count):
        state_version = 2

    with pytest.raises(StateIncompatibleError, match="no migrate"):
        make_task(NoWay, description=NEWER).accept(stored_unit())


@pytest.mark.parametrize("kind", KINDS)
def test_a_migration_that_fails_says_so_and_nothing_of_it_can_be_stored(kind):
    class Failing(Newer):
        @classmethod
        def migrate(cls, state, from_version):
            state["half"] = "done"
            raise kind

    task = make_task(Failing, description=NEWER)
    with pytest.raises(
        StateIncompatibleError,
        match=rf"count could not migrate the state of .* from state_version 1 to 2: {kind.__name__}.*is unchanged",
    ):
        running(task, Claim(2, stored_unit(7, 8)), {"a": 1})
    assert not task.can_be_stored


def test_an_interrupted_migration_is_interrupted_and_nothing_of_it_can_be_stored():
    class Interrupted(Newer):
        @classmethod
        def migrate(cls, state, from_version):
            raise KeyboardInterrupt

    task = make_task(Interrupted, description=NEWER)
    with pytest.raises(KeyboardInterrupt):
        running(task, Claim(2, stored_unit(7, 8)), {"a": 1})
    assert not task.can_be_stored


# ---- warm memory


async def saved_once(**chosen: Any) -> PartitionTask:
    """A task with one checkpoint, of version 1 and epoch 1, that ends with offset 0."""
    task = running(make_task(**chosen))
    await task.live.apply(make_batch(["a"]), breathe)
    task.saved(await captured(task))
    return task


OURS = Claim(2, stored_unit(0, 1))


async def test_warm_memory_is_taken_up_only_if_the_store_is_still_ours():
    task = await saved_once()
    assert task.holds(OURS)
    assert not task.holds(Claim(3, stored_unit(0, 1, epoch=2)))
    assert not task.holds(Claim(2, stored_unit(0, 1, version=2)))
    assert not task.holds(Claim(2, stored_unit(0, 1, version=0)))
    assert not task.holds(Claim(1, None))
    await task.live.apply(make_batch(["a"], at=1), breathe)
    assert not task.holds(OURS)
    task.drop()
    assert not task.holds(OURS)


async def test_warm_memory_in_which_a_record_is_half_applied_is_not_taken_up():
    task = await saved_once()
    assert task.holds(OURS)
    with pytest.raises(Rewind):
        await task.live.apply(make_batch(["a"], at=1, values=[b"bad"]), breathe)
    assert not task.holds(OURS)


async def test_warm_memory_of_which_the_log_is_read_further_without_records_is_taken_up():
    task = await saved_once()
    await task.live.apply(Batch(PARTITION, 1, 7, [], [], [], [], []), breathe)
    assert task.holds(OURS)
    task.keep(OURS)
    assert (await captured(task)).own_progress.position == 7


async def test_warm_memory_goes_on_under_the_new_epoch():
    task = await saved_once()
    task.keep(OURS)
    await task.live.apply(make_batch(["a"], at=1), breathe)
    checkpoint = await captured(task)
    assert (checkpoint.epoch, checkpoint.version) == (2, 2)
    assert rows_of(checkpoint) == [[{"a": 2}, []]]


async def test_warm_memory_is_not_taken_up_where_what_was_captured_is_not_stored():
    task = make_task(Newer, description=NEWER)
    running(task, Claim(2, stored_unit(7, 8)), {"a": 1})
    checkpoint = await captured(task)
    assert not task.holds(Claim(3, stored_unit(7, 8, epoch=2)))
    task.saved(checkpoint)
    assert task.holds(Claim(3, stored_unit(7, 8, epoch=2, version=2)))


async def test_a_claim_begins_an_unfinished_base_anew():
    limits = Limits(base_floor=1, first_row_keys=1, largest_row_keys=1, base_keys=1)
    task = running(make_task(limits=limits))
    for offset, key in enumerate("abcdefgh"):
        await task.live.apply(make_batch([key], at=offset), breathe)
        checkpoint = await captured(task)
        task.saved(checkpoint)
    changes = checkpoint.tables[STATE_TABLE]
    assert changes.base
    assert not changes.base_ends
    task.keep(Claim(2, stored_unit(7, 8, version=8, row_bytes=100)))
    await task.live.apply(make_batch(["i"], at=8), breathe)
    assert (await captured(task)).tables[STATE_TABLE].base_begins


# ---- outputs on their way


async def test_outputs_that_were_not_handed_over_are_not_covered_by_a_checkpoint():
    task = running(make_task())
    await task.live.apply(make_batch(["a"], values=[b"send"]), breathe)
    with pytest.raises(InternalError, match="begun before all outputs were sent"):
        await task.capture()
    with task.handing_over() as outputs:
        assert [output.value for output in outputs] == [b"x"]
        assert not task.can_be_stored
    assert (await captured(task)).own_progress.last_offset == 0


@pytest.mark.parametrize("kind", [*KINDS, KeyboardInterrupt])
async def test_where_handing_over_fails_the_memory_cannot_be_stored(kind):
    task = await saved_once()
    with pytest.raises(kind), task.handing_over():
        raise kind
    assert not task.can_be_stored
    assert not task.holds(OURS)
    with pytest.raises(InternalError, match="cannot be stored now"):
        await task.capture()


async def test_handing_over_does_not_make_memory_whole_that_is_not():
    task = running(make_task())
    with pytest.raises(Rewind):
        await task.live.apply(make_batch(["a"], values=[b"bad"]), breathe)
    with task.handing_over():
        pass
    assert not task.can_be_stored


# ---- the processor


async def test_a_processor_is_opened_once_also_where_its_memory_is_kept():
    opened: list[Processor] = []

    class Opens(Count):
        async def open(self):
            opened.append(self)

    task = await saved_once(processor=Opens)
    await task.open()
    task.keep(OURS)
    await task.open()
    assert len(opened) == 1
    task.drop()
    task.load(Claim(3, stored_unit(0, 1, epoch=2)), {"a": 1})
    await task.open()
    assert len(opened) == 2
    assert opened[0] is not opened[1]


@pytest.mark.parametrize("kind", [*KINDS, KeyboardInterrupt])
async def test_a_processor_that_cannot_be_opened_is_closed_and_its_memory_dropped(kind):
    closed: list[Processor] = []

    class Fails(Count):
        async def open(self):
            raise kind

        async def close(self):
            closed.append(self)

    lifecycle = Lifecycle()
    task = await saved_once(processor=Fails, lifecycle=lifecycle)
    with pytest.raises(KeyboardInterrupt if kind is KeyboardInterrupt else PluginError):
        await task.open()
    assert task.applier is None
    await lifecycle.finish()
    assert len(closed) == 1


# ---- checkpoints


async def test_captures_what_changed():
    task = running(make_task())
    await task.live.apply(make_batch(["a", "b", "a", None]), breathe)
    checkpoint = await captured(task)
    assert (checkpoint.epoch, checkpoint.version) == (1, 1)
    assert (checkpoint.own_progress.last_offset, checkpoint.own_progress.position) == (3, 4)
    assert rows_of(checkpoint) == [[{"a": 2, "b": 1, None: 1}, []]]
    task.saved(checkpoint)
    assert await task.capture() is None
    await task.live.apply(make_batch(["b"], at=4), breathe)
    second = await captured(task)
    assert second.version == 2
    assert rows_of(second) == [[{"b": 2}, []]]


async def test_a_position_alone_is_a_checkpoint():
    task = running(make_task())
    await task.live.apply(Batch(PARTITION, 0, 7, [], [], [], [], []), breathe)
    checkpoint = await captured(task)
    assert checkpoint.own_progress == Progress(-1, 7)
    assert rows_of(checkpoint) == []


async def test_what_was_captured_is_not_captured_again_before_it_is_stored():
    task = running(make_task())
    await task.live.apply(make_batch(["a"]), breathe)
    checkpoint = await captured(task)
    await task.live.apply(make_batch(["a"], at=1), breathe)
    assert not task.can_be_stored
    with pytest.raises(InternalError, match="cannot be stored now"):
        await task.capture()
    task.saved(checkpoint)
    assert rows_of(await captured(task)) == [[{"a": 2}, []]]


async def test_memory_in_which_a_record_is_half_applied_is_not_captured():
    task = running(make_task())
    with pytest.raises(Rewind):
        await task.live.apply(make_batch(["a", "b"], values=[b"v", b"bad"]), breathe)
    assert not task.can_be_stored
    with pytest.raises(InternalError, match="cannot be stored now"):
        await task.capture()


class Failing(JsonCodec):
    """Raises for a value that holds `unstorable`."""

    kind: type[BaseException] = ValueError

    def encode(self, value: Any) -> bytes:
        if "unstorable" in repr(value):
            raise self.kind("as told")
        return super().encode(value)


class Keep(Processor):
    api_version = 1
    value_format = "utf8"

    def process(self, record, state, out):
        state[record.key] = record.value


@pytest.mark.parametrize("keeps_rows", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, CodecError, TypeError])
async def test_whatever_encoding_raises_nothing_is_captured_and_the_key_is_named(kind, keeps_rows):
    codec = Failing()
    codec.kind = kind
    task = running(
        make_task(Keep, codec=codec, value_format="utf8", keeps_rows=keeps_rows), Claim(1, stored_unit(4, 5))
    )
    await task.live.apply(make_batch(["a", "b", "c"], at=5, values=[b"1", b"unstorable", b"3"]), breathe)
    with pytest.raises(
        CodecError,
        match=r"plugin count on topic-0: codec json cannot hold the state of key 'b' \(value of type str\): .*; "
        r"the checkpoint of offsets 5 to 7 was not written\. The stored state ends at "
        r"offset 4",
    ):
        await task.capture()
    assert task.status is TaskStatus.FAILED
    assert not task.can_be_stored
    assert not task.holds(Claim(2, stored_unit(4, 5)))


async def test_an_interrupt_out_of_encoding_is_raised_on_and_nothing_can_be_stored():
    codec = Failing()
    codec.kind = KeyboardInterrupt
    task = running(make_task(Keep, codec=codec, value_format="utf8"))
    await task.live.apply(make_batch(["a"], values=[b"unstorable"]), breathe)
    with pytest.raises(KeyboardInterrupt):
        await task.capture()
    assert not task.can_be_stored


@pytest.mark.parametrize("keeps_rows", [True, False])
async def test_what_was_tallied_but_cannot_be_counted_fails_the_task_and_names_the_key(keeps_rows):
    class Mixed(Processor):
        api_version = 1

        def process_batch(self, batch, state, out):
            state.update({"b": "text"})
            state.tally(["a", "b"])

    task = running(make_task(Mixed, keeps_rows=keeps_rows))
    await task.live.apply(make_batch(["a", "b"]), breathe)
    with pytest.raises(
        TallyError, match=r"plugin count on topic-0: key 'b' was tallied, but its value is of type str; the checkpoint"
    ):
        await task.capture()
    assert task.status is TaskStatus.FAILED


async def test_a_key_that_comes_back_as_another_type_is_exact_after_a_load():
    class Swap(Processor):
        api_version = 1
        value_format = "json"

        def process(self, record, state, out):
            state.pop(1, None)
            state[record.value] = "here"

    rows: list[bytes] = []
    task = running(make_task(Swap, value_format="json"))
    for offset, value in enumerate([b"1", b"true", b"1.0"]):
        await task.live.apply(make_batch(["a"], at=offset, values=[value]), breathe)
        checkpoint = await captured(task)
        rows += checkpoint.tables[STATE_TABLE].rows
        task.saved(checkpoint)
        [(key, _)] = fold_rows(JsonCodec(), rows).items()
        assert repr(key) == repr(JsonCodec().decode(value))


async def test_a_store_that_keeps_no_rows_gets_the_whole_state():
    task = running(make_task(keeps_rows=False))
    await task.live.apply(make_batch(["a", "b"]), breathe)
    task.saved(await captured(task))
    await task.live.apply(make_batch(["a"], at=2), breathe)
    assert rows_of(await captured(task)) == [{"a": 2, "b": 1}]


async def test_what_a_save_may_spend_on_bases_is_shared():
    limits = Limits(base_floor=1, base_keys=3)
    budget = BaseBudget(4)
    for left in (1, 0, 0):
        task = make_task(limits=limits)
        running(task, Claim(1, stored_unit(row_bytes=100)), dict.fromkeys("klm", 1))
        task.start_at(9)
        await task.capture(budget)
        assert budget.keys == left


# ---- the log

LAST: Record = Record(*PARTITION, 9, 1000, b"a", b"v")
ANCHOR = Anchor("id", LAST.timestamp, checksum_of(LAST))


def at_ten(anchor: Anchor = ANCHOR) -> PartitionTask:
    return running(make_task(), Claim(2, stored_unit(9, 10, anchor=anchor)), {"a": 1})


def test_what_the_log_has_lost_is_told_with_the_choices():
    with pytest.raises(
        OffsetOutOfRangeError,
        match=r"ends with offset 9 and goes on at 10; the log holds offsets 13 to 19: up to 3 records are gone "
        r".*--on-out-of-range continue .* or rebuild .*--group",
    ) as caught:
        at_ten().check_log(LogRange(13, 20, "id"), None)
    assert not isinstance(caught.value, TopicRecreatedError)


@pytest.mark.parametrize(
    ("log_range", "record", "message"),
    [
        (LogRange(0, 9, "id"), None, "holds offsets 0 to 8: the topic was re-created, or its log truncated"),
        (LogRange(0, 0), None, "holds no records, and goes on at offset 0: the topic was re-created"),
        (LogRange(0, 20, "other"), LAST, r"the topic was re-created \(its id was id, now it is other\)"),
        (LogRange(13, 20, "other"), None, "its id was id"),
        (LogRange(0, 20, "id"), LAST._replace(key=b"b"), "the record at offset 9 is not the one"),
        (LogRange(0, 20), LAST._replace(value=None), "the record at offset 9 is not the one"),
        (LogRange(0, 20), LAST._replace(timestamp=1001), "the record at offset 9 is not the one"),
    ],
)
def test_another_log_is_told_from_one_that_lost_records(log_range, record, message):
    with pytest.raises(TopicRecreatedError, match=message):
        at_ten().check_log(log_range, record)


@pytest.mark.parametrize("log_range", [LogRange(0, 10), LogRange(10, 10, "id"), LogRange(10, 20, "id")])
@pytest.mark.parametrize("record", [None, LAST])
@pytest.mark.parametrize("anchor", [ANCHOR, replace(ANCHOR, topic_id=None)])
def test_edges_of_the_log_are_in_range(log_range, record, anchor):
    at_ten(anchor).check_log(log_range, record)


def test_a_position_is_needed_before_the_log_is_checked():
    task = make_task()
    task.load(Claim(1, None), {})
    with pytest.raises(InternalError, match="a position was needed"):
        task.check_log(LogRange(0, 10), None)


async def test_a_gap_is_counted_and_kept():
    task = at_ten()
    assert task.skip_gap(LogRange(13, 20)) == 10
    assert (await captured(task)).own_progress == Progress(9, 13, ANCHOR, 3)
    again = running(make_task(), Claim(3, stored_unit(9, 13, missing_offsets=3)), {})
    again.skip_gap(LogRange(14, 20))
    assert (await captured(again)).own_progress.missing_offsets == 4


async def test_the_anchor_is_of_the_last_offset():
    records = make_batch(["a", "b", "a"], at=10, values=[b"1", b"2", b"3"])
    task = at_ten()
    await task.live.apply(Batch(PARTITION, 10, 10, [], [], [], [], []), breathe)
    assert task.live.progress.anchor == ANCHOR
    await task.live.apply(records, breathe)
    checkpoint = await captured(task)
    assert checkpoint.own_progress.anchor == Anchor("id", 0, checksum_of(records[2]))
    task.saved(checkpoint)
    await task.live.apply(Batch(PARTITION, 13, 20, [], [], [], [], []), breathe)
    assert (await captured(task)).own_progress.anchor == Anchor("id", 0, checksum_of(records[2]))


async def test_a_checkpoint_amid_a_batch_has_the_anchor_of_the_record_before():
    records = make_batch(["a"] * 1000, values=[b"%d" % number for number in range(1000)])
    task = running(make_task(clock=Clock(1.0)))
    found: list[tuple[int, Anchor]] = []

    async def look() -> None:
        checkpoint = await task.capture()
        if checkpoint is None:
            return
        task.saved(checkpoint)
        found.append((checkpoint.own_progress.last_offset, checkpoint.own_progress.anchor))

    await task.live.apply(records, look)
    assert len(found) > 2
    assert found == [(offset, Anchor(None, 0, checksum_of(records[offset]))) for offset, _ in found]
