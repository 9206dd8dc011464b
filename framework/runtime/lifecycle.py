"""The lifecycle of processors: they are made, opened, and always closed."""

import asyncio
import logging
from typing import Any

from framework.borders import describe, is_plugin_failure, located
from framework.errors import PluginError
from framework.processor import Processor
from framework.runtime.definition import Definition
from framework.stores import Unit
from framework.timers import Timers

__all__ = ["Lifecycle"]

log = logging.getLogger("framework")


class Lifecycle:
    """Makes and opens the processors of a worker, and closes each one of them, also after errors."""

    def __init__(self) -> None:
        self._open: dict[Unit, Processor] = {}
        self._closing: dict[Unit, asyncio.Task[None]] = {}

    def make(self, unit: Unit, definition: Definition, timers: Timers, event_time: int) -> Processor:
        """Returns a new processor with its timers and its watermark. Raises `PluginError` if its constructor fails."""
        try:
            processor = definition.processor(definition.options, unit.topic_partition)
            processor.timers, processor.event_time = timers, event_time
            return processor
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise _unusable(unit, "could not be made", error) from error

    async def open(self, unit: Unit, processor: Processor) -> None:
        """Open a processor, unless it is open. The unit's previous processor is closed first.

        Raises `PluginError` if `Processor.open` fails. The caller must then `retire` the processor.
        """
        if self._open.get(unit) is processor:
            return
        if (closing := self._closing.get(unit)) is not None:
            await asyncio.wait([closing])
        try:
            await processor.open()
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise _unusable(unit, "could not be opened", error) from error
        self._open[unit] = processor

    def retire(self, unit: Unit, processor: Processor) -> None:
        """Close a processor that is no longer used, in the background."""
        if self._open.get(unit) is processor:
            del self._open[unit]
        if type(processor).close is Processor.close:
            return
        closing = asyncio.get_running_loop().create_task(self._close(unit, processor, self._closing.get(unit)))
        self._closing[unit] = closing
        closing.add_done_callback(lambda done: self._closed(unit, done))

    async def finish(self) -> None:
        """Wait until all retired processors are closed."""
        while self._closing:
            await asyncio.wait(list(self._closing.values()))

    async def _close(self, unit: Unit, processor: Processor, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await processor.close()
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            reason = located(describe(error), error)
            log.error("plugin %s on %s failed to close: %s", unit.plugin, unit.topic_partition, reason)
            log.debug("the traceback:", exc_info=error)

    def _closed(self, unit: Unit, done: "asyncio.Task[Any]") -> None:
        if self._closing.get(unit) is done:
            del self._closing[unit]


def _unusable(unit: Unit, what: str, error: BaseException) -> PluginError:
    return PluginError(
        f"plugin {unit.plugin} on {unit.topic_partition} {what}: {located(describe(error), error)}; no record was "
        "applied, and the stored state is unchanged"
    )
