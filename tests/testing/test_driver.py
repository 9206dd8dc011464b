import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from framework import Options, Processor, Record, RecordError, UsageError
from framework.testing import Driver, run_processor


class AddOptions(Options):
    step: int = 1


class Add(Processor):
    """Adds up positive values, and sends each sum."""

    api_version = 1
    Options = AddOptions

    def process(self, record: Record, state: Any, out: Any) -> None:
        state[record.key] = state.get(record.key, 0) + record.value * self.options.step
        out.send("sums", state[record.key], key=record.key)
        if record.value <= 0:
            raise RecordError(f"{record.value} is not positive")

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if value <= 0:
                raise RecordError("not positive")
            state[key] = state.get(key, 0) + value * self.options.step
            out.send("sums", state[key], key=key, position=position)


class AddAsync(Processor):
    api_version = 1
    loop: Any = None

    async def process(self, record: Record, state: Any, out: Any) -> None:
        self.loop = self.loop or asyncio.get_running_loop()
        assert self.loop is asyncio.get_running_loop()
        await asyncio.sleep(0)
        state[record.key] = state.get(record.key, 0) + record.value


class CountBatches(Processor):
    api_version = 1

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        state["sizes"] = [*state.get("sizes", []), len(batch)]


class Where(Processor):
    api_version = 1

    def process(self, record: Record, state: Any, out: Any) -> None:
        state[record.offset] = (*self.partition, record.topic, record.partition, record.timestamp)


class Append(Processor):
    api_version = 1

    def process(self, record: Record, state: Any, out: Any) -> None:
        state[record.key].append(record.value)


@pytest.mark.parametrize("batches", [0, -1])
def test_batches_without_records_are_refused(batches: int) -> None:
    with pytest.raises(UsageError, match="at least one record"):
        run_processor(Add, [("a", 1)], batches=batches)


def test_pairs_are_applied_in_order() -> None:
    result = run_processor(Add, [("a", 1), ("b", 2), ("a", 3)])
    assert result.state == {"a": 4, "b": 2}
    assert [(output.topic, output.key, output.value) for output in result.outputs] == [
        ("sums", b"a", b"1"),
        ("sums", b"b", b"2"),
        ("sums", b"a", b"4"),
    ]
    assert dict(result.outputs[2].headers)["framework-source-offset"] == b"2"


def test_records_keep_their_place() -> None:
    records = [Record("t", 3, offset, 100 + offset, None, None) for offset in (5, 9)]
    assert run_processor(Where, records).state == {5: ("t", 3, "t", 3, 105), 9: ("t", 3, "t", 3, 109)}


@pytest.mark.parametrize(
    "records",
    [
        [Record("t", 0, 1, 0, "k", 1), Record("t", 1, 2, 0, "k", 1)],
        [Record("t", 0, 1, 0, "k", 1), Record("u", 0, 2, 0, "k", 1)],
        [Record("t", 0, 1, 0, "k", 1), Record("t", 0, 1, 0, "k", 1)],
        [Record("t", 0, 2, 0, "k", 1), Record("t", 0, 1, 0, "k", 1)],
    ],
)
def test_records_that_one_partition_cannot_have_are_refused(records: list[Record]) -> None:
    with pytest.raises(UsageError, match="one partition, with rising offsets"):
        run_processor(Add, records)


@pytest.mark.parametrize("options", [{"step": 2}, AddOptions(step=2)])
def test_options_are_a_mapping_or_the_model(options: Any) -> None:
    assert run_processor(Add, [("a", 1)], options=options).state == {"a": 2}


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        run_processor(Add, [], options={"stride": 2})


def test_a_run_goes_on_from_a_state_and_leaves_it_alone() -> None:
    before = {"a": [1]}
    assert run_processor(Append, [("a", 2)], state=before).state == {"a": [1, 2]}
    assert before == {"a": [1]}


def test_batches_have_the_size_that_is_asked_for() -> None:
    assert run_processor(CountBatches, [("k", n) for n in range(5)], batches=2).state == {"sizes": [2, 2, 1]}


def test_without_process_batches_have_one_record() -> None:
    assert run_processor(CountBatches, [("k", n) for n in range(2)]).state == {"sizes": [1, 1]}


@pytest.mark.parametrize("batches", [None, 2])
def test_async_processors_are_run_to_their_end(batches: int | None) -> None:
    assert run_processor(AddAsync, [("a", 1), ("a", 2)], batches=batches).state == {"a": 3}


@pytest.mark.parametrize("batches", [None, 1, 2, 3])
def test_what_a_processor_raises_comes_out(batches: int | None) -> None:
    with pytest.raises(RecordError, match="0 is not positive"):
        run_processor(Add, [("a", 1), ("a", 0), ("a", 2)], batches=batches)


@pytest.mark.parametrize("batches", [None, 1, 2, 3])
def test_a_skipped_record_leaves_no_trace(batches: int | None) -> None:
    result = run_processor(Add, [("a", 1), ("a", 0), ("a", 2)], batches=batches, on_error="skip")
    assert result.state == {"a": 3}
    assert [output.value for output in result.outputs] == [b"1", b"3"]
    assert {offset: str(error) for offset, error in result.failed.items()} == {1: "0 is not positive"}


