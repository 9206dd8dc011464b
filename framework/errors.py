"""Every error that framework raises on purpose.

The hierarchy; each class carries the exit status of the command that it ends::

    FrameworkError                    1  base; never raised itself
    ├── UsageError                    2  options, configuration, input files
    │   └── PluginError               2  a plugin cannot be found, imported or used
    ├── ProcessingError               1  a record could not be applied
    │   ├── RecordError               1  a processor refused or failed on a record
    │   ├── DeserializationError      1  a key or value is not in the declared format
    │   └── TallyError                1  a key was tallied whose value is no number; a TypeError, too
    ├── OutputError                   1  an output was not acknowledged
    ├── CodecError                    1  a value that the codec cannot hold without loss
    ├── StoreError                    1  the store could not read or write (disk, permissions)
    ├── OffsetOutOfRangeError         1  the log does not hold the stored position any more
    │   └── TopicRecreatedError       1  the log is not the one that the stored state was built from
    ├── RecordsLostError              1  the embedded broker dropped records before they were read
    ├── StateError                    3  base of what is wrong with stored state
    │   ├── StateCorruptError         3  damaged: checksum, truncation, missing rows
    │   ├── StateIncompatibleError    3  another codec, version, partition count or cluster
    │   ├── StateMissingError         3  Kafka knows newer state than the store has
    │   ├── StateConflictError        3  removed, or written by something else, while its owner ran
    │   └── FencedError               3  another owner has claimed the partition
    ├── BrokerError                   4  the broker cannot be reached or refuses
    │   └── TopicNotFoundError        4  a topic that is not there
    ├── StalledError                  1  a partition makes no progress, or the consumer is dead
    └── InternalError                 1  a promise of our own code is broken: a bug

Messages tell what happened, to what (topic, partition, offset, plugin, file) and what to do.
"""

from typing import ClassVar

__all__ = [
    "BrokerError",
    "CodecError",
    "DeserializationError",
    "FencedError",
    "FrameworkError",
    "InternalError",
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
    """Base of all; `exit_status` is what a command that ends with it returns."""

    exit_status: ClassVar[int] = 1


class UsageError(FrameworkError):
    """An option, configuration or input file that cannot be used."""

    exit_status = 2


class PluginError(UsageError):
    """A plugin that cannot be found, imported or used."""


class ProcessingError(FrameworkError):
    """A record could not be applied."""


class RecordError(ProcessingError):
    """A processor refused a record, or failed on it. Processors may raise it themselves."""


class DeserializationError(ProcessingError):
    """A record's key or value is not in the format that the processor reads."""


class TallyError(ProcessingError, TypeError):
    """`State.tally` got a key whose value is no number: a fault of the plugin, whatever the record."""


class OutputError(FrameworkError):
    """A record that a processor sent was refused or not acknowledged."""


class CodecError(FrameworkError):
    """A value cannot be turned into bytes, or bytes into a value, without loss."""


class StoreError(FrameworkError):
    """The store could not read or write: disk full, permissions, I/O error."""


class OffsetOutOfRangeError(FrameworkError):
    """The log does not hold the position that the stored state continues from."""


class TopicRecreatedError(OffsetOutOfRangeError):
    """The log is not the one that the stored state was built from: the topic was re-created, or its log truncated."""


class RecordsLostError(FrameworkError):
    """The embedded broker dropped records that were not read yet."""


class StateError(FrameworkError):
    """Base of what is wrong with stored state; what is stored stays as it was."""

    exit_status = 3


class StateCorruptError(StateError):
    """Stored state is damaged."""


class StateIncompatibleError(StateError):
    """Stored state belongs to another codec, version, partition count or cluster."""


class StateMissingError(StateError):
    """Kafka knows newer state of a partition than the store has."""


class StateConflictError(StateError):
    """What is stored is not what its owner stored last: it was removed, or something else wrote it."""


class FencedError(StateError):
    """Another owner has claimed the partition; this one's memory of it is void."""


class BrokerError(FrameworkError):
    """The broker cannot be reached, or refuses."""

    exit_status = 4


class TopicNotFoundError(BrokerError):
    """A topic that the broker does not have."""


class StalledError(FrameworkError):
    """A partition with records to read makes no progress, or the consumer is dead."""


class InternalError(FrameworkError):
    """A promise that framework's own code makes is broken. Please report it."""
