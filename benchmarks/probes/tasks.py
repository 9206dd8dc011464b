"""Partition tasks of keycount, without a worker."""

from time import monotonic
from typing import Final

from framework_keycount import KeyCount

from framework.formats import format_named
from framework.plugins import load
from framework.runtime.applier import Definition
from framework.runtime.policy import ErrorPolicy
from framework.runtime.task import PartitionTask
from framework.stores import Description, Unit

__all__ = ["GROUP", "PARTITIONS", "PLUGIN", "TOPIC", "keycount_tasks"]

PARTITIONS: Final = 4
GROUP: Final = "benchmark"
PLUGIN: Final = "keycount"
TOPIC: Final = "topic"


def keycount_tasks(codec: str) -> list[PartitionTask]:
    """One for each partition, for a store that keeps rows."""
    definition = Definition(
        name=PLUGIN,
        processor=KeyCount,
        options=None,
        codec=load([]).codec(codec)(),
        key_format=format_named(KeyCount.key_format),
        value_format=format_named(KeyCount.value_format),
        on_error=ErrorPolicy("stop"),
        keeps_rows=True,
        on_records_failed=lambda *_: None,
    )
    description = Description(codec, KeyCount.state_version, PARTITIONS, None)
    units = [Unit(GROUP, PLUGIN, TOPIC, partition) for partition in range(PARTITIONS)]
    return [PartitionTask(unit, definition, description, monotonic) for unit in units]
