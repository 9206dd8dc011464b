"""Definition: the processor and its settings, which all tasks of a plugin share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framework.codecs import Codec
from framework.errors import ProcessingError
from framework.policy import ErrorPolicy
from framework.processor import Processor
from framework.records import TopicPartition
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import Formats

__all__ = ["Definition"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A processor class with the settings that the user chose for it."""

    name: str
    processor: type[Processor]
    options: Any
    codec: Codec
    formats: Formats
    time: TimeSettings
    on_error: ErrorPolicy
    keeps_rows: bool
    """As `Store.keeps_rows`."""
    on_records_failed: Callable[[str, TopicPartition, Mapping[int, ProcessingError]], None]
    """Called with the plugin's name, the partition, and the errors of records that failed for good, by offset. Called
    at most once for each batch, and once more for each timer that fails. Raises nothing."""
    on_records_late: Callable[[str, TopicPartition, Sequence[int]], None] = lambda plugin, partition, offsets: None
    """Called with the plugin's name, the partition, and the offsets of late records, at most once for each batch.
    Raises nothing."""
    state_definition: str = ""
    """As `Processor.state_definition`."""
