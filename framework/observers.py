"""Observers: hooks by which plugins are told what the runtime does. They change nothing."""

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
    """The observers of all registered plugins. Each attribute is a hook to call, with the arguments of its hookspec::

        observers.assigned(plugin="keycount", partition=partition, last_offset=-1, epoch=1)

    Plugins that are registered later are not called.
    """

    def __init__(self, manager: pluggy.PluginManager) -> None:
        """`manager`: with `framework.hookspecs` added, and all plugins registered."""
        self.assigned = Observer(manager, hookspecs.framework_assigned)
        self.released = Observer(manager, hookspecs.framework_released)
        self.checkpoint_saved = Observer(manager, hookspecs.framework_checkpoint_saved)
        self.records_failed = Observer(manager, hookspecs.framework_records_failed)
        self.gap = Observer(manager, hookspecs.framework_gap)


class Observer(Generic[P]):
    """One hook of all plugins that implement it, to be called with the arguments of its hookspec.

    Each plugin is called on its own, the last registered one first, as pluggy does it. Whatever one raises is logged
    with the plugin's and the hook's name, and with the traceback at debug level. The others are still called, and
    nothing is raised. Only `KeyboardInterrupt` is raised on. A call that awaits nothing cannot be cancelled or closed,
    so a `CancelledError` or `GeneratorExit` is the observer's own.
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
        log.error("observer %s of plugin %s failed: %s; nothing else changes", self._name, plugin, reason)
        if log.isEnabledFor(logging.DEBUG):
            # As a text: a formatter that makes it from the exception may fail on the exception's own `__str__`.
            log.debug("%s", "".join(traceback.format_exception(error)))
