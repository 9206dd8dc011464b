"""The runtime's side of outputs: keeps them until they are handed to the sink."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from types import MappingProxyType
from typing import Any

from framework.borders import shown
from framework.errors import OutputError
from framework.output import SOURCE_HEADERS, Output, OutputRecord, checked_output
from framework.records import TopicPartition
from framework.runtime.writers import Writers

__all__ = ["Outbox"]

*_UNIT_HEADERS, _OFFSET_HEADER, _INDEX_HEADER = SOURCE_HEADERS


class Outbox(Output):
    """Collects the outputs and the rejected records of one unit's processor.

    Before each call of the processor, the runtime says which records it applies: by `begin_batch`, or by
    `begin_records` and then, for each record, the attribute `record`. After a failed call, `cut` removes its outputs,
    back to the `mark` from before the call. A `mark` is invalid once records were taken.
    """

    __slots__ = (
        "_batch",
        "_index",
        "_offset",
        "_partition",
        "_plugin",
        "_records",
        "_refused",
        "_sender",
        "_size",
        "_timer",
        "_unit_headers",
        "_writers",
        "record",
    )

    def __init__(self, plugin: str, partition: TopicPartition, writers: Writers) -> None:
        self._plugin = plugin
        self._partition = partition
        self._writers = writers
        unit = (plugin, *partition)
        self._unit_headers = tuple((name, str(of).encode()) for name, of in zip(_UNIT_HEADERS, unit, strict=True))
        self._batch: Sequence[int] | None = None
        """Offsets of the current batch; None while a single record is applied."""
        self._offset = -1
        self._index = 0
        """Number of outputs that the record at `_offset` has sent so far."""
        self.record: Any = None
        """The record that is being applied alone. An attribute, because it is set for each record."""
        self._sender: Any = None
        """The single record that has sent the last output."""
        self._timer: int | None = None
        """Number of the timer that fires; None while records are applied."""
        self._records: list[OutputRecord] = []
        self._size = 0
        self._refused: dict[int, Exception] = {}

    def __len__(self) -> int:
        """Number of records that were not taken yet."""
        return len(self._records)

    @property
    def size(self) -> int:
        """Bytes of keys, values and headers of these records."""
        return self._size

    @property
    def refused(self) -> Mapping[int, Exception]:
        """The rejected records of the batch that were not taken yet: the error by the record's position."""
        return MappingProxyType(self._refused)

    def begin_records(self) -> None:
        """The next outputs come from single records, each of which is set as `record` before it is applied."""
        self._batch = self._sender = self._timer = None

    def begin_timer(self, offset: int, number: int) -> None:
        """The next outputs come from the unit's timer of this number, which fires after the record at `offset`."""
        self._batch = self._sender = None
        self._timer, self._offset, self._index = number, offset, 0

    def begin_batch(self, offsets: Sequence[int]) -> None:
        """The next outputs come from the records at these offsets; the `position` of an output says from which."""
        self._batch, self._timer = offsets, None
        self._offset, self._index = -1, 0

    def send(
        self,
        topic: str,
        value: Any,
        *,
        key: Any = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        timestamp: int | None = None,
        partition: int | None = None,
        position: int | None = None,
        key_format: Any = None,
        value_format: Any = None,
    ) -> None:
        # Everything is made before anything is kept, so that a call that raises has no effect. The plugin's objects are
        # read first, because they may call `send`, too.
        try:
            write_key = self._writers.of("key", topic, key_format)
            write_value = self._writers.of("value", topic, value_format)
            name, sent_key, sent_value, own_headers, number, time = checked_output(
                topic, value, key, headers, partition, timestamp, write_key, write_value
            )
        except OutputError as error:
            raise OutputError(f"plugin {self._plugin}: {error}") from error
        if name == self._partition.topic:
            raise OutputError(
                f"plugin {self._plugin} sends to its own input topic {name}, which would never end; "
                "send to another topic"
            )
        offset, place = self._place_of(position)
        place_text = b"%d" % place if self._timer is None else b"timer-%d-%d" % (self._timer, place)
        source = ((_OFFSET_HEADER, b"%d" % offset), (_INDEX_HEADER, place_text))
        all_headers = (*own_headers, *self._unit_headers, *source)
        self.add(OutputRecord(name, sent_key, sent_value, all_headers, number, time))
        self._offset, self._index = offset, place + 1

    def refuse(self, position: int, error: Exception) -> None:
        if self._batch is None or not _is_position(position, self._batch):
            raise OutputError(
                f"plugin {self._plugin}: out.refuse needs the position of a record in the batch of process_batch, not "
                f"{shown(position)}; in process, raise the error"
            )
        if not isinstance(error, Exception):
            raise OutputError(f"plugin {self._plugin}: out.refuse needs an exception, not {shown(error)}")
        self._refused[index(position)] = error

    def _place_of(self, position: int | None) -> tuple[int, int]:
        """Offset of the record that the next output comes from, and the number of its outputs so far."""
        if self._timer is not None:
            return self._offset, self._index
        if self._batch is None:
            record = self.record
            if record is not self._sender:
                self._sender, self._offset, self._index = record, record.offset, 0
            return self._offset, self._index
        if position is None or not _is_position(position, self._batch):
            raise OutputError(
                f"plugin {self._plugin}: in process_batch, out.send needs position=, the position in the batch "
                f"of the record that the output comes from, not {shown(position)}"
            )
        offset = self._batch[position]
        if offset < self._offset:
            raise OutputError(f"plugin {self._plugin}: process_batch must send its outputs in record order")
        return offset, self._index if offset == self._offset else 0

    def take_refused(self) -> dict[int, Exception]:
        """The records that were rejected since the last call: the error by the record's position."""
        refused, self._refused = self._refused, {}
        return refused

    def mark(self) -> int:
        """A point to `cut` back to."""
        return len(self._records)

    def cut(self, mark: int) -> None:
        """Forget the outputs since `mark` and all rejected records, because the call has failed."""
        self._sender = None
        self._size -= sum(map(_size_of, self._records[mark:]))
        del self._records[mark:]
        self._refused = {}

    def add(self, record: OutputRecord) -> None:
        """Add a record of the runtime itself, such as a dead letter."""
        size = self._size + _size_of(record)
        self._records.append(record)
        self._size = size

    def take(self) -> list[OutputRecord]:
        """The records that were not taken yet, in the order in which they were sent."""
        taken = self._records
        self._records, self._size = [], 0
        return taken


def _is_position(position: Any, batch: Sequence[int]) -> bool:
    """Whether it is an integer, also of another library, and a position within the batch."""
    try:
        return 0 <= index(position) < len(batch)
    except TypeError:
        return False


def _size_of(record: OutputRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
