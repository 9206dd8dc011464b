import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from framework import (
    NO_EVENT_TIME,
    LateRecordError,
    Options,
    PluginError,
    Processor,
    Record,
    RecordError,
    UsageError,
)
from framework.testing import case, check_processor
from framework.testing.instance import Instance, Stored

RECORDS = [(key, number) for number, key in enumerate("abacabadabacaba")]


class Good(Processor):
    """Counts, keeps lists that it changes in place, sends, and refuses 3."""

    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state.setdefault(record.key, []).append(record.value)
        out.send("sizes", len(state[record.key]), key=record.key)
        if record.value == 3:
            raise RecordError("three")

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for position, record in enumerate(batch):
            if record.value == 3:
                raise RecordError("three")
            state.setdefault(record.key, []).append(record.value)
            out.send("sizes", len(state[record.key]), key=record.key, position=position)


class SendsElsewhere(Good):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        super().process_batch(batch, state, _Elsewhere(out))


class _Elsewhere:
    def __init__(self, out: Any) -> None:
        self._out = out

    def send(self, *arguments: Any, **options: Any) -> None:
        self._out.send(*arguments, **options, partition=1, timestamp=2)


class AsyncGood(Processor):
    api_version = 1

    async def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = (float("nan"), {record.value}, {"d": Decimal("1.0")})


class BatchOnly(Processor):
    api_version = 1

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for key in batch.keys:
            state[key] = state.get(key, 0) + 1


class WrongBatch(BatchOnly):
    def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = state.get(record.key, 0) + record.value


class OtherType(BatchOnly):
    def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = float(state.get(record.key, 0) + 1)


class ForgetsAKey(Good):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        super().process_batch(batch, state, out)
        state.pop("d", None)


class SendsLess(Good):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        if any(value == 3 for value in batch.values):
            raise RecordError("three")
        for key, value in zip(batch.keys, batch.values, strict=True):
            state.setdefault(key, []).append(value)


class AcceptsMore(BatchOnly):
    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.value == 3:
            raise RecordError("three")
        state[record.key] = state.get(record.key, 0) + 1


class BatchFails(Good):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        raise KeyError("batch")


class CountsInSelf(Processor):
    api_version = 1

    def __init__(self, options: Any, partition: Any) -> None:
        super().__init__(options, partition)
        self.count = 0

    def process(self, record: Any, state: Any, out: Any) -> None:
        self.count += 1
        state["count"] = self.count


class KeepsAValue(Processor):
    api_version = 1
    seen: list[Any]

    def process(self, record: Any, state: Any, out: Any) -> None:
        if "seen" not in state:
            self.seen = state["seen"] = []
        self.seen.append(record.value)


