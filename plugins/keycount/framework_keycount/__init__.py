"""Counts records by key."""

from collections.abc import Sequence

from framework import Batch, Output, Processor, Record, State, hookimpl

__all__ = ["KeyCount", "framework_processors"]


class KeyCount(Processor):
    """Counts the records of each key. Records without a key count under null, which is different from the empty key."""

    api_version = 1

    def process(self, record: Record, state: State[str | None, int], out: Output) -> None:
        state[record.key] = state.get(record.key, 0) + 1

    def process_batch(self, batch: Batch, state: State[str | None, int], out: Output) -> None:
        state.tally(batch.keys)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [KeyCount]
