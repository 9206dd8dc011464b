"""Dead letters: records that could not be applied, kept with their reason in a topic of their own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from framework.borders import located, message_of
from framework.output import OutputRecord
from framework.records import Headers, Record, TopicPartition

__all__ = ["DEAD_LETTER_HEADERS", "REPLAY_HEADER", "DeadLetter", "to_dead_letter"]

DEAD_LETTER_HEADERS = (
    "framework-dead-letter-plugin",
    "framework-dead-letter-topic",
    "framework-dead-letter-partition",
    "framework-dead-letter-offset",
    "framework-dead-letter-timestamp",
    "framework-dead-letter-error",
    "framework-dead-letter-message",
    "framework-dead-letter-time",
)
"""Headers of every dead letter, after the headers of the record. The first four identify the letter, so that a reader
can drop repeats. `timestamp` is the record's own, in milliseconds since the epoch; `error` is the class of the
exception; `message` is its text, with the file and line of the plugin that raised it; `time` is the time of the
failure, in ISO 8601."""

REPLAY_HEADER = "framework-replay-of"
"""Header of a replayed record: names its dead letter as `topic-partition:offset`."""


def to_dead_letter(topic: str, record: Record, plugin: str, error: BaseException) -> OutputRecord:
    """The dead letter for `topic` of a record, whose key and value are the original bytes.

    It can be made for every record and every error, also for an error whose text cannot be made. The producer sets the
    letter's own timestamp: with the timestamp of an old record, the topic's retention could delete the letter at once.
    """
    values = (
        plugin,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        type(error).__name__,
        located(message_of(error), error),
        datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    reason = tuple(
        (name, str(value).encode(errors="backslashreplace"))
        for name, value in zip(DEAD_LETTER_HEADERS, values, strict=True)
    )
    return OutputRecord(topic, record.key, record.value, (*record.headers, *reason))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, read back."""

    at: Record
    """The dead letter itself, as it stands in its topic; key and value are bytes."""
    plugin: str
    origin: TopicPartition
    offset: int
    timestamp: int
    """The record's own, in milliseconds since the epoch."""
    error: str
    message: str
    time: str

    @classmethod
    def of(cls, record: Record) -> Self | None:
        """What a record of a dead-letter topic tells; None if it is no dead letter."""
        names = tuple(name for name, _ in record.headers[-len(DEAD_LETTER_HEADERS) :])
        if names != DEAD_LETTER_HEADERS:
            return None
        reason = record.headers[-len(DEAD_LETTER_HEADERS) :]
        plugin, topic, partition, offset, timestamp, error, message, time = (
            (value or b"").decode(errors="replace") for _, value in reason
        )
        try:
            origin = TopicPartition(topic, int(partition))
            return cls(record, plugin, origin, int(offset), int(timestamp), error, message, time)
        except ValueError:
            return None

    @property
    def record_identity(self) -> tuple[TopicPartition, int, int]:
        """Identifies the record, also if its topic was re-created."""
        return self.origin, self.offset, self.timestamp

    def to_replay(self, topic: str | None) -> OutputRecord:
        """The original record, for the partition that it came from, or for `topic` by its key."""
        place = f"{self.at.topic}-{self.at.partition}:{self.at.offset}"
        return OutputRecord(
            self.origin.topic if topic is None else topic,
            self.at.key,
            self.at.value,
            (*self._headers_before(), (REPLAY_HEADER, place.encode())),
            partition=self.origin.partition if topic is None else None,
            timestamp=self.timestamp if self.timestamp >= 0 else None,
        )

    def _headers_before(self) -> Headers:
        """The original headers of the record, without the header of an earlier replay."""
        before = self.at.headers[: -len(DEAD_LETTER_HEADERS)]
        return tuple((name, value) for name, value in before if name != REPLAY_HEADER)
