"""Observers: hooks that tell plugins about events in the runtime. They cannot influence it."""

import inspect
import logging
import traceback
from collections.abc import Callable
from typing import Generic, ParamSpec

import pluggy

from framework import hookspecs
from framework.borders import describe, located

__all__ = ["Observer", "Observers"]

log = logging.getLogger("framework")

P = ParamSpec("P")


class Observers:
    """The observers of all registered plugins. Each attribute is a hook; call it with the arguments of its hookspec::

        observers.assigned(plugin="keycount", partition=partition, last_offset=-1, epoch=1)

    Plugins that are registered after this object was made are not called.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        """`manager` must have `framework.hookspecs` added, and all plugins registered."""
        self.assigned = Observer(manager, hookspecs.framework_assigned)
        self.released = Observer(manager, hookspecs.framework_released)
        self.checkpoint_saved = Observer(manager, hookspecs.framework_checkpoint_saved)
        self.records_failed = Observer(manager, hookspecs.framework_records_failed)
        self.records_late = Observer(manager, hookspecs.framework_records_late)
        self.gap = Observer(manager, hookspecs.framework_gap)


class Observer(Generic[P]):
    """One hook of all plugins that implement it. Call it with the arguments of its hookspec.

    Plugins are called one after the other, the last registered one first, as in pluggy. An exception of one plugin is
    logged with the names of the plugin and the hook, and with the traceback at debug level. The other plugins are still
    called. Only `KeyboardInterrupt` is passed on. A `CancelledError` or `GeneratorExit` is logged like any other
    exception, because it can only come from the plugin: the call awaits nothing.
    """

    def __init__(self, manager: pluggy.PluginManager, spec: Callable[P, None]) -> None:
        self._name = spec.__name__
        self._signature = inspect.signature(spec)
        plugins = manager.get_plugins()
        self._calls = [
            (implementation.plugin_name, manager.subset_hook_caller(self._name, plugins - {implementation.plugin}))
            for implementation in reversed(getattr(manager.hook, self._name).get_hookimpls())
        ]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        if not self._calls:
            return
        arguments = self._signature.bind(*args, **kwargs).arguments
        for plugin, call in self._calls:
            try:
                call(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._tell(plugin, error)

    def _tell(self, plugin: str, error: BaseException) -> None:
        reason = located(describe(error), error)
        log.error("observer %s of plugin %s failed: %s; the run goes on", self._name, plugin, reason)
        if log.isEnabledFor(logging.DEBUG):
            # Formatted here, because a logging formatter may fail on the `__str__` of the exception.
            log.debug("%s", "".join(traceback.format_exception(error)))
