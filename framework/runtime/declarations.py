"""Declarations: what a processor class says of itself, where that depends on the options."""

from typing import Any

from framework.borders import describe, is_plugin_failure, located
from framework.errors import PluginError, UsageError
from framework.processor import Processor

__all__ = ["declared", "state_definition"]


def declared(processor: type[Processor], method: str, options: Any) -> Any:
    """Returns what this class method says for these options.

    Raises `PluginError` if it fails. A `UsageError` of it is raised on: then the options are at fault.
    """
    try:
        return getattr(processor, method)(options)
    except UsageError:
        raise
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise PluginError(f"{processor.__name__}.{method} failed: {located(describe(error), error)}") from error


def state_definition(processor: type[Processor], options: Any) -> str:
    """As `Processor.state_definition`. Raises as `declared`, and `PluginError` if it is no str."""
    text = declared(processor, "state_definition", options)
    if not isinstance(text, str):
        raise PluginError(f"{processor.__name__}.state_definition returned a {type(text).__name__}; return a str")
    return str.__str__(text)
