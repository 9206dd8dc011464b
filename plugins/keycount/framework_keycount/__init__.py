"""Counts records by key."""

from collections.abc import Sequence

from pydantic import Field

from framework import Batch, Duration, Options, Output, Processor, Record, State, hookimpl

__all__ = ["KeyCount", "KeyCountOptions", "framework_processors"]


class KeyCountOptions(Options):
    """How long keys are counted."""

    ttl: Duration | None = Field(
        default=None, description="Forget a key that had no record for this long, in event time: 7d"
    )


class KeyCount(Processor[str | None, bytes, int, KeyCountOptions]):
    """Counts the records of each key. Records without a key count under null, which is different from the empty key."""

    api_version = 1
    Options = KeyCountOptions

    @classmethod
    def ttl_of(cls, options: KeyCountOptions) -> Duration | None:
        return options.ttl

    def process(self, record: Record, state: State[str | None, int], out: Output) -> None:
        state[record.key] = state.get(record.key, 0) + 1

    def process_batch(self, batch: Batch, state: State[str | None, int], out: Output) -> None:
        state.tally(batch.keys)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [KeyCount]
