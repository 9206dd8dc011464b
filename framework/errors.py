"""All errors that framework raises on purpose.

The hierarchy, with the exit status of a command that ends with the error::

    FrameworkError                    1  base class; never raised itself
    ├── UsageError                    2  options, configuration, input files
    │   └── PluginError               2  a plugin cannot be found, imported or used
    ├── ProcessingError               1  a record could not be applied
    │   ├── RecordError               1  a processor refused a record, or failed on it
    │   │   └── LateRecordError       1  a record came after its windows had closed; it is no failure
    │   ├── DeserializationError      1  a key or value is not in the declared format
    │   └── TallyError                1  a key was tallied, but its value is not a number; also a TypeError
    ├── OutputError                   1  an output was refused or not acknowledged
    ├── CodecError                    1  the codec cannot encode or decode a value without loss
    ├── StoreError                    1  the store could not read or write (disk, permissions)
    ├── OffsetOutOfRangeError         1  the log no longer holds the stored position
    │   └── TopicRecreatedError       1  the stored state was built from another log than this one
    ├── RecordsLostError              1  the embedded broker dropped records before they were read
    ├── StateError                    3  base class of errors in stored state
    │   ├── StateCorruptError         3  damaged: checksum, truncation, missing rows
    │   ├── StateIncompatibleError    3  another codec, version, partition count or cluster
    │   ├── StateMissingError         3  according to Kafka, the store lacks the newest checkpoint
    │   ├── StateConflictError        3  removed, or written by another program, while its owner ran
    │   └── FencedError               3  another owner has claimed the partition
    ├── BrokerError                   4  the broker cannot be reached, or rejects a request
    │   └── TopicNotFoundError        4  the broker has no such topic
    ├── StalledError                  1  a partition makes no progress, or the consumer is dead
    └── InternalError                 1  a bug in framework

Each message says what happened, which topic, partition, offset, plugin or file is concerned, and what to do.
"""

from typing import ClassVar

__all__ = [
    "BrokerError",
    "CodecError",
    "DeserializationError",
    "FencedError",
    "FrameworkError",
    "InternalError",
    "LateRecordError",
    "OffsetOutOfRangeError",
    "OutputError",
    "PluginError",
    "ProcessingError",
    "RecordError",
    "RecordsLostError",
    "StalledError",
    "StateConflictError",
    "StateCorruptError",
    "StateError",
    "StateIncompatibleError",
    "StateMissingError",
    "StoreError",
    "TallyError",
    "TopicNotFoundError",
    "TopicRecreatedError",
    "UsageError",
]


class FrameworkError(Exception):
    """Base class of all errors of framework."""

    exit_status: ClassVar[int] = 1
    """Exit status of a command that ends with this error."""


class UsageError(FrameworkError):
    """An option, a configuration or an input file cannot be used."""

    exit_status = 2


class PluginError(UsageError):
    """A plugin cannot be found, imported or used."""


class ProcessingError(FrameworkError):
    """A record could not be applied."""


class RecordError(ProcessingError):
    """A processor refused a record, or failed on it. Processors may raise it themselves."""


class LateRecordError(RecordError):
    """A processor refuses a record because it comes too late, for example after its window has closed.

    Such a record is no failure. It is counted as late, and dropped or sent to `--late-topic`; `--on-error` and
    `--retries` do not apply. Like any exception, it undoes the record's changes and outputs.
    """


class DeserializationError(ProcessingError):
    """A record's key or value is not in the format that the processor reads."""


class TallyError(ProcessingError, TypeError):
    """`State.tally` was given a key whose value is not a number. The plugin is at fault, not the record."""


class OutputError(FrameworkError):
    """An output was refused or not acknowledged."""


class CodecError(FrameworkError):
    """A value cannot be turned into bytes, or bytes into a value, without loss."""


class StoreError(FrameworkError):
    """The store could not read or write: disk full, permissions, I/O error."""


class OffsetOutOfRangeError(FrameworkError):
    """The log no longer holds the position from which the stored state continues."""


class TopicRecreatedError(OffsetOutOfRangeError):
    """The stored state was built from another log: the topic was re-created, or its log truncated."""


class RecordsLostError(FrameworkError):
    """The embedded broker dropped records before they were read."""


class StateError(FrameworkError):
    """Base class of errors in stored state. The stored state itself is not changed."""

    exit_status = 3


class StateCorruptError(StateError):
    """Stored state is damaged."""


class StateIncompatibleError(StateError):
    """Stored state belongs to another codec, version, partition count or cluster."""


class StateMissingError(StateError):
    """The store lacks the newest checkpoint of a partition, according to the group's committed offset in Kafka."""


class StateConflictError(StateError):
    """The stored state differs from its owner's last checkpoint: it was removed, or another program wrote it."""


class FencedError(StateError):
    """Another owner has claimed the partition, so this owner can store nothing more for it."""


class BrokerError(FrameworkError):
    """The broker cannot be reached, or rejects a request."""

    exit_status = 4


class TopicNotFoundError(BrokerError):
    """The broker has no such topic."""


class StalledError(FrameworkError):
    """A partition with records to read makes no progress, or the consumer is dead."""


class InternalError(FrameworkError):
    """A bug in framework. Please report it."""
