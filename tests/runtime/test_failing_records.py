"""Records that fail, at the level of the partition task: they leave no trace, whatever the plugin did before."""

import asyncio
import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framework import (
    Batch,
    Claim,
    Description,
    DeserializationError,
    ProcessingError,
    Processor,
    RecordError,
    StoredUnit,
    TallyError,
    TopicPartition,
    Unit,
)
from framework.checkpoint import fold_rows
from framework.codecs.json import JsonCodec
from framework.dead_letters import DEAD_LETTER_HEADERS, DeadLetter
from framework.formats import format_named
from framework.output import OutputRecord
from framework.records import Record
from framework.runtime import applier as applier_module
from framework.runtime.applier import Definition, Retry, Rewind
from framework.runtime.policy import ErrorPolicy
from framework.runtime.task import PartitionTask, TaskStatus

SOURCE = TopicPartition("orders", 3)
UNIT = Unit("group", "plugin", *SOURCE)
DESCRIPTION = Description("json", 1, 4, "cluster")
DEAD_LETTER = ErrorPolicy("dead-letter", "orders-bad")

Steps = list[Any]
"""What a record does to the state and the output, as its JSON value says; `["fail"]` raises."""


def act(steps: Steps, key: str, state: Any, send: Callable[[Any], object]) -> None:
    """What every processor here does with a record."""
    while steps:
        step, *rest = steps.pop(0)  # in place: a record that is tried again must come fresh
        match step, rest:
            case "count", []:
                state[key] = state.get(key, 0) + 1 if isinstance(state.get(key, 0), int) else 1
            case "append", [item]:
                if not isinstance(state.get(key), list):
                    state[key] = []
                state[key].append({"item": item})
            case "deepen", [item]:
                for value in state.values():
                    if isinstance(value, list) and value:
                        value[-1]["deep"] = [*value[-1].get("deep", []), item]
            case "delete", [other]:
                state.pop(other, None)
            case "pop", []:
                if state:
                    state.pop(min(state))
            case "update", [items]:
                state.update(items)
            case "clear", []:
                state.clear()
            case "sort", []:
                for other, value in state.items():
                    if other != "d" and isinstance(value, list):
                        value.reverse()
            case "send", [item]:
                send(item)
            case "fail", []:
                raise ValueError("as told")
            case other:
                raise AssertionError(other)


class OneByOne(Processor):
    api_version = 1
    value_format = "json"

    def process(self, record, state, out):
        act(record.value, record.key, state, lambda item: out.send("out", item, key=record.key))


class OneByOneAsync(OneByOne):
    async def process(self, record, state, out):
        await asyncio.sleep(0)
        super().process(record, state, out)


class AtOnce(Processor):
    api_version = 1
    value_format = "json"

    def process_batch(self, batch, state, out):
        for position, record in enumerate(batch):
            act(record.value, record.key, state, partial(out.send, "out", position=position))


class Both(AtOnce):
    def process(self, record, state, out):
        act(record.value, record.key, state, lambda item: out.send("out", item))


class LateCheck(Both):
    """Changes everything first, then looks whether it should have."""

    def process_batch(self, batch, state, out):
        bad = [["fail"] in value for value in batch.values]
        for position, record in enumerate(batch):
            steps = [step for step in record.value if step != ["fail"]]
            act(steps, record.key, state, partial(out.send, "out", position=position))
        if any(bad):
            raise ValueError("one of them")


class Refusing(AtOnce):
    """Checks each record before it changes anything; what fails all the same, fails."""

    def process_batch(self, batch, state, out):
        for position, record in enumerate(batch):
            if ["fail"] in record.value and record.offset % 3:
                out.refuse(position, ValueError("as told"))
            else:
                act(record.value, record.key, state, partial(out.send, "out", position=position))


class RefusingBoth(Refusing, Both):
    """With `process`, too."""


PROCESSORS = [OneByOne, OneByOneAsync, AtOnce, Both, LateCheck, Refusing, RefusingBoth]


