"""What becomes of a record that cannot be applied: retries, dead letters, and the end."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from framework import DeserializationError, LateRecordError, OutputError, Processor, RecordError, TopicPartition
from framework.dead_letters import DEAD_LETTER_HEADERS, DeadLetter
from framework.policy import ErrorPolicy
from framework.records import Record
from framework.runtime.applier import Rewind
from framework.runtime.counts import Counts
from framework.runtime.failures import Failures, Refusal, Retry
from framework.runtime.outbox import Outbox
from tests.runtime.alone import BAD, DEAD_LETTER, FINE, SOURCE, UNIT, Alone, AtOnce, Both, OneByOne, from_source
from tests.runtime.played import KINDS, NO_WRITERS, Clock, Unspeakable, definition_of


async def test_a_dead_letter_is_the_record_as_it_came_with_its_reason():
    run = Alone(OneByOne, DEAD_LETTER)
    await run.apply(from_source([FINE, BAD, (b"\xff", b"[]"), (None, b"{"), FINE]))
    assert run.task.view() == {"a": 2}
    assert run.letters.keys() == {1, 2, 3}
    for offset, (key, value) in {1: BAD, 2: (b"\xff", b"[]"), 3: (None, b"{")}.items():
        letter = run.letters[offset]
        assert (letter.at.topic, letter.at.key, letter.at.value) == ("orders-bad", key, value)
        assert letter.at.headers[0] == ("of", b"%d" % offset)
        assert tuple(name for name, _ in letter.at.headers[1:]) == DEAD_LETTER_HEADERS
        assert (letter.plugin, letter.origin, letter.timestamp) == ("plugin", SOURCE, 1_000 + offset)
    assert (run.letters[1].error, run.letters[1].message.partition(" (at ")[0]) == ("ValueError", "as told")
    assert run.letters[1].message.partition("tests/runtime/alone.py:")[2][:-1].isdigit(), "file and line of the plugin"
    assert run.letters[2].message.count("(at ") == 0, "no plugin was at work"
    assert "ValueError: as told (at " in str(run.failed[1])
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
    run = Alone(processor, ErrorPolicy(retries=4, retry_backoff=0.5))
    values = [b"flaky" if offset in (5, 6) else b"fine" for offset in range(20)]
    with caplog.at_level(logging.WARNING, "framework"):
        await run.apply(from_source([(b"a", value) for value in values]))
    assert run.task.view() == {"order": [*range(20)]}
    assert run.failed == {}
    assert run.waits[-len(waits) :] == waits
    assert "plugin on orders-3 offset 6: try 1 failed, the next is in 0.5 s: ConnectionError: not now" in caplog.text


@pytest.mark.parametrize("processor", [OneByOne, AtOnce, Both])
@pytest.mark.parametrize("policy", ["skip", "stop"])
async def test_a_record_that_always_fails_meets_its_policy_after_the_retries(processor, policy):
    run = Alone(processor, ErrorPolicy(policy, retries=3, retry_backoff=0.1))
    applying = run.apply(from_source([FINE, FINE, BAD, FINE]))
    if policy == "stop":
        with pytest.raises(Refusal, match="orders-3 offset 2"):
            await applying
    else:
        await applying
    assert run.waits == pytest.approx([0.1, 0.2, 0.4])
    assert run.task.view() == {"a": 2 if policy == "stop" else 3}
    assert run.reports == [[2]]


async def test_a_task_that_waits_for_a_retry_applies_nothing_before():
    run = Alone(OneByOne, ErrorPolicy(retries=1, retry_backoff=10))
    batch = from_source([FINE, BAD, FINE])
    with pytest.raises(Rewind):
        await run.task.live.apply(batch, run.breathe)
    run.rewind()
    for _ in range(3):
        with pytest.raises(Retry) as waiting:
            await run.task.live.apply(batch, run.breathe)
        assert waiting.value.at == 10
        assert run.task.is_waiting
        assert (run.task.position, run.task.live.last_offset, run.task.view()) == (1, 0, {"a": 1})
    checkpoint = await run.task.capture()
    assert checkpoint is not None
    assert (checkpoint.own_progress.last_offset, checkpoint.own_progress.position) == (0, 1)
    run.clock.now = 10
    assert not run.task.is_waiting
    with pytest.raises(Refusal):
        await run.task.live.apply(batch, run.breathe)


async def test_what_cannot_be_deserialized_is_not_retried():
    run = Alone(OneByOne, ErrorPolicy("skip", retries=5))
    await run.apply(from_source([FINE, (b"a", b"{"), FINE]))
    assert run.waits == []
    assert run.task.view() == {"a": 2}


# ---- by itself


RECORDS = from_source([FINE, BAD, FINE])


class Told:
    """Failures with a clock and an outbox to look into."""

    def __init__(self, policy: ErrorPolicy) -> None:
        self.clock = Clock()
        self.outbox = Outbox("plugin", SOURCE, NO_WRITERS)
        self.reports: list[Any] = []
        self.late: list[Any] = []
        definition = replace(
            definition_of(on_error=policy, on_records_failed=lambda *told: self.reports.append(told)),
            on_records_late=lambda *told: self.late.append(told),
        )
        self.failures = Failures(UNIT, definition, self.outbox, self.clock)

    def fail(self, offset: int = 1, error: BaseException | None = None) -> None:
        self.failures.fail(RECORDS, offset, "b", error or ValueError("no"))


def test_a_record_that_failed_for_good_is_reported_once():
    told = Told(ErrorPolicy("skip"))
    told.fail(1)
    told.fail(2)
    assert told.reports == []
    told.failures.report()
    told.failures.report()
    [(plugin, partition, errors)] = told.reports
    assert (plugin, partition, list(errors)) == ("plugin", SOURCE, [1, 2])
    assert told.failures.skipped == 2


def test_another_record_begins_its_tries_anew():
    told = Told(ErrorPolicy("skip", retries=1, retry_backoff=4.0))
    for offset in (1, 2, 1):
        assert not told.failures.failed_last_at(offset)
        with pytest.raises(Retry) as retry:
            told.fail(offset)
        assert retry.value.at == 4.0
        assert told.failures.failed_last_at(offset)
    told.fail(1)
    assert told.failures.skipped == 1


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_failed_it_a_message_and_a_letter_can_be_made(kind):
    told = Told(DEAD_LETTER)
    told.fail(1, kind())
    told.failures.report()
    [(_, _, errors)] = told.reports
    assert f"plugin plugin failed on orders-3 offset 1, key 'b': {kind.__name__}" in str(errors[1])
    assert errors[1].__cause__.__class__ is kind
    assert len(told.outbox) == 1


def message_of_skipped(key: Any, error: Exception) -> str:
    told = Told(ErrorPolicy("skip"))
    told.failures.leave_out(RECORDS, 1, key, error)
    told.failures.report()
    [(_, _, errors)] = told.reports
    return str(errors[1])


def test_a_key_that_cannot_be_shown_is_named_by_its_type():
    class Key:
        def __repr__(self) -> str:
            raise Unspeakable

    assert "key <Key that cannot be shown: Unspeakable>: ValueError: no" in message_of_skipped(Key(), ValueError("no"))


@pytest.mark.parametrize("kind", [RecordError, OutputError])
def test_an_error_that_was_made_for_the_user_stands_alone(kind):
    assert message_of_skipped("b", kind("no such day")).endswith("key 'b': no such day")


@pytest.mark.parametrize(
    ("policy", "each"),
    [(ErrorPolicy(), True), (ErrorPolicy("skip"), False), (ErrorPolicy("skip", retries=1), True), (DEAD_LETTER, False)],
)
def test_records_are_looked_at_alone_where_one_may_stop_or_be_tried_again(policy, each):
    failures, bad = Told(policy).failures, ValueError("no")
    assert (failures.to_handle_alone({2: ValueError("other"), 1: bad}) is bad) is each
    assert failures.to_handle_alone({1: LateRecordError("late")}) is None
    assert (failures.to_handle_alone({1: LateRecordError("late"), 2: bad}) is bad) is each


def test_a_refusal_stops_with_its_error_and_its_cause():
    told = Told(ErrorPolicy())
    cause = ValueError("no")
    with pytest.raises(Refusal) as refused:
        told.fail(1, cause)
    assert refused.value.__cause__ is cause
    assert isinstance(refused.value.error, RecordError)
    assert told.failures.skipped == 0
    told.failures.report()
    assert [list(errors) for _, _, errors in told.reports] == [[1]]


# ---- late records


@pytest.mark.parametrize("policy", [ErrorPolicy(), ErrorPolicy("skip", retries=3), DEAD_LETTER])
def test_a_late_record_is_counted_and_reported_and_is_no_failure(policy):
    told = Told(policy)
    told.fail(1, LateRecordError("its window closed at 10:00"))
    told.failures.report()
    told.failures.report()
    assert told.late == [("plugin", SOURCE, [1])]
    assert (told.failures.late, told.failures.skipped, told.failures.left_out) == (1, 0, 1)
    assert (told.reports, len(told.outbox)) == ([], 0)


def test_a_late_record_is_sent_to_its_topic_as_it_came_with_the_reason():
    told = Told(ErrorPolicy(late_topic="too-late"))
    told.fail(1, LateRecordError("its window closed at 10:00"))
    [sent] = told.outbox.take()
    assert (sent.topic, sent.key, sent.value) == ("too-late", *BAD)
    letter = DeadLetter.of(Record("too-late", 0, 0, 0, sent.key, sent.value, sent.headers))
    assert letter is not None
    assert (letter.offset, letter.error, letter.message) == (1, "LateRecordError", "its window closed at 10:00")


class TellsLate(Processor):
    """Counts by key, and takes the value `late` as late, after it has changed something."""

    api_version = 1
    value_format = "utf8"

    def process(self, record, state, out):
        state[record.key] = state.get(record.key, 0) + 1
        out.send("out", record.key)
        if record.value == "late":
            raise LateRecordError("too late")


class TellsLateAtOnce(TellsLate):
    def process_batch(self, batch, state, out):
        for position, record in enumerate(batch):
            if record.value == "late":
                out.refuse(position, LateRecordError("too late"))
            else:
                state[record.key] = state.get(record.key, 0) + 1


@pytest.mark.parametrize("policy", [ErrorPolicy(), ErrorPolicy("skip"), ErrorPolicy("skip", retries=2)])
@pytest.mark.parametrize(("processor", "rewinds"), [(TellsLate, 1), (TellsLateAtOnce, 0)])
async def test_a_late_record_leaves_no_trace_and_the_run_goes_on(processor, rewinds, policy):
    run = Alone(processor, policy)
    await run.apply(from_source([(b"a", b""), (b"a", b"late"), (b"b", b""), (b"b", b"late"), (b"a", b"")]))
    assert run.task.view() == {"a": 2, "b": 1}
    assert run.task.counts == Counts(3, 0, 2)
    assert (run.task.position, run.failed, run.waits, run.rewinds) == (5, {}, [], rewinds)
