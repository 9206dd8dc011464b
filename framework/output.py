"""Outputs: records that a processor sends to a topic, at least once."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import index
from typing import Any, Final

from framework.borders import describe, shown
from framework.errors import OutputError
from framework.formats.json import to_json
from framework.records import Headers

__all__ = ["SOURCE_HEADERS", "Output", "OutputRecord", "Write", "checked_output", "to_bytes"]

SOURCE_HEADERS = (
    "framework-plugin",
    "framework-source-topic",
    "framework-source-partition",
    "framework-source-offset",
    "framework-source-index",
)
"""Headers of every output. Together they identify it, so that a reader can drop repeats."""

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_BYTES_LIKE: Final = (bytes, bytearray, memoryview)
_HIGHEST_PARTITION: Final = 2**31 - 1
_LATEST_TIMESTAMP: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record on its way out; `key` and `value` as they go over the wire."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None = None
    """The partition of `topic`; None: it is chosen by the key."""
    timestamp: int | None = None
    """Milliseconds since the epoch; None: the time at which the record is sent."""


class Output(ABC):
    """Sends and rejects records for a processor. The runtime makes it; a plugin gets it as `out`."""

    __slots__ = ()

    @abstractmethod
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
        """Send a record to `topic` at least once: no checkpoint covers its source record before it is acknowledged.

        `value` and `key`: bytes (or a bytearray or memoryview, which is copied) go as they are, str as UTF-8, None as
        null, everything else as JSON. `key_format` and `value_format`: a format to encode them in instead, a name or a
        type as in `Processor.value_format`; by default, the one that `Processor.output_formats` or `--output-format`
        names for the topic. `headers`: pairs of a str and bytes or None, such as `[("name", b"value")]`.
        `timestamp`: milliseconds since the epoch, like `record.timestamp`; None: the time at which the record is sent.
        `partition`: the number of a partition of `topic`; None: it is chosen by the key, as Kafka's own clients do.
        `position`: in `process_batch`, the position in the batch of the record that this output comes from.

        Raises `OutputError` for what Kafka does not take (the name of the topic, a value, the headers, a negative
        timestamp or partition, key and value both null), for the plugin's own input topic, and for a missing
        `position`. Nothing is sent then. Whether the topic exists and has that partition is known later, when the
        record is handed to Kafka; where not, the run ends with an `OutputError`.
        """

    @abstractmethod
    def refuse(self, position: int, error: Exception) -> None:
        """In `process_batch`: reject the record at this position of the batch, and go on with the batch.

        The record must not have changed anything. `--on-error` decides what happens to it, as if `process` had raised
        `error`. Rejecting a record in this way is faster than raising.

        Raises `OutputError` for a position that is not in the batch, and for an `error` that is not an `Exception`.
        """


def to_bytes(value: Any) -> bytes | None:
    """The usual encoding: bytes as they are, text as UTF-8, None as null, everything else as JSON.

    Raises `OutputError` for a value that JSON cannot hold.
    """
    if value is None or type(value) is bytes:
        return value
    try:
        if isinstance(value, _BYTES_LIKE):
            return memoryview(value).tobytes()
        if isinstance(value, str):
            return str.encode(value)
        return to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(
            f"cannot send a {type(value).__name__}: {describe(error)}; send bytes, str, None or what JSON can hold"
        ) from error


Write = Callable[[Any], bytes | None]
"""Encodes a key or a value; None is null."""

_Checked = tuple[str, bytes | None, bytes | None, Headers, int | None, int | None]


def checked_output(
    topic: Any,
    value: Any,
    key: Any,
    headers: Any,
    partition: Any = None,
    timestamp: Any = None,
    write_key: Write = to_bytes,
    write_value: Write = to_bytes,
) -> _Checked:
    """The fields of an `OutputRecord`, in their order, from what a plugin handed to `send`.

    Raises `OutputError` for values that the producer or Kafka would refuse later, and whatever the plugin's own objects
    raise while they are read.
    """
    name, sent_key, sent_value = _topic(topic), write_key(key), write_value(value)
    if sent_key is None and sent_value is None:
        raise OutputError(f"an output to {name} has a null key and a null value; give one of them")
    number = None if partition is None else _partition(name, partition)
    time = None if timestamp is None else _timestamp(name, timestamp)
    return name, sent_key, sent_value, _headers(headers), number, time


def _topic(topic: Any) -> str:
    if not isinstance(topic, str):
        raise OutputError(f"a topic's name is a str, not {shown(topic)}")
    name = str.__str__(topic)  # of a subclass, the plain text
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise OutputError(
            f"{shown(name)} cannot name a topic; use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', "
            "and neither '.' nor '..' alone"
        )
    return name


def _partition(topic: str, partition: Any) -> int:
    number = _whole(partition)
    if number is None or not 0 <= number <= _HIGHEST_PARTITION:
        raise OutputError(
            f"the partition of an output to {topic} is {shown(partition)}; give an int from 0 on, or leave partition= "
            "out to have it chosen by the key"
        )
    return number


def _timestamp(topic: str, timestamp: Any) -> int:
    time = _whole(timestamp)
    if time is None or not 0 <= time <= _LATEST_TIMESTAMP:
        raise OutputError(
            f"the timestamp of an output to {topic} is {shown(timestamp)}; give an int of milliseconds since the "
            "epoch, such as record.timestamp, or leave timestamp= out for the time at which it is sent"
        )
    return time


def _whole(value: Any) -> int | None:
    """`value` as an int, also if it is an integer of another library; None for other values, and for a bool."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def _headers(headers: Any) -> Headers:
    if isinstance(headers, Mapping | str | bytes) or not isinstance(headers, Iterable):
        raise OutputError(f"headers are {shown(headers)}, not pairs; {_HOW_TO_WRITE_HEADERS}")
    return tuple(map(_header, headers))


def _header(pair: Any) -> tuple[str, bytes | None]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise OutputError(f"a header is {shown(pair)}, not a pair of a name and a value; {_HOW_TO_WRITE_HEADERS}")
    name, value = pair
    if not isinstance(name, str):
        raise OutputError(f"the name of a header is {shown(name)}, not a str; {_HOW_TO_WRITE_HEADERS}")
    if value is not None and not isinstance(value, _BYTES_LIKE):
        raise OutputError(f"header {shown(name)} is {shown(value)}, not bytes or None; {_HOW_TO_WRITE_HEADERS}")
    try:
        str.encode(name)
    except UnicodeEncodeError as error:
        raise OutputError(f"the name of a header, {shown(name)}, is not Unicode text") from error
    return str.__str__(name), to_bytes(value)


_HOW_TO_WRITE_HEADERS: Final = 'write headers=[("name", b"value")]'
