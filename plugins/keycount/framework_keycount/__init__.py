"""Counts records by key."""

from collections import Counter
from collections.abc import MutableMapping, Sequence

from framework import Batch, Output, Processor, Record, hookimpl

__all__ = ["KeyCount", "framework_processors"]


class KeyCount(Processor):
    """Counts the records of each key; those without a key count under null, which is not the empty key."""

    api_version = 1

    def process(self, record: Record, state: MutableMapping[str | None, int], out: Output) -> None:
        state[record.key] = state.get(record.key, 0) + 1

    def process_batch(self, batch: Batch, state: MutableMapping[str | None, int], out: Output) -> None:
        state.update({key: state.get(key, 0) + count for key, count in Counter(batch.keys).items()})


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [KeyCount]
