"""Plugins that sum a field of JSON values, which have a type: at once, and one record at a time."""

import msgspec

from framework import Batch, Output, Processor, Record, State

__all__ = ["Order", "SumBatches", "SumRecords"]


class Order(msgspec.Struct):
    """The only field that is read."""

    amount: float


class SumRecords(Processor[str, Order, float]):
    """Sums the amounts of each key, one record at a time."""

    api_version = 1
    value_format = Order

    def process(self, record: Record[str, Order], state: State[str, float], out: Output) -> None:
        state[record.key] = state.get(record.key, 0.0) + record.value.amount


class SumBatches(Processor[str, Order, float]):
    """The same, many at once."""

    api_version = 1
    value_format = Order

    def process_batch(self, batch: Batch[str, Order], state: State[str, float], out: Output) -> None:
        for key, order in zip(batch.keys, batch.values, strict=True):
            state[key] = state.get(key, 0.0) + order.amount