@dataclass
class Run:
    """A task, with a store that keeps its rows, and what a worker does about it."""

    processor: type[Processor]
    policy: ErrorPolicy
    now: float = 0.0
    rows: list[bytes] = field(default_factory=list)
    stored: StoredUnit | None = None
    failed: dict[int, ProcessingError] = field(default_factory=dict)
    reports: list[Sequence[int]] = field(default_factory=list)
    outputs: list[OutputRecord] = field(default_factory=list)
    rewinds: int = 0
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        definition = Definition(
            name="plugin",
            processor=self.processor,
            options=None,
            codec=JsonCodec(),
            key_format=format_named(self.processor.key_format),
            value_format=format_named(self.processor.value_format),
            on_error=self.policy,
            keeps_rows=True,
            on_records_failed=self._failed,
        )
        self.task = PartitionTask(UNIT, definition, DESCRIPTION, lambda: self.now)
        self._load()

    def _failed(self, plugin: str, partition: TopicPartition, errors: Mapping[int, ProcessingError]) -> None:
        assert (plugin, partition) == ("plugin", SOURCE)
        self.reports.append(list(errors))
        self.failed |= errors

    def _load(self) -> None:
        self.task.move(TaskStatus.LOADING)
        self.task.loaded(Claim(1, self.stored), fold_rows(JsonCodec(), self.rows))
        if self.task.is_new:
            self.task.start_at(0)
        self.task.move(TaskStatus.SEEKING)
        self.task.move(TaskStatus.RUNNING)

    async def apply(self, batch: Batch) -> None:
        """Apply a batch wholly, or up to where the policy stops; raises what it raises."""
        log = [batch]
        while log:
            try:
                await self.task.apply(log[0], self._breathe)
            except Rewind:
                self.rewinds += 1
                self.task.void()
                self.task.move(TaskStatus.ASSIGNED)
                self._load()
                log = self._since_checkpoint(batch)
            except Retry as retry:
                self.waits.append(retry.at - self.now)
                self.now = retry.at
            else:
                self._seen.append(log.pop(0))
            self.outputs += self.task.take_outputs()

    _seen: list[Batch] = field(default_factory=list)

    def _since_checkpoint(self, batch: Batch) -> list[Batch]:
        seen, self._seen = self._seen, []
        return [*seen, batch]

    async def _breathe(self) -> None:
        self.now += 1

    async def checkpoint(self) -> None:
        checkpoint = await self.task.capture()
        if checkpoint is None:
            return
        self.rows += checkpoint.rows
        self.task.saved(checkpoint)
        self._seen = []
        self.stored = StoredUnit(UNIT, DESCRIPTION, 1, checkpoint.last_offset, checkpoint.position, 0, 0, 0, None)

    @property
    def sent(self) -> dict[tuple[str, ...], Any]:
        """The outputs after dropping repeats by their headers."""
        return {
            tuple((value or b"").decode() for _, value in output.headers[-2:]): output.value
            for output in self.outputs
            if output.topic == "out"
        }

    @property
    def letters(self) -> dict[int, DeadLetter]:
        read = [DeadLetter.of(_as_read(output)) for output in self.outputs if output.topic == "orders-bad"]
        return {letter.offset: letter for letter in read if letter is not None}


def _as_read(output: OutputRecord) -> Record:
    return Record(output.topic, 0, 0, 0, output.key, output.value, output.headers)


def make_batch(records: Sequence[tuple[bytes | None, bytes | None]], at: int = 0) -> Batch:
    offsets = list(range(at, at + len(records)))
    return Batch(
        SOURCE,
        at,
        at + len(records),
        offsets,
        [1_000 + offset for offset in offsets],
        [key for key, _ in records],
        [value for _, value in records],
        [(("of", b"%d" % offset),) for offset in offsets],
    )


def to_wire(key: str, steps: Steps) -> tuple[bytes, bytes]:
    return key.encode(), JsonCodec().encode([list(step) for step in steps])


