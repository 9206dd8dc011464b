from decimal import Decimal
from typing import Any, assert_type

import msgspec
import pytest
from pydantic import ValidationError

from framework import Batch, Options, Output, Processor, Record, State, TopicPartition
from framework.table import Table
from framework.testing import run_processor

PARTITION = TopicPartition("orders", 3)


class CountOptions(Options):
    step: int = 1


class Count(Processor):
    api_version = 1
    Options = CountOptions

    def process(self, record: Record, state: Any, out: Output) -> None:
        state[record.key] = state.get(record.key, 0) + self.options.step


class Order(msgspec.Struct):
    customer: str
    amount: Decimal


class Totals(Processor[str, Order, Decimal, CountOptions]):
    """mypy, which checks this file strictly, knows the types without a cast."""

    api_version = 1
    value_format = Order
    Options = CountOptions

    def process(self, record: Record[str, Order], state: State[str, Decimal], out: Output) -> None:
        assert_type(record.value.amount, Decimal)
        assert_type(self.options.step, int)
        assert_type(state[record.key], Decimal)
        state[record.key] += record.value.amount * self.options.step

    def process_batch(self, batch: Batch[str, Order], state: State[str, Decimal], out: Output) -> None:
        for key, order in zip(batch.keys, batch.values, strict=True):
            assert_type(order, Order)
            state[key] += order.amount * self.options.step


def test_a_processor_of_types_is_used_like_any_other() -> None:
    state = {"a": Decimal(1)}
    for batches in (None, 2):
        result = run_processor(
            Totals, [("a", Order("x", Decimal("1.5")))], options={"step": 2}, state=state, batches=batches
        )
        assert result.state == {"a": Decimal("4.0")}


def test_a_processor_has_its_options_and_its_partition() -> None:
    options = CountOptions(step=2)
    processor = Count(options, PARTITION)
    assert (processor.options, processor.partition) == (options, PARTITION)


def test_what_a_processor_need_not_say() -> None:
    assert (Count.name, Count.state_version, Count.key_format, Count.value_format) == ("", 1, "utf8", "bytes")


def test_the_api_version_has_no_default() -> None:
    assert not hasattr(Processor, "api_version")


@pytest.mark.parametrize("given", [{"stride": 1}, {"step": "many"}])
def test_options_that_are_not_declared_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CountOptions(**given)


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CountOptions().step = 2


@pytest.mark.parametrize("method", ["process", "process_batch"])
def test_what_is_not_written_is_not_there(method: str) -> None:
    processor = type("Bare", (Processor,), {"api_version": 1})(Options(), PARTITION)
    with pytest.raises(NotImplementedError):
        getattr(processor, method)(None, {}, None)


def test_older_state_needs_migrate() -> None:
    with pytest.raises(NotImplementedError):
        Count.migrate(Table(), 1)
