"""Passes on the first record of each id, and drops its repeats for a time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
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
from framework.event_time import time_text

__all__ = ["Dedupe", "DedupeOptions", "framework_processors"]

_KEY = "key"
_ID_TYPES = (str, int, float, bool)


class DedupeOptions(Options):
    """What makes two records repeats of each other, and where the first of them goes."""

    output: str = Field(description="The topic to which the first record of each id is sent")
    within: Duration = Field(default=Duration("1d"), description="How long an id is known, in event time: 10m, 7d")
    id: str = Field(
        default=_KEY,
        description="key, or the field of a JSON value that is the id: order.id, or as a JSON Pointer: /order/the.id",
    )

    @field_validator("id")
    @classmethod
    def _check_id(cls, text: str) -> str:
        try:
            FieldPath.parse(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return text


class Dedupe(Processor[Any, bytes | None, int, DedupeOptions]):
    """Sends the first record of each id on as it is. Further records of that id are dropped, until `within` has passed.

    The state is exact: it has each id with the event time of its first record, in milliseconds since the epoch. Ids are
    compared within a partition, so all records of an id must be in one, as they are if the id is the key.
    """

    api_version = 1
    Options = DedupeOptions

    def __init__(self, options: DedupeOptions, partition: TopicPartition) -> None:
        super().__init__(options, partition)
        self._path = None if options.id == _KEY else FieldPath.parse(options.id)
        self._decoder = None if self._path is None else msgspec.json.Decoder(self._path.json_type().kind)

    @classmethod
    def ttl_of(cls, options: DedupeOptions) -> Duration:
        return options.within

    @classmethod
    def state_definition(cls, options: DedupeOptions) -> str:
        return f"ids in the field {options.id}" if options.id != _KEY else "ids in the key"

    @classmethod
    def entries(cls, state: Mapping[Any, int]) -> Iterable[Mapping[str, Any]]:
        return ({"key": key, "value": time_text(first)} for key, first in state.items())

    def process(self, record: Record[Any, bytes | None], state: State[Any, int], out: Output) -> None:
        self._pass_on(record, state, out, None)

    def process_batch(self, batch: Batch[Any, bytes | None], state: State[Any, int], out: Output) -> None:
        for position, record in enumerate(batch):
            try:
                self._pass_on(record, state, out, position)
            except RecordError as error:
                out.refuse(position, error)

    def _pass_on(
        self, record: Record[Any, bytes | None], state: State[Any, int], out: Output, position: int | None
    ) -> None:
        own = self._id_of(record)
        if record.key is None and record.value is None:
            raise RecordError("the record has neither key nor value; Kafka clients send no such records")
        if own not in state:
            headers = [header for header in record.headers if not header[0].startswith("framework-")]
            out.send(self.options.output, record.value, key=record.key, headers=headers, position=position)
            state[own] = record.timestamp

    def _id_of(self, record: Record[Any, bytes | None]) -> Any:
        if self._path is None or self._decoder is None:
            return record.key
        if record.value is None:
            raise RecordError(f"the value is null, so it has no field {self._path}")
        try:
            found = self._path.of(self._decoder.decode(record.value))
        except msgspec.MsgspecError as error:
            raise RecordError(f"the value has no field {self._path} in JSON: {error}") from error
        if not isinstance(found, _ID_TYPES):
            raise RecordError(f"the field {self._path} is {found!r:.40}, which is no id; an id is text or a number")
        return found


@hookimpl
def framework_processors() -> Sequence[type[Processor]]:
    return [Dedupe]