def model(records: Sequence[tuple[str, Steps]]) -> tuple[dict[str, Any], dict[tuple[str, ...], Any]]:
    """The state and the outputs where records that fail were never there."""
    state: dict[str, Any] = {}
    outputs: dict[tuple[str, ...], Any] = {}
    for offset, (key, steps) in enumerate(records):
        if ["fail"] in steps:
            continue
        sent: list[Any] = []
        act(copy.deepcopy(list(steps)), key, state, sent.append)
        outputs |= {(str(offset), str(index)): b"%d" % item for index, item in enumerate(sent)}
    return state, outputs


KEYS = st.sampled_from("abcd")
NUMBERS = st.integers(0, 9)
STEPS = st.one_of(
    st.just(["count"]),
    st.builds(lambda number: ["append", number], NUMBERS),
    st.builds(lambda number: ["deepen", number], NUMBERS),
    st.builds(lambda key: ["delete", key], KEYS),
    st.builds(lambda items: ["update", items], st.dictionaries(KEYS, NUMBERS, max_size=3)),
    st.builds(lambda number: ["send", number], NUMBERS),
    st.sampled_from([["pop"], ["clear"], ["sort"]]),
)
GOOD = st.lists(STEPS, max_size=4)
FAILING = st.builds(lambda before, after: [*before, ["fail"], *after], GOOD, GOOD)
RECORDS = st.lists(st.tuples(KEYS, st.one_of(GOOD, GOOD, GOOD, FAILING)), max_size=60)


@pytest.mark.parametrize("processor", PROCESSORS)
@settings(max_examples=60, deadline=None)
@given(records=RECORDS, sizes=st.lists(st.integers(1, 25), min_size=1), every=st.integers(1, 4))
@example(records=[("a", [["append", 1]]), ("a", [["append", 2], ["fail"]])] * 20, sizes=[40], every=1)
def test_records_that_fail_leave_no_trace(processor, records, sizes, every):
    async def run() -> Run:
        run = Run(processor, DEAD_LETTER)
        at = number = 0
        while at < len(records):
            piece = records[at : at + sizes[number % len(sizes)]]
            await run.apply(make_batch([to_wire(*record) for record in piece], at))
            at, number = at + len(piece), number + 1
            if number % every == 0:
                await run.checkpoint()
        await run.checkpoint()
        return run

    done = asyncio.run(run())
    state, outputs = model(records)
    bad = {offset for offset, (_, steps) in enumerate(records) if ["fail"] in steps}
    assert done.task.view() == state
    assert fold_rows(JsonCodec(), done.rows) == state
    assert done.sent == outputs
    assert done.failed.keys() == done.letters.keys() == bad
    assert (done.task.applied, done.task.skipped) == (len(records) - len(bad), len(bad))
    assert done.rewinds <= 1


@pytest.mark.parametrize("processor", PROCESSORS)
@settings(max_examples=30, deadline=None)
@given(records=RECORDS)
def test_stop_leaves_the_state_of_the_records_before(processor, records):
    async def run() -> tuple[Run, ProcessingError | None]:
        run = Run(processor, ErrorPolicy())
        try:
            await run.apply(make_batch([to_wire(*record) for record in records]))
        except RecordError as error:
            return run, error
        return run, None

    done, error = asyncio.run(run())
    first = next((offset for offset, (_, steps) in enumerate(records) if ["fail"] in steps), len(records))
    assert done.task.view() == model(records[:first])[0]
    assert (done.task.last_offset, done.task.position) == (first - 1, first)
    if first < len(records):
        why = "one of them" if processor is LateCheck else "as told"
        assert f"failed on orders-3 offset {first}, key {records[first][0]!r}: ValueError('{why}')" in str(error)
        assert list(done.failed) == [first]
    else:
        assert error is None


BAD = to_wire("b", [["count"], ["fail"]])
FINE = to_wire("a", [["count"]])


