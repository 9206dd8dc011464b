"""Plugins that refuse one record in `one_in`. They measure the cost of failures, record by record and in batches."""

import random
from bisect import bisect_left
from typing import Any, Final

from framework import Batch, Options, Output, Processor, Record, State, TopicPartition

__all__ = ["CountBatches", "CountRecords", "CountRefusing", "ListBatches", "ListRecords", "ListRefusing", "SumBatches"]

_KEPT: Final = 10
"""Number of latest offsets that the plugins with lists keep for each key."""
_NEVER: Final = 1 << 62
_OFFSETS: Final = 1_200_000
"""Bad records have offsets below this one. All later records are good."""


class FailingOptions(Options):
    """The rate of failures."""

    one_in: int = _NEVER


class _Failing(Processor):
    """Refuses one record in `one_in`. The records are drawn at random, and the same in each run."""

    api_version = 1
    Options = FailingOptions

    def __init__(self, options: FailingOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        drawn = random.Random(partition.partition).sample(range(_OFFSETS), _OFFSETS // options.one_in)  # noqa: S311 - no secret
        self._bad_offsets = [*sorted(drawn), _NEVER]
        self._are_bad = set(drawn)

    def _check(self, record: Record) -> None:
        if record.offset in self._are_bad:
            raise ValueError("one of the bad ones")

    def _good(self, batch: Batch) -> int:
        """Number of records before the first bad one."""
        first = batch.offsets[0]
        return min(self._bad_offsets[bisect_left(self._bad_offsets, first)] - first, len(batch))

    def _bad(self, batch: Batch) -> list[int]:
        """The positions of the bad records."""
        first = batch.offsets[0]
        among = (bisect_left(self._bad_offsets, end) for end in (first, first + len(batch)))
        return [offset - first for offset in self._bad_offsets[slice(*among)]]


class CountRecords(_Failing):
    """Counts the records of each key, one at a time."""

    def process(self, record: Record, state: State[Any, int], out: Output) -> None:
        self._check(record)
        state[record.key] = state.get(record.key, 0) + 1


class CountBatches(CountRecords):
    """The same, many at once."""

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        good = self._good(batch)
        state.tally(batch.keys[:good])
        if good < len(batch):
            raise ValueError("one of the bad ones")


class CountRefusing(CountRecords):
    """The same, many at once, and the bad ones refused."""

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        keys = list(batch.keys)
        for position in reversed(self._bad(batch)):
            out.refuse(position, ValueError("one of the bad ones"))
            del keys[position]
        state.tally(keys)


class ListRecords(_Failing):
    """Keeps the latest offsets of each key in a list that is changed in place, one record at a time."""

    def process(self, record: Record, state: State[Any, list[int]], out: Output) -> None:
        self._check(record)
        _append(state, record.key, record.offset)


class ListBatches(ListRecords):
    """The same, many at once."""

    def process_batch(self, batch: Batch, state: State[Any, list[int]], out: Output) -> None:
        good = self._good(batch)
        for key, offset in zip(batch.keys[:good], batch.offsets[:good], strict=True):
            _append(state, key, offset)
        if good < len(batch):
            raise ValueError("one of the bad ones")


class ListRefusing(ListRecords):
    """The same, many at once, and the bad ones refused."""

    def process_batch(self, batch: Batch, state: State[Any, list[int]], out: Output) -> None:
        bad = set(self._bad(batch))
        for position, (key, offset) in enumerate(zip(batch.keys, batch.offsets, strict=True)):
            if position in bad:
                out.refuse(position, ValueError("one of the bad ones"))
            else:
                _append(state, key, offset)


class SumBatches(_Failing):
    """Adds up a field of JSON values for each key, many at once."""

    value_format = "json"

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        good = self._good(batch)
        for key, value in zip(batch.keys[:good], batch.values[:good], strict=True):
            state[key] = state.get(key, 0) + value["n"]
        if good < len(batch):
            raise ValueError("one of the bad ones")


def _append(state: State[Any, list[int]], key: Any, offset: int) -> None:
    latest = state.get(key)
    if latest is None:
        state[key] = [offset]
        return
    latest.append(offset)
    if len(latest) > _KEPT:
        del latest[0]
