"""The partition task, step by step, without a store or Kafka."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from framework import (
    Anchor,
    Batch,
    Checkpoint,
    Claim,
    CodecError,
    Description,
    DeserializationError,
    InternalError,
    OffsetOutOfRangeError,
    Processor,
    Record,
    RecordError,
    StateIncompatibleError,
    StoredUnit,
    TallyError,
    TopicPartition,
    TopicRecreatedError,
    Unit,
)
from framework.codecs.json import JsonCodec
from framework.formats import format_named
from framework.runtime import capture as capture_module
from framework.runtime import task as task_module
from framework.runtime.anchor import checksum_of
from framework.runtime.applier import Definition, Rewind
from framework.runtime.policy import ErrorPolicy
from framework.runtime.task import LogRange, PartitionTask, TaskStatus

UNIT = Unit("group", "count", "topic", 0)
DESCRIPTION = Description("json", 1, 3, "cluster")


class Count(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.value == b"bad":
            state["half"] = "done"
            raise ValueError("no good")
        if record.value == b"send":
            out.send("other", "x", key=record.key)
        state[record.key] = state.get(record.key, 0) + 1


class CountBatch(Processor):
    api_version = 1

    def process_batch(self, batch, state, out):
        for key, value in zip(batch.keys, batch.values, strict=True):
            state[key] = state.get(key, 0) + 1
            if value == b"bad":
                raise ValueError("no good")


class CountAsync(Count):
    async def process(self, record, state, out):
        await asyncio.sleep(0)
        super().process(record, state, out)


def make_task(processor: type[Processor] = Count, *, on_error="stop", keeps_rows=True, failed=None, **formats: str):
    definition = Definition(
        name="count",
        processor=processor,
        options=None,
        codec=JsonCodec(),
        key_format=format_named(formats.get("key_format", "utf8")),
        value_format=format_named(formats.get("value_format", "bytes")),
        on_error=ErrorPolicy(on_error),
        keeps_rows=keeps_rows,
        on_records_failed=lambda *args: failed.append(args) if failed is not None else None,
    )
    clock = itertools.count()
    return PartitionTask(UNIT, definition, DESCRIPTION, lambda: float(next(clock)))


def stored(*, description: Description | None = DESCRIPTION, epoch=1, last_offset=-1, position: int | None = 0, size=0):
    return StoredUnit(UNIT, description, epoch, last_offset, position, 0, size, 0, None)


def running(task: PartitionTask, claim: Claim | None = None, data: dict[Any, Any] | None = None) -> PartitionTask:
    task.move(TaskStatus.LOADING)
    task.loaded(claim or Claim(1, None), {} if data is None else data)
    if task.is_new:
        task.start_at(0)
    task.move(TaskStatus.SEEKING)
    task.move(TaskStatus.RUNNING)
    return task


def batch(
    keys: Sequence[str | bytes | None], *, at: int = 0, values: Sequence[bytes] | None = None, start: int | None = None
) -> Batch:
    n = len(keys)
    return Batch(
        source=TopicPartition("topic", 0),
        start=at if start is None else start,
        end=at + n,
        offsets=list(range(at, at + n)),
        timestamps=[0] * n,
        keys=[key.encode() if isinstance(key, str) else key for key in keys],
        values=values or [b"v"] * n,
        headers=[()] * n,
    )


async def captured(task: PartitionTask) -> Checkpoint:
    checkpoint = await task.capture()
    assert checkpoint is not None
    return checkpoint


def row(checkpoint: Checkpoint) -> Any:
    (body,) = checkpoint.rows
    return JsonCodec().decode(body)


async def breathe() -> None:
    await asyncio.sleep(0)


PROCESSORS = pytest.mark.parametrize("processor", [Count, CountBatch, CountAsync])


@PROCESSORS
async def test_applies_records_in_order_and_captures_what_changed(processor):
    task = running(make_task(processor))
    await task.apply(batch(["a", "b", "a", None]), breathe)
    assert (task.last_offset, task.position) == (3, 4)
    checkpoint = await captured(task)
    assert (checkpoint.previous_offset, checkpoint.last_offset, checkpoint.position) == (-1, 3, 4)
    assert row(checkpoint) == [{"a": 2, "b": 1, None: 1}, []]
    task.saved(checkpoint)
    assert await task.capture() is None
    await task.apply(batch(["b"], at=4), breathe)
    second = await captured(task)
    assert second.previous_offset == 3
    assert row(second) == [{"b": 2}, []]


@PROCESSORS
async def test_skips_what_it_has(processor):
    task = running(make_task(processor), Claim(2, stored(last_offset=2, position=3)), {"a": 3})
    await task.apply(batch(["a"] * 3), breathe)
    assert task.view() == {"a": 3}
    await task.apply(batch(["a"] * 3, at=1), breathe)
    assert task.view() == {"a": 4}
    assert task.position == 4


async def test_refuses_a_gap_in_what_was_read():
    task = running(make_task())
    with pytest.raises(InternalError, match="records 0 to 5 never came"):
        await task.apply(batch(["a"], at=5), breathe)


async def test_follows_a_position_that_moves_without_records():
    task = running(make_task())
    await task.apply(Batch(TopicPartition("topic", 0), 0, 7, [], [], [], [], []), breathe)
    assert (task.last_offset, task.position) == (-1, 7)
    checkpoint = await captured(task)
    assert (checkpoint.rows, checkpoint.position, checkpoint.last_offset) == ([], 7, -1)


@PROCESSORS
async def test_a_failing_record_rewinds_and_leaves_no_trace(processor):
    task = running(make_task(processor))
    records = batch(["a", "b", "c"], values=[b"v", b"bad", b"v"])
    with pytest.raises(Rewind):
        await task.apply(records, breathe)
    task.void()
    task.move(TaskStatus.ASSIGNED)
    running(task)
    with pytest.raises(RecordError, match=r"count failed on topic-0 offset 1, key 'b': ValueError\('no good'\)"):
        await task.apply(records, breathe)
    assert task.view() == {"a": 1}
    assert (task.last_offset, task.position) == (0, 1)


@PROCESSORS
async def test_skip_goes_on_behind_the_failing_record(processor):
    failed: list[Any] = []
    task = running(make_task(processor, on_error="skip", failed=failed))
    records = batch(["a", "b", "c"], values=[b"v", b"bad", b"v"])
    with pytest.raises(Rewind):
        await task.apply(records, breathe)
    task.void()
    task.move(TaskStatus.ASSIGNED)
    running(task)
    await task.apply(records, breathe)
    assert task.view() == {"a": 1, "c": 1}
    assert (task.last_offset, task.position, task.applied, task.skipped) == (2, 3, 2, 1)
    assert [(plugin, list(errors)) for plugin, _, errors in failed] == [("count", [1])]


@pytest.mark.parametrize("values", [[b"1", b"x", b"2"], [b"x", b"1", b"2"], [b"1", b"2", b"x"]])
async def test_what_cannot_be_deserialized_never_reaches_the_plugin(values):
    task = running(make_task(value_format="int", on_error="skip"))
    await task.apply(batch(["a"] * 3, values=values), breathe)
    assert task.view() == {"a": 2}
    assert (task.position, task.skipped) == (3, 1)


async def test_a_key_that_is_not_utf8_stops_before_it():
    task = running(make_task())
    with pytest.raises(DeserializationError, match="topic-0 offset 1: the key is not utf8"):
        await task.apply(batch(["a", b"\xff", "a"]), breathe)
    assert task.view() == {"a": 1}
    assert (task.last_offset, task.position) == (0, 1)
    checkpoint = await captured(task)
    assert checkpoint.position == 1


async def test_outputs_of_a_failing_record_are_dropped():
    class SendThenFail(Processor):
        api_version = 1

        def process(self, record, state, out):
            out.send("other", record.value)
            if record.value == b"bad":
                raise ValueError

    task = running(make_task(SendThenFail, on_error="skip"))
    records = batch(["a", "b", "c"], values=[b"1", b"bad", b"2"])
    with pytest.raises(Rewind):
        await task.apply(records, breathe)
    task.void()
    task.move(TaskStatus.ASSIGNED)
    running(task)
    await task.apply(records, breathe)
    assert [output.value for output in task.take_outputs()] == [b"1", b"2"]


async def test_stops_between_records_when_it_is_drained():
    task = running(make_task())
    task._clock = iter(range(0, 10_000, 1)).__next__

    async def drain() -> None:
        task.move(TaskStatus.DRAINING)

    await task.apply(batch(["a"] * 1000), drain)
    assert task.position == task.last_offset + 1 == task.view()["a"] == 64
    assert (await captured(task)).last_offset == 63


async def test_a_value_that_the_codec_cannot_hold_is_named_and_nothing_is_captured():
    class Bad(Processor):
        api_version = 1

        def process(self, record, state, out):
            state[record.key] = object() if record.key == "b" else 1

    task = running(make_task(Bad))
    await task.apply(batch(["a", "b"]), breathe)
    with pytest.raises(CodecError, match=r"codec json cannot hold the state of key 'b'.*object"):
        await task.capture()
    assert task.status is TaskStatus.FAILED


@pytest.mark.parametrize("keeps_rows", [True, False])
async def test_what_was_tallied_but_cannot_be_counted_fails_the_task_and_names_the_key(keeps_rows):
    class Mixed(Processor):
        api_version = 1

        def process_batch(self, batch, state, out):
            state.update({"b": "text"})
            state.tally(["a", "b"])

    task = running(make_task(Mixed, keeps_rows=keeps_rows))
    await task.apply(batch(["a", "b"]), breathe)
    with pytest.raises(
        TallyError, match=r"plugin count on topic-0: key 'b' was tallied, but its value is of type str; nothing"
    ):
        await task.capture()
    assert task.status is TaskStatus.FAILED


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (Description("msgpack", 1, 3, "cluster"), "codec msgpack"),
        (Description("json", 2, 3, "cluster"), "install the newer plugin"),
        (Description("json", 1, 4, "cluster"), "4 partitions"),
        (Description("json", 1, 3, "elsewhere"), "Kafka cluster elsewhere"),
    ],
)
def test_refuses_state_that_it_could_not_go_on_with(description, message):
    with pytest.raises(StateIncompatibleError, match=message):
        make_task().accept(stored(description=description))


def test_accepts_its_own_state_and_one_whose_cluster_is_unknown():
    make_task().accept(stored())
    make_task().accept(stored(description=None))
    make_task().accept(stored(description=Description("json", 1, 3, None)))


async def test_migrates_older_state_at_the_same_offset():
    class Newer(Count):
        state_version = 2

        @classmethod
        def migrate(cls, state, from_version):
            for key in list(state):
                state[key] *= 100

    task = make_task(Newer)
    task.description = Description("json", 2, 3, "cluster")
    old = stored(last_offset=7, position=8)
    task.accept(old)
    running(task, Claim(2, old), {"a": 1})
    assert task.view() == {"a": 100}
    checkpoint = await captured(task)
    assert (checkpoint.previous_offset, checkpoint.last_offset, checkpoint.position) == (7, 7, 8)
    assert (checkpoint.base_begins, checkpoint.base_ends, checkpoint.rows) == (True, True, ())
    assert [JsonCodec().decode(piece) for piece in checkpoint.base] == [{"a": 100}]


def test_older_state_without_migrate_is_refused():
    class Newer(Count):
        state_version = 2

    task = make_task(Newer)
    task.description = Description("json", 2, 3, "cluster")
    with pytest.raises(StateIncompatibleError, match="no migrate"):
        task.accept(stored())


async def test_warm_memory_is_taken_up_only_if_the_store_is_still_ours():
    task = running(make_task())
    await task.apply(batch(["a"]), breathe)
    task.saved(await captured(task))
    assert task.holds(Claim(2, stored(epoch=1, last_offset=0, position=1)))
    assert not task.holds(Claim(3, stored(epoch=2, last_offset=0, position=1)))
    assert not task.holds(Claim(2, stored(epoch=1, last_offset=5, position=6)))
    assert not task.holds(Claim(1, None))
    await task.apply(batch(["a"], at=1), breathe)
    assert not task.holds(Claim(2, stored(epoch=1, last_offset=0, position=1)))
    task.void()
    assert not task.holds(Claim(2, stored(epoch=1, last_offset=0, position=1)))


async def test_warm_memory_is_not_taken_up_where_what_was_captured_is_not_stored():
    class Newer(Count):
        state_version = 2

        @classmethod
        def migrate(cls, state, from_version):
            state["a"] = 100

    task = make_task(Newer)
    task.description = Description("json", 2, 3, "cluster")
    running(task, Claim(2, stored(last_offset=7, position=8)), {"a": 1})
    checkpoint = await captured(task)
    assert not task.holds(Claim(3, stored(epoch=2, last_offset=7, position=8)))
    task.saved(checkpoint)
    assert task.holds(Claim(3, stored(epoch=2, last_offset=7, position=8)))


async def test_a_claim_begins_an_unfinished_base_anew(monkeypatch):
    monkeypatch.setattr(capture_module, "_BASE_FLOOR", 1)
    monkeypatch.setattr(capture_module, "_FIRST_PIECE", 1)
    monkeypatch.setattr(capture_module, "_LARGEST_PIECE", 1)
    monkeypatch.setattr(capture_module, "_BASE_KEYS", 1)
    task = running(make_task())
    for offset, key in enumerate("abcde"):
        await task.apply(batch([key], at=offset), breathe)
        checkpoint = await captured(task)
        task.saved(checkpoint)
    assert checkpoint.base
    assert not checkpoint.base_ends
    task.loaded(Claim(2, stored(last_offset=4, position=5, size=100)), None)
    await task.apply(batch(["f"], at=5), breathe)
    assert (await captured(task)).base_begins


LAST = Record("topic", 0, 9, 1000, b"a", b"v")
ANCHOR = Anchor("id", LAST.timestamp, checksum_of(LAST))


def at_ten(anchor: Anchor = ANCHOR) -> PartitionTask:
    return running(make_task(), Claim(2, replace(stored(last_offset=9, position=10), anchor=anchor)), {"a": 1})


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


@PROCESSORS
async def test_the_anchor_is_of_the_last_offset(processor):
    records = batch(["a", "b", "a"], at=10, values=[b"1", b"2", b"3"])
    task = running(make_task(processor), Claim(2, replace(stored(last_offset=9, position=10), anchor=ANCHOR)), {})
    assert (await captured_after_move(task)).anchor == ANCHOR
    await task.apply(records, breathe)
    assert (await captured(task)).anchor == Anchor("id", 0, checksum_of(records[2]))
    await task.apply(Batch(TopicPartition("topic", 0), 13, 20, [], [], [], [], []), breathe)
    assert (await captured(task)).anchor == Anchor("id", 0, checksum_of(records[2]))


async def captured_after_move(task: PartitionTask) -> Checkpoint:
    task._captured_position = None
    return await captured(task)


async def test_a_checkpoint_amid_a_batch_has_the_anchor_of_the_record_before():
    records = batch(["a"] * 1000, values=[b"%d" % number for number in range(1000)])
    task = running(make_task())
    task._clock = itertools.count().__next__
    found: list[tuple[int, Anchor]] = []

    async def look() -> None:
        checkpoint = await captured(task)
        task.saved(checkpoint)
        found.append((checkpoint.last_offset, checkpoint.anchor))

    await task.apply(records, look)
    assert len(found) > 2
    assert found == [(offset, Anchor(None, 0, checksum_of(records[offset]))) for offset, _ in found]


def test_checksums_tell_keys_from_values_and_nothing_from_empty():
    parts = [(None, None), (b"", None), (None, b""), (b"", b""), (b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"b", b"a")]
    assert len({checksum_of(LAST._replace(key=key, value=value)) for key, value in parts}) == len(parts)


async def test_a_gap_is_counted_and_kept():
    task = at_ten()
    assert task.skip_gap(LogRange(13, 20)) == 10
    checkpoint = await captured(task)
    assert (checkpoint.last_offset, checkpoint.position, checkpoint.missing_offsets) == (9, 13, 3)
    again = running(make_task(), Claim(3, replace(stored(last_offset=9, position=13), missing_offsets=3)), {})
    again.skip_gap(LogRange(14, 20))
    assert (await captured(again)).missing_offsets == 4


async def test_a_store_that_keeps_no_rows_gets_the_whole_state():
    task = running(make_task(keeps_rows=False))
    await task.apply(batch(["a", "b"]), breathe)
    task.saved(await captured(task))
    await task.apply(batch(["a"], at=2), breathe)
    assert row(await captured(task)) == {"a": 2, "b": 1}


async def test_a_new_base_comes_in_pieces_and_with_the_rows_since_gives_the_state(monkeypatch):
    monkeypatch.setattr(capture_module, "_BASE_FLOOR", 2000)
    monkeypatch.setattr(capture_module, "_FIRST_PIECE", 3)
    monkeypatch.setattr(capture_module, "_LARGEST_PIECE", 3)
    monkeypatch.setattr(capture_module, "_BASE_KEYS", 6)
    task = running(make_task())
    stored_base: list[bytes] = []
    growing: list[bytes] | None = None
    rows: list[bytes] = []
    rows_since: list[bytes] = []
    bases = 0
    for at in range(200):
        await task.apply(batch([f"k{at % 23}"], at=at), breathe)
        checkpoint = await captured(task)
        if checkpoint.base_begins:
            growing, rows_since = [], []
        rows += checkpoint.rows
        rows_since += checkpoint.rows
        if growing is not None:
            growing += checkpoint.base
            if checkpoint.base_ends:
                stored_base, rows, growing = growing, rows_since, None
                bases += 1
        task.saved(checkpoint)
        assert _fold(stored_base, rows) == task.view()
    assert bases > 2


def _fold(base: Sequence[bytes], rows: Sequence[bytes]) -> dict[Any, Any]:
    state: dict[Any, Any] = {}
    for piece in base:
        state.update(JsonCodec().decode(piece))
    for row in rows:
        changed, gone = JsonCodec().decode(row)
        state.update(changed)
        for key in gone:
            del state[key]
    return state


@pytest.mark.parametrize("status", list(TaskStatus))
def test_only_the_steps_of_the_diagram_are_possible(status):
    task = make_task()
    task.status = status
    for following in TaskStatus:
        task.status = status
        if following in task_module._NEXT[status]:
            task.move(following)
            assert task.status is following
        else:
            with pytest.raises(InternalError, match=f"from {status.value} to {following.value}"):
                task.move(following)