async def test_a_dead_letter_is_the_record_as_it_came_with_its_reason():
    run = Run(OneByOne, DEAD_LETTER)
    await run.apply(make_batch([FINE, BAD, (b"\xff", b"[]"), (None, b"{"), FINE]))
    assert run.task.view() == {"a": 2}
    assert run.letters.keys() == {1, 2, 3}
    for offset, (key, value) in {1: BAD, 2: (b"\xff", b"[]"), 3: (None, b"{")}.items():
        letter = run.letters[offset]
        assert (letter.at.topic, letter.at.key, letter.at.value) == ("orders-bad", key, value)
        assert letter.at.headers[0] == ("of", b"%d" % offset)
        assert tuple(name for name, _ in letter.at.headers[1:]) == DEAD_LETTER_HEADERS
        assert (letter.plugin, letter.source, letter.timestamp) == ("plugin", SOURCE, 1_000 + offset)
    assert (run.letters[1].error, run.letters[1].message) == ("ValueError", "as told")
    assert run.letters[2].error == run.letters[3].error == "DeserializationError"
    assert isinstance(run.failed[2], DeserializationError)
    assert run.reports[-1] == [1, 2, 3]


class Flaky(Processor):
    """Fails `times` times on the records that say so."""

    api_version = 1
    value_format = "utf8"
    times = 3

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self.failures: dict[int, int] = {}

    def process(self, record, state, out):
        state["order"] = [*state.get("order", []), record.offset]
        if record.value == "flaky":
            self.failures[record.offset] = self.failures.get(record.offset, 0) + 1
            if self.failures[record.offset] <= self.times:
                raise ConnectionError("not now")


class FlakyAtOnce(Flaky):
    def process_batch(self, batch, state, out):
        for record in batch:
            Flaky.process(self, record, state, out)


@pytest.mark.parametrize(
    ("processor", "waits"),
    [(Flaky, [0.5, 1.0, 2.0]), (FlakyAtOnce, [0.5, 1.0])],  # a slice that fails has tried its records, too
)
async def test_retries_wait_twice_as_long_each_time_and_keep_the_order(processor, waits, caplog):
    run = Run(processor, ErrorPolicy(retries=4, retry_backoff=0.5))
    values = [b"flaky" if offset in (5, 6) else b"fine" for offset in range(20)]
    with caplog.at_level(logging.WARNING, "framework"):
        await run.apply(make_batch([(b"a", value) for value in values]))
    assert run.task.view() == {"order": [*range(20)]}
    assert run.failed == {}
    assert run.waits[-len(waits) :] == waits
    assert "plugin on orders-3 offset 6: try 1 failed, the next is in 0.5 s: ConnectionError('not now')" in caplog.text


@pytest.mark.parametrize("processor", [OneByOne, AtOnce, Both])
@pytest.mark.parametrize("policy", ["skip", "stop"])
async def test_a_record_that_always_fails_meets_its_policy_after_the_retries(processor, policy):
    run = Run(processor, ErrorPolicy(policy, retries=3, retry_backoff=0.1))
    applying = run.apply(make_batch([FINE, FINE, BAD, FINE]))
    if policy == "stop":
        with pytest.raises(RecordError, match="orders-3 offset 2"):
            await applying
    else:
        await applying
    assert run.waits == pytest.approx([0.1, 0.2, 0.4])
    assert run.task.view() == {"a": 2 if policy == "stop" else 3}
    assert run.reports == [[2]]


async def test_a_task_that_waits_for_a_retry_applies_nothing_before():
    run = Run(OneByOne, ErrorPolicy(retries=1, retry_backoff=10))
    batch = make_batch([FINE, BAD, FINE])
    with pytest.raises(Rewind):
        await run.task.apply(batch, run._breathe)
    run.task.void()
    run.task.move(TaskStatus.ASSIGNED)
    run._load()
    for _ in range(3):
        with pytest.raises(Retry) as waiting:
            await run.task.apply(batch, run._breathe)
        assert waiting.value.at == 10
        assert (run.task.position, run.task.last_offset, run.task.view()) == (1, 0, {"a": 1})
    checkpoint = await run.task.capture()
    assert checkpoint is not None
    assert (checkpoint.last_offset, checkpoint.position) == (0, 1)
    run.now = 10
    with pytest.raises(RecordError):
        await run.task.apply(batch, run._breathe)


