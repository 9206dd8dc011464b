"""The life of processors: made, opened, and always closed."""

import asyncio
import logging
from typing import Any

from framework.borders import describe, is_plugin_failure, located
from framework.errors import PluginError
from framework.processor import Processor
from framework.runtime.definition import Definition
from framework.stores import Unit

__all__ = ["Lifecycle"]

log = logging.getLogger("framework")


class Lifecycle:
    """Makes and opens the processors of a worker, and closes each one that was made, whatever happens."""

    def __init__(self) -> None:
        self._open: dict[Unit, Processor] = {}
        self._closing: dict[Unit, asyncio.Task[None]] = {}

    def make(self, unit: Unit, definition: Definition) -> Processor:
        """A new processor. Raises `PluginError` where its constructor fails."""
        try:
            return definition.processor(definition.options, unit.topic_partition)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise _unusable(unit, "could not be made", error) from error

    async def open(self, unit: Unit, processor: Processor) -> None:
        """Open a processor that is not open yet, after the one that the unit had before is closed.

        Raises `PluginError` where it fails; the processor is then to be retired.
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
        """Close a processor in the background: nobody uses it any more."""
        if self._open.get(unit) is processor:
            del self._open[unit]
        if type(processor).close is Processor.close:
            return
        closing = asyncio.get_running_loop().create_task(self._close(unit, processor, self._closing.get(unit)))
        self._closing[unit] = closing
        closing.add_done_callback(lambda done: self._closed(unit, done))

    async def finish(self) -> None:
        """Wait until all that was retired is closed."""
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
        "applied, what is stored is as it was"
    )
