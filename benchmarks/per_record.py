"""The README's ten lines: counts the records of each key, one at a time."""

from collections.abc import MutableMapping

from framework import Output, Processor, Record


class Visits(Processor):
    """Counts the visits of each page."""

    api_version = 1

    def process(self, record: Record, state: MutableMapping[str | None, int], out: Output) -> None:
        state[record.key] = state.get(record.key, 0) + 1
