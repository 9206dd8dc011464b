"""Partition tasks of keycount, without a worker."""

from time import monotonic, time
from typing import Final

from framework_keycount import KeyCount, KeyCountOptions

from framework.event_time import EventTimeChoice
from framework.plugins import load
from framework.policy import ErrorPolicy
from framework.records import TopicPartition
from framework.runtime.assignment import Assignment
from framework.runtime.definition import Definition
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.lifecycle import Lifecycle
from framework.runtime.limits import Limits

__all__ = ["GROUP", "PARTITIONS", "PLUGIN", "TOPIC", "keycount_assignment"]

PARTITIONS: Final = 4
GROUP: Final = "benchmark"
PLUGIN: Final = "keycount"
TOPIC: Final = "topic"


def keycount_assignment(codec: str) -> Assignment:
    """A task for each partition, for a store that keeps rows."""
    options = KeyCountOptions()
    formats = Formats.of(KeyCount, options, FormatChoice(), load([]).format)
    definition = Definition(
        name=PLUGIN,
        processor=KeyCount,
        options=options,
        codec=load([]).codec(codec)(),
        formats=formats,
        time=TimeSettings.of(KeyCount, options, EventTimeChoice(), formats.value, time),
        on_error=ErrorPolicy("stop"),
        keeps_rows=True,
        on_records_failed=lambda *_: None,
    )
    assignment = Assignment(GROUP, None, [definition], Lifecycle(), clock=monotonic, limits=Limits())
    assignment.take_up({TopicPartition(TOPIC, partition): PARTITIONS for partition in range(PARTITIONS)})
    return assignment