def test_nothing_makes_nothing() -> None:
    result = run_processor(Add, [])
    assert (result.state, result.outputs, result.failed) == ({}, [], {})


class Positive(Processor):
    api_version = 1

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if value <= 0:
                out.refuse(position, RecordError(f"{value} is not positive"))
            else:
                state[key] = state.get(key, 0) + value


@pytest.mark.parametrize("batches", [None, 1, 2, 9])
def test_what_a_batch_refuses_is_left_out_or_raised(batches: int | None) -> None:
    records = [("a", 1), ("a", -1), ("b", 2), ("b", 0), ("a", 3)]
    result = run_processor(Positive, records, batches=batches, on_error="skip")
    assert (result.state, list(result.failed)) == ({"a": 4, "b": 2}, [1, 3])
    with pytest.raises(RecordError, match="-1 is not positive"):
        run_processor(Positive, records, batches=batches)


# Driver


class Quiet(Processor):
    """Keeps the values of each key in place, and tells a minute after the last, by event time and by the clock."""

    api_version = 1

    def process(self, record: Record, state: Any, out: Any) -> None:
        if record.value is None:
            raise RecordError("no value")
        state.setdefault(record.key, []).append(record.value)
        self.timers.set(record.key, record.timestamp + 60_000)
        self.timers.set(record.key, 1000, name="wall", wall=True)
        out.send("seen", record.value, key=record.key)

    def process_batch(self, batch: Any, state: Any, out: Any) -> None:
        for position, record in enumerate(batch):
            if record.value is None:
                out.refuse(position, RecordError("no value"))
            else:
                state.setdefault(record.key, []).append(record.value)
                self.timers.set(record.key, record.timestamp + 60_000)
                self.timers.set(record.key, 1000, name="wall", wall=True)
                out.send("seen", record.value, key=record.key, position=position)

    def on_timer(self, timer: Any, state: Any, out: Any) -> None:
        out.send(timer.name or "quiet", len(state[timer.key]), key=timer.key)


def sent(driver: Driver) -> list[tuple[str, bytes | None]]:
    return [(output.topic, output.value) for output in driver.outputs]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("batches", [False, True])
def test_a_crash_loses_nothing_and_sends_again(codec: str, batches: bool) -> None:
    with Driver(Quiet, codec=codec, batches=batches) as driver:
        driver.send("a", 1)
        driver.checkpoint()
        driver.send("a", 2, timestamp=500)
        before = driver.processor()
        driver.crash()
        assert driver.state == {"a": [1, 2]}
        assert sent(driver) == [("seen", b"1"), ("seen", b"2"), ("seen", b"2")]
        assert [timer.time for timer in driver.timers()] == [1000, 60_500]
        assert driver.processor() is not before


@pytest.mark.parametrize("after", ["nothing", "crash", "restart"])
def test_event_time_goes_on_without_records(after: str) -> None:
    with Driver(Quiet) as driver:
        driver.send("a", 1)
        driver.restart()
        driver.advance(59_999)
        assert sent(driver) == [("seen", b"1")]
        driver.advance(61_000)
        if after != "nothing":
            getattr(driver, after)()
        assert driver.event_time() == 61_000
        again = [("quiet", b"1")] if after == "crash" else []
        assert sent(driver) == [("seen", b"1"), ("quiet", b"1"), *again]


def test_the_clock_lets_timers_of_all_partitions_fire() -> None:
    with Driver(Quiet) as driver:
        driver.send("a", 1)
        driver.send("b", 2, partition=1)
        driver.checkpoint(partition=1)
        driver.advance_clock(999)
        assert len(driver.outputs) == 2
        driver.advance_clock(1000)
        assert sent(driver)[2:] == [("wall", b"1"), ("wall", b"1")]
        driver.crash(partition=1)
        assert len(driver.outputs) == 5, "its timer was not stored as fired"


def test_a_rebalance_moves_the_partitions_that_are_named() -> None:
    with Driver(Quiet) as driver:
        for partition in range(3):
            driver.send("a", partition, partition=partition)
        before = [driver.processor(partition) for partition in range(3)]
        driver.rebalance([0, 2])
        assert [driver.processor(partition) is before[partition] for partition in range(3)] == [False, True, False]
        assert [driver.state_of(partition) for partition in range(3)] == [{"a": [0]}, {"a": [1]}, {"a": [2]}]


def test_a_failed_record_is_raised_or_told_and_leaves_no_trace() -> None:
    with Driver(Quiet) as driver, pytest.raises(RecordError, match="no value"):
        driver.send("a")
    with Driver(Quiet, on_error="skip") as driver:
        driver.send("a")
        driver.send("a", 1)
        assert driver.state == {"a": [1]}
        assert list(driver.failed()) == [0]
        assert driver.late() == []


def test_checkpoints_go_on_from_the_stored_state() -> None:
    with Driver(Quiet) as driver:
        for number in range(3):
            driver.send("a", number)
            driver.send(str(number), number)
            driver.restart()
        driver.crash()
        assert driver.state == {"a": [0, 1, 2], "0": [0], "1": [1], "2": [2]}
