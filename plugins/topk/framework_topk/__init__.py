"""The most frequent values of a field, by key, with the bounds of their counts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from framework import (
    Batch,
    Duration,
    FieldPath,
    Options,
    Output,
    Processor,
    Record,
    RecordError,
    State,
    TopicPartition,
    UsageError,
    hookimpl,
)

__all__ = ["TopK", "TopKOptions", "framework_processors"]

_Counters = dict[str, list[int]]
"""By a value: its count, and how much of that may be too much."""
_TYPES = (str, int, float)


class TopKOptions(Options):
    """What is counted, and how many values are kept."""

    field: str = Field(description="The field whose most frequent values are found: dest, order.item, /order/the.item")
    k: int = Field(default=10, ge=1, description="How many values are shown for each key")
    counters: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="How many values are counted at a time for each key. A count is too high by the number of records "
        "of the key divided by this, at the most",
    )
    ttl: Duration | None = Field(
        default=None, description="Forget a key that had no record for this long, in event time: 7d"
    )

    @field_validator("field")
    @classmethod
    def _check_field(cls, text: str) -> str:
        try:
            FieldPath.parse(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text

    @model_validator(mode="after")
    def _check_counters(self) -> Self:
        if self.counters < self.k:
            raise ValueError(f"counters={self.counters} cannot show k={self.k} values; use as many counters, or more")
        return self


class TopK(Processor[Any, Any, dict[str, Any], TopKOptions]):
    """Finds the most frequent values of a field of JSON or CSV values, for each key, by the algorithm Space-Saving.

    Source: Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
    ICDT 2005. With m counters and n records of a key, each count is at least the true one, and too high by n / m at the
    most. A value that is in more than n / m records is always found. Counts are exact for up to m different values.

    The state of a key has `k`, and the counters by value. A record is refused if its field is missing, or is neither
    text, a number, true nor false. Numbers are counted by their text, as JSON writes it.
    """

    api_version = 1
    value_format = "json"
    Options = TopKOptions

    def __init__(self, options: TopKOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._path = FieldPath.parse(options.field)

    @classmethod
    def ttl_of(cls, options: TopKOptions) -> Duration | None:
        return options.ttl

    @classmethod
    def state_definition(cls, options: TopKOptions) -> str:
        return f"the {options.k} most frequent values of field {options.field} by {options.counters} counters"

    @classmethod
    def entries(cls, state: Mapping[Any, dict[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for key, stored in state.items():
            ranked = sorted(stored["counters"].items(), key=lambda each: (-each[1][0], each[0]))
            for value, (count, excess) in ranked[: stored["k"]]:
                yield {"key": key, "value": value, "count": count, "low": count - excess}

    def process(self, record: Record[Any, Any], state: State[Any, dict[str, Any]], out: Output) -> None:
        self._count(record.key, self._text_in(record.value), state)

    def process_batch(self, batch: Batch[Any, Any], state: State[Any, dict[str, Any]], out: Output) -> None:
        for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            try:
                self._count(key, self._text_in(value), state)
            except RecordError as error:
                out.refuse(position, error)

    def _count(self, key: Any, value: str, state: State[Any, dict[str, Any]]) -> None:
        stored = state.get(key)
        if stored is None:
            stored = state[key] = {"k": self.options.k, "counters": {}}
        counters: _Counters = stored["counters"]
        if value in counters:
            counters[value][0] += 1
        elif len(counters) < self.options.counters:
            counters[value] = [1, 0]
        else:
            least = min(counters, key=lambda each: (counters[each][0], each))
            count, _ = counters.pop(least)
            counters[value] = [count + 1, count]

    def _text_in(self, value: Any) -> str:
        found = self._path.of(value)
        if not isinstance(found, _TYPES):
            raise RecordError(f"field {self._path} is {found!r:.40}: neither text, a number, true nor false")
        return str(found).lower() if isinstance(found, bool) else str(found)


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [TopK]
