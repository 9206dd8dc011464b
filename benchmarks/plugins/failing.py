"""Plugins that refuse one record in so many: what failures cost them, record by record and in batches."""

from typing import Any, Final

from framework import Batch, Options, Output, Processor, Record, State, TopicPartition

__all__ = ["CountBatches", "CountRecords", "CountRefusing", "ListBatches", "ListRecords", "ListRefusing"]

_KEPT: Final = 10
"""So many of its latest offsets are kept for each key, by those that keep lists."""
_NEVER: Final = 1 << 62


class FailingOptions(Options):
    """How often they fail."""

    one_in: int = _NEVER


class _Failing(Processor):
    """Refuses each record whose offset is a multiple of `one_in`."""

    api_version = 1
    Options = FailingOptions

    def __init__(self, options: FailingOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._one_in = options.one_in

    def _check(self, record: Record) -> None:
        if record.offset % self._one_in == self._one_in - 1:
            raise ValueError("one of the bad ones")

    def _good(self, batch: Batch) -> int:
        """How many records come before the first bad one."""
        return self._one_in - 1 - batch.offsets[0] % self._one_in

    def _bad(self, batch: Batch) -> range:
        """The positions of the bad records."""
        return range(self._good(batch), len(batch), self._one_in)

    def _check_batch(self, batch: Batch) -> None:
        if self._good(batch) < len(batch):
            raise ValueError("one of the bad ones")


class CountRecords(_Failing):
    """Counts the records of each key, one at a time."""

    def process(self, record: Record, state: State[Any, int], out: Output) -> None:
        self._check(record)
        state[record.key] = state.get(record.key, 0) + 1


class CountBatches(CountRecords):
    """The same, many at once."""

    def process_batch(self, batch: Batch, state: State[Any, int], out: Output) -> None:
        state.tally(batch.keys[: self._good(batch)])
        self._check_batch(batch)


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
        self._check_batch(batch)


class ListRefusing(ListRecords):
    """The same, many at once, and the bad ones refused."""

    def process_batch(self, batch: Batch, state: State[Any, list[int]], out: Output) -> None:
        bad = self._bad(batch)
        for position, (key, offset) in enumerate(zip(batch.keys, batch.offsets, strict=True)):
            if position in bad:
                out.refuse(position, ValueError("one of the bad ones"))
            else:
                _append(state, key, offset)


def _append(state: State[Any, list[int]], key: Any, offset: int) -> None:
    latest = state.get(key)
    if latest is None:
        state[key] = [offset]
        return
    latest.append(offset)
    if len(latest) > _KEPT:
        del latest[0]