async def test_what_cannot_be_deserialized_is_not_retried():
    run = Run(OneByOne, ErrorPolicy("skip", retries=5))
    await run.apply(make_batch([FINE, (b"a", b"{"), FINE]))
    assert run.waits == []
    assert run.task.view() == {"a": 2}


@pytest.mark.parametrize("processor", [OneByOne, AtOnce, Both])
async def test_rewinds_become_ever_rarer(processor, monkeypatch):
    """Each loads the whole state; failures that are far apart must not cost one each."""
    monkeypatch.setattr(applier_module, "_CAREFUL_RUN", 100)
    run = Run(processor, ErrorPolicy("skip"))
    records = 0
    for _ in range(40):
        await run.apply(make_batch([BAD, *[FINE] * 110], records))
        records += 111
        await run.checkpoint()
    assert run.task.view() == {"a": records - 40}
    assert len(run.failed) == 40
    assert run.rewinds <= 6


class Counted(Processor):
    """Counts how often it is handed a record."""

    api_version = 1
    handed = calls = 0

    def process_batch(self, batch, state, out):
        type(self).calls += 1
        type(self).handed += len(batch)
        if b"bad" in batch.values:
            raise ValueError
        state.update(dict.fromkeys(batch.keys, 1))


@pytest.mark.parametrize("processor", [Counted, type("CountedOneByOne", (Counted,), {"process": OneByOne.process})])
async def test_one_per_cent_of_bad_records_is_little_work_more(processor):
    """Counted in work, not in time, so that it holds on any machine."""
    Counted.handed = Counted.calls = 0
    processor.handed = processor.calls = 0
    run = Run(Counted, ErrorPolicy("skip"))
    values = [b"bad" if offset % 100 == 37 else b"good" for offset in range(50_000)]
    for at in range(0, len(values), 1_000):
        await run.apply(make_batch([(b"a", value) for value in values[at : at + 1_000]], at))
    assert len(run.failed) == 500
    assert run.rewinds == 1
    assert Counted.handed < 2 * len(values)
    assert Counted.calls < 12 * 500


async def test_slices_become_whole_batches_again_where_nothing_fails():
    run = Run(Counted, ErrorPolicy("skip"))
    await run.apply(make_batch([(b"a", b"bad")]))
    Counted.calls = 0
    for at in range(1, 9_001, 1_000):
        await run.apply(make_batch([(b"a", b"good")] * 1_000, at))
    assert Counted.calls < 60


async def test_a_tally_that_cannot_be_counted_is_no_records_fault():
    class Mixed(Processor):
        api_version = 1

        def process_batch(self, batch, state, out):
            if b"bad" in batch.values:
                raise ValueError
            state.setdefault("meta", "text")
            state.tally(batch.keys)

    run = Run(Mixed, DEAD_LETTER)
    await run.apply(make_batch([(b"a", b"bad")]))
    with pytest.raises(TallyError, match="plugin plugin on orders-3: key 'meta' was tallied"):
        await run.apply(make_batch([(b"meta", b""), *[(b"b", b"")] * 80], 1))
    assert list(run.failed) == list(run.letters) == [0]
    with pytest.raises(TallyError):
        await run.checkpoint()


async def test_a_stop_is_obeyed_between_slices():
    run = Run(AtOnce, ErrorPolicy("skip"))
    await run.apply(make_batch([BAD]))

    async def drain() -> None:
        run.task.move(TaskStatus.DRAINING)

    ticks = iter(range(10_000))
    run.task._clock = lambda: float(next(ticks))
    await run.task.apply(make_batch([FINE] * 500, 1), drain)
    last_offset = run.task.last_offset
    assert 1 < last_offset < 500
    assert run.task.position == last_offset + 1
    assert run.task.view() == {"a": last_offset}