class Unsupported(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = object


class NotDeterministic(Processor):
    api_version = 1
    numbers = itertools.count()

    def process(self, record: Any, state: Any, out: Any) -> None:
        state["n"] = next(self.numbers)


class Shares(Processor):
    api_version = 1
    seen: ClassVar[list[Any]] = []

    def process(self, record: Any, state: Any, out: Any) -> None:
        self.seen.append(record.value)
        state["seen"] = self.seen


class EvictsTheOldest(Processor):
    """Keeps some keys, and takes the first one for the oldest."""

    api_version = 1

    class Options(Options):
        most: int = 3

    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.key not in state and len(state) == self.options.most:
            del state[next(iter(state))]
        state[record.key] = record.value


class EvictsTheLeast(EvictsTheOldest):
    """The same, by what it knows of the keys."""

    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.key not in state and len(state) == self.options.most:
            del state[min(state, key=lambda key: state[key])]
        state[record.key] = record.value


class OneListUnderTwoKeys(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = state["latest"] = [record.value]


class OneListInTwoValues(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state["all"] = [*state.get("all", []), {"seen": (value := [record.value])}]
        state[record.key] = {"seen": value}


class OneListTwiceInAValue(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        value = [record.value]
        state[record.key] = {"first": value, "others": [[1], (2, value)]}


class CountsNan(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state[float("nan")] = 1


class NanInAValue(Processor):
    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        state[record.key] = {(1, float("nan")): 1}


class CannotOpen(BatchOnly):
    closed = 0

    async def open(self) -> None:
        raise ConnectionError("no database")

    async def close(self) -> None:
        type(self).closed += 1


class CannotOpenAgain(BatchOnly):
    opened: ClassVar[list[Any]] = []

    async def open(self) -> None:
        self.opened.append(self)
        if len(self.opened) > 1:
            raise SystemExit("in use")


class CannotClose(BatchOnly):
    async def close(self) -> None:
        raise RuntimeError("still busy")


@pytest.mark.parametrize("processor", [Good, AsyncGood, BatchOnly, EvictsTheLeast])
def test_a_processor_that_keeps_the_contract_passes(processor: type[Processor]) -> None:
    check_processor(processor, RECORDS)


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        (WrongBatch, r"process_batch with 1 records a batch: the state of key 'a' is 8, but .* gives 56"),
        (OtherType, r"the state of key 'a' is 8, but one run of process gives 8\.0"),
        (ForgetsAKey, r"the state of key 'd' is missing"),
        (SendsLess, r"output 0 is None, but one run of process sends OutputRecord"),
        (SendsElsewhere, r"output 0 is .*partition=1, timestamp=2\), but .* sends .*partition=None, timestamp=None\)"),
        (AcceptsMore, r"refused are the offsets \[\], but one run of process refuses \[3\]"),
        (BatchFails, r"process_batch fails at offsets 0 to 0 with KeyError\('batch'\)"),
        (CountsInSelf, r"a run with restarts, codec json: the state of key 'count' is \d+, but .* gives 15"),
        (KeepsAValue, r"saved with codec json: the state of key 'seen' is \[0\], but at offset 1 it holds \[0, 1\]"),
        (Unsupported, r"codec json cannot hold the state of key 'a'"),
        (NotDeterministic, r"a second run over the same records: the state of key 'n'"),
        (Shares, r"a second run over the same records: the state of key 'seen'"),
        (OneListUnderTwoKeys, r"codec json cannot hold the state: .*same list object at \['.+'\] and at \['.+'\]"),
        (OneListInTwoValues, r"codec json cannot hold the state: .*same list object at \['.+"),
        (OneListTwiceInAValue, r"codec json cannot hold the state of key 'a': .*same list object"),
        (NanInAValue, r"codec json cannot hold the state of key 'a': .*nan"),
        (CannotOpen, r"^open fails with ConnectionError: no database$"),
        (CannotOpenAgain, r"^open fails with SystemExit: in use$"),
        (CannotClose, r"^close fails with RuntimeError: still busy$"),
    ],
)
def test_a_breach_is_told(processor: type[Processor], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_processor(processor, RECORDS)


def test_a_class_that_is_no_processor_is_told() -> None:
    with pytest.raises(PluginError, match="api_version = 1"):
        check_processor(type("Empty", (Processor,), {}), RECORDS)


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_a_processor_that_relies_on_the_order_of_keys_is_told(most: int) -> None:
    records = [(str(number * number % 11 + number % 7), number) for number in range(60)]
    with pytest.raises(AssertionError, match=r"a run with restarts, codec json.*: the state of key '\d+' is "):
        check_processor(EvictsTheOldest, records, {"most": most})
    check_processor(EvictsTheLeast, records, {"most": most})


def test_an_instance_that_could_not_be_opened_is_closed_once() -> None:
    CannotOpen.closed = 0
    with pytest.raises(AssertionError):
        check_processor(CannotOpen, RECORDS)
    assert CannotOpen.closed == 1


def test_a_key_that_does_not_equal_itself_is_told() -> None:
    with pytest.raises(UsageError, match="each of the 15 records, the first with ValueError: nan cannot be a key"):
        check_processor(CountsNan, RECORDS)


# Time


class Silent(Processor):
    """Tells which keys were silent for ten seconds. Records that come too late are late; timers of b fail."""

    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.timestamp < self.event_time - 5_000:
            raise LateRecordError("too late")
        state[record.key] = record.timestamp
        self.timers.set(record.key, record.timestamp + 10_000)

    def on_timer(self, timer: Any, state: Any, out: Any) -> None:
        out.send("silent", {"since": state.pop(timer.key), "at": self.event_time}, key=timer.key)
        if timer.key == "b":
            raise ValueError("b")


class CountsInSelfOnTimer(Silent):
    fired = 0

    def on_timer(self, timer: Any, state: Any, out: Any) -> None:
        self.fired += 1
        out.send("silent", self.fired, key=timer.key)


class BatchTakesNoneForLate(Silent):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for record in batch:
            state[record.key] = record.timestamp
            self.timers.set(record.key, record.timestamp + 10_000)


class BatchSetsNoTimers(Silent):
    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for position, record in enumerate(batch):
            if record.timestamp < self.event_time - 5_000:
                out.refuse(position, LateRecordError("too late"))
            else:
                state[record.key] = record.timestamp


class RemembersEventTime(Silent):
    """Takes the watermark that it saw first for the watermark."""

    first: int | None = None

    def process(self, record: Any, state: Any, out: Any) -> None:
        self.first = self.event_time if self.first is None else self.first
        state[record.key] = self.first
        self.timers.set(record.key, record.timestamp + 10_000)


STAMPS = [1_000, 3_000, 3_000, 9_000, 30_000, 2_000, 31_000, 55_000, 54_000, 90_000, 90_500, 70_000]
TIMED = [Record("t", 0, at, time, "abc"[at % 3], at) for at, time in enumerate(STAMPS)]


@pytest.mark.parametrize("until", [None, 95_000, 500_000])
@pytest.mark.parametrize("out_of_order", [None, 0, 4_000])
def test_a_processor_with_timers_that_keeps_the_contract_passes(until: int | None, out_of_order: int | None) -> None:
    check_processor(Silent, TIMED, until=until, out_of_order=out_of_order)


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        (CountsInSelfOnTimer, r"a run with restarts, codec json: output \d+ is .*, but one run of process sends"),
        (BatchTakesNoneForLate, r"process_batch with 1 records a batch: late are the offsets \[\], but \[5, 11\]"),
        (BatchSetsNoTimers, r"process_batch with 1 records a batch: the state of key 'a'"),
        (RemembersEventTime, r"a run with restarts, codec json: the state of key '.' is "),
    ],
)
def test_a_breach_of_time_is_told(processor: type[Processor], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_processor(processor, TIMED, until=500_000 if processor is not RemembersEventTime else None)


@pytest.mark.parametrize("lost", [{"timers": {}}, {"event_time": NO_EVENT_TIME}, {"last_offset": -1}])
def test_a_restart_takes_timers_and_progress_from_what_was_saved(
    lost: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(processor: Any, partition: Any, options: Any, stored: Stored | None, **settings: Any) -> Instance:
        return Instance(processor, partition, options, stored and replace(stored, **lost), **settings)

    monkeypatch.setattr(case, "Instance", loses)
    with pytest.raises(AssertionError, match="a run with restarts, codec json: "):
        check_processor(Silent, TIMED, until=500_000)


@pytest.mark.parametrize("records", [[], [("a", 3), ("b", 3)]])
def test_records_that_check_nothing_are_refused(records: list[Any]) -> None:
    with pytest.raises(UsageError, match="nothing can be checked"):
        check_processor(Good, records)
