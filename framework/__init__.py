"""Plugins that keep exactly-once state over Kafka topics. What a plugin author imports is here."""

from framework.codecs import Codec
from framework.errors import (
    BrokerError,
    CodecError,
    DeserializationError,
    FencedError,
    FrameworkError,
    InternalError,
    OffsetOutOfRangeError,
    OutputError,
    PluginError,
    ProcessingError,
    RecordError,
    RecordsLostError,
    StalledError,
    StateCorruptError,
    StateError,
    StateIncompatibleError,
    StoreError,
    TallyError,
    TopicNotFoundError,
    TopicRecreatedError,
    UsageError,
)
from framework.hookspecs import hookimpl
from framework.output import Output
from framework.processor import API_VERSION, Options, Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State
from framework.stores import Anchor, Checkpoint, Claim, Description, Store, StoredUnit, Unit

__all__ = [
    "API_VERSION",
    "Anchor",
    "Batch",
    "BrokerError",
    "Checkpoint",
    "Claim",
    "Codec",
    "CodecError",
    "Description",
    "DeserializationError",
    "FencedError",
    "FrameworkError",
    "InternalError",
    "OffsetOutOfRangeError",
    "Options",
    "Output",
    "OutputError",
    "PluginError",
    "ProcessingError",
    "Processor",
    "Record",
    "RecordError",
    "RecordsLostError",
    "StalledError",
    "State",
    "StateCorruptError",
    "StateError",
    "StateIncompatibleError",
    "Store",
    "StoreError",
    "StoredUnit",
    "TallyError",
    "TopicNotFoundError",
    "TopicPartition",
    "TopicRecreatedError",
    "Unit",
    "UsageError",
    "hookimpl",
]
