"""Outputs: records that a processor sends to a topic, at least once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framework.errors import OutputError
from framework.records import Headers

__all__ = ["SOURCE_HEADERS", "Output", "OutputRecord"]

SOURCE_HEADERS = (
    "framework-plugin",
    "framework-source-topic",
    "framework-source-partition",
    "framework-source-offset",
    "framework-source-index",
)
"""Headers of every output. Together they name it: a reader drops repeats by them."""


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record on its way out; `key` and `value` as they go over the wire."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None
    """Where it goes; None: by its key."""
    timestamp: int | None = None
    """In milliseconds since the epoch; None: the time when it is sent."""


class Output:
    """Collects what a processor sends while it applies records.

    `send` only collects: the runtime hands the records to Kafka, and writes no checkpoint that covers their
    source records before all of them are acknowledged.
    """

    __slots__ = ("_index", "_offset", "_offsets", "_partition", "_plugin", "_records", "_refused", "_topic")

    def __init__(self, plugin: str, topic: str, partition: int) -> None:
        self._plugin = plugin
        self._topic = topic
        self._partition = partition
        self._records: list[OutputRecord] = []
        self._offsets: Sequence[int] | None = None
        self._offset = -1
        self._index = 0
        self._refused: dict[int, Exception] = {}

    def send(
        self,
        topic: str,
        value: Any,
        *,
        key: Any = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        position: int | None = None,
    ) -> None:
        """Send a record to `topic` at least once.

        `value` and `key`: bytes go as they are, str as UTF-8, None as null, everything else as JSON.
        `position`: in `process_batch`, the position in the batch of the record that this output comes from.

        Raises `OutputError` for a value that is none of these, for the plugin's own input topic, and for a
        missing `position`.
        """
        if topic == self._topic:
            raise OutputError(
                f"plugin {self._plugin} sends to its own input topic {topic}, which would never end; "
                "send to another topic"
            )
        if self._offsets is not None:
            self._move_to_batch_position(position)
        self._records.append(OutputRecord(topic, _to_bytes(key), _to_bytes(value), (*headers, *self._source_headers())))
        self._index += 1

    def refuse(self, position: int, error: Exception) -> None:
        """In `process_batch`: reject the record at this position of the batch, which has changed nothing, and go on.

        What `--on-error` says becomes of it, as if `process` had raised `error`; the fast way to reject records.

        Raises `OutputError` for a position that is not in the batch.
        """
        if self._offsets is None or not 0 <= position < len(self._offsets):
            raise OutputError(
                f"plugin {self._plugin}: out.refuse needs the position of a record in the batch of process_batch, not "
                f"{position}; in process, raise the error"
            )
        self._refused[position] = error

    def _move_to_batch_position(self, position: int | None) -> None:
        if position is None or self._offsets is None or not 0 <= position < len(self._offsets):
            raise OutputError(
                f"plugin {self._plugin}: in process_batch, out.send needs position=, the position in the batch "
                "of the record that the output comes from"
            )
        offset = self._offsets[position]
        if offset < self._offset:
            raise OutputError(f"plugin {self._plugin}: process_batch must send its outputs in record order")
        if offset != self._offset:
            self._offset, self._index = offset, 0

    def _source_headers(self) -> Headers:
        values = (self._plugin, self._topic, self._partition, self._offset, self._index)
        return tuple((name, str(value).encode()) for name, value in zip(SOURCE_HEADERS, values, strict=True))

    # What follows is the runtime's side.

    def _begin_record(self, offset: int) -> None:
        self._offsets = None
        self._offset, self._index = offset, 0

    def _begin_batch(self, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self._offset, self._index = -1, 0

    def _take_refused(self) -> dict[int, Exception]:
        """What was refused since the last call, by position."""
        refused, self._refused = self._refused, {}
        return refused

    def _mark(self) -> int:
        return len(self._records)

    def _cut(self, mark: int) -> None:
        """Forget what was sent since `mark`, and what was refused: its record has failed."""
        del self._records[mark:]
        self._refused = {}

    def _add(self, record: OutputRecord) -> None:
        """Take a record of the runtime's own, such as a dead letter, on the same way."""
        self._records.append(record)

    def _take(self) -> list[OutputRecord]:
        taken, self._records = self._records, []
        return taken


def _to_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return value.encode()
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise OutputError(
            f"cannot send a {type(value).__name__}: {error}; send bytes, str, None or what JSON can hold"
        ) from error
