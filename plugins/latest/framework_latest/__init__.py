"""Keeps the latest value of each key, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator

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

__all__ = ["Latest", "LatestOptions", "framework_processors"]


class LatestOptions(Options):
    """What is kept of a value, and for how long."""

    fields: str = Field(
        default="",
        description="The fields to keep, with commas between them: name,address.city. Without it, the whole value",
    )
    ttl: Duration | None = Field(
        default=None, description="Forget a key that had no record for this long, in event time: 7d"
    )

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, text: str) -> str:
        try:
            paths_of(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


def paths_of(fields: str) -> dict[str, FieldPath]:
    """The paths of fields by their text. Raises `UsageError` for one that is no path."""
    names = [name.strip() for name in fields.split(",")] if fields.strip() else []
    return {name: FieldPath.parse(name) for name in names}


class Latest(Processor[Any, Any, Any, LatestOptions]):
    """Keeps the value of the latest record of each key, by offset. A record without a value (null) deletes its key.

    With `fields`, it keeps an object with these fields. A field that a value does not have is left out of it.
    """

    api_version = 1
    value_format = "json"
    Options = LatestOptions

    def __init__(self, options: LatestOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._paths = paths_of(options.fields)

    @classmethod
    def ttl_of(cls, options: LatestOptions) -> Duration | None:
        return options.ttl

    @classmethod
    def state_definition(cls, options: LatestOptions) -> str:
        return f"the latest fields {', '.join(paths_of(options.fields))}" if options.fields else "the latest values"

    def process(self, record: Record[Any, Any], state: State[Any, Any], out: Output) -> None:
        self._keep({record.key: record.value}, state)

    def process_batch(self, batch: Batch[Any, Any], state: State[Any, Any], out: Output) -> None:
        self._keep(dict(zip(batch.keys, batch.values, strict=True)), state)

    def _keep(self, values: Mapping[Any, Any], state: State[Any, Any]) -> None:
        state.update({key: self._kept(value) for key, value in values.items() if value is not None})
        for key, value in values.items():
            if value is None:
                state.pop(key, None)

    def _kept(self, value: Any) -> Any:
        if not self._paths:
            return value
        kept = {}
        for name, path in self._paths.items():
            try:
                kept[name] = path.of(value)
            except RecordError:
                continue
        return kept


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Latest]
