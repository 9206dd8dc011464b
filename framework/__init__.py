"""Plugins that keep exactly-once state over Kafka topics.

Plugin authors import all names from this package, and test tools from `framework.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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
    from framework.reader import StoredState, read_state
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
    "StoredState",
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
    "read_state",
]

_NAMES: Final = {
    "codecs": ("Codec",),
    "durations": ("Duration",),
    "errors": (
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
    ),
    "event_time": ("NO_EVENT_TIME",),
    "fields": ("FieldPath",),
    "formats": (
        "Format",
        "FormatOptions",
    ),
    "formats.json": ("JsonType",),
    "hookspecs": ("hookimpl",),
    "numbers": (
        "Number",
        "NumberField",
        "NumberKind",
        "exact_sums",
    ),
    "output": ("Output",),
    "processor": (
        "API_VERSION",
        "Options",
        "Processor",
    ),
    "progress": (
        "Anchor",
        "Progress",
    ),
    "reader": ("StoredState", "read_state"),
    "records": (
        "Batch",
        "Record",
        "TopicPartition",
    ),
    "state": ("State",),
    "stores": (
        "Accept",
        "Changes",
        "Checkpoint",
        "Claim",
        "Description",
        "Outcome",
        "Store",
        "StoredTable",
        "StoredUnit",
        "StoreOptions",
        "Unit",
    ),
    "timers": (
        "Timer",
        "Timers",
    ),
}
"""The public names of each module. A module is imported when it is needed, so that `framework --help` is fast."""
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
