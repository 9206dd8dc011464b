"""Plugins that keep exactly-once state over Kafka topics.

Plugin authors import all names from this package, and test tools from `framework.testing`.
"""

from framework.codecs import Codec
from framework.durations import Duration
from framework.errors import (
    BrokerError,
    CodecError,
    DeserializationError,
    FencedError,
    FrameworkError,
    InternalError,
    LateRecordError,
    OffsetOutOfRangeError,
    OutputError,
    PluginError,
    ProcessingError,
    RecordError,
    RecordsLostError,
    StalledError,
    StateConflictError,
    StateCorruptError,
    StateError,
    StateIncompatibleError,
    StateMissingError,
    StoreError,
    TallyError,
    TopicNotFoundError,
    TopicRecreatedError,
    UsageError,
)
from framework.event_time import NO_EVENT_TIME
from framework.fields import FieldPath
from framework.formats import Format, FormatOptions
from framework.formats.json import JsonType
from framework.hookspecs import hookimpl
from framework.numbers import Number, NumberField, NumberKind, exact_sums
from framework.output import Output
from framework.processor import API_VERSION, Options, Processor
from framework.progress import Anchor, Progress
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.stores import (
    Accept,
    Changes,
    Checkpoint,
    Claim,
    Description,
    Outcome,
    Store,
    StoredTable,
    StoredUnit,
    StoreOptions,
    Unit,
)
from framework.timers import Timer, Timers

__all__ = [
    "API_VERSION",
    "NO_EVENT_TIME",
    "Accept",
    "Anchor",
    "Batch",
    "BrokerError",
    "Changes",
    "Checkpoint",
    "Claim",
    "Codec",
    "CodecError",
    "Description",
    "DeserializationError",
    "Duration",
    "FencedError",
    "FieldPath",
    "Format",
    "FormatOptions",
    "FrameworkError",
    "InternalError",
    "JsonType",
    "LateRecordError",
    "Number",
    "NumberField",
    "NumberKind",
    "OffsetOutOfRangeError",
    "Options",
    "Outcome",
    "Output",
    "OutputError",
    "PluginError",
    "ProcessingError",
    "Processor",
    "Progress",
    "Record",
    "RecordError",
    "RecordsLostError",
    "StalledError",
    "State",
    "StateConflictError",
    "StateCorruptError",
    "StateError",
    "StateIncompatibleError",
    "StateMissingError",
    "Store",
    "StoreError",
    "StoreOptions",
    "StoredTable",
    "StoredUnit",
    "TallyError",
    "Timer",
    "Timers",
    "TopicNotFoundError",
    "TopicPartition",
    "TopicRecreatedError",
    "Unit",
    "UsageError",
    "exact_sums",
    "hookimpl",
]
