"""The options that choose formats, and what they choose."""

from collections.abc import Callable
from typing import Any, TypeVar

from framework.cli.options import MappingOption, framework_option
from framework.runtime.formats import FormatChoice

__all__ = ["format_choice", "format_options"]

F = TypeVar("F", bound=Callable[..., Any])


def format_options(command: F) -> F:
    """The options about formats. Arguments: those of `format_choice`."""
    for option in (
        framework_option(
            "--output-format-option",
            "output_format_options",
            cls=MappingOption,
            metavar="[TOPIC.]NAME=VALUE",
            help="Option of the formats of outputs, or of those to one topic. Repeatable.",
        ),
        framework_option(
            "--output-key-format",
            "output_key_formats",
            cls=MappingOption,
            metavar="TOPIC=NAME",
            help="Format of the keys that are sent to a topic. Repeatable.",
        ),
        framework_option(
            "--output-format",
            "output_formats",
            cls=MappingOption,
            metavar="TOPIC=NAME",
            help="Format of the values that are sent to a topic. By default, the plugin chooses it: bytes and text are "
            "sent as they are, and other values as JSON. Repeatable.",
        ),
        framework_option(
            "--value-format-option",
            "value_format_options",
            cls=MappingOption,
            help="Option of the format of the values, such as writer_schema=order.avsc. Repeatable.",
        ),
        framework_option(
            "--value-format",
            metavar="NAME",
            help="Format of the values, such as json, utf8 or avro. The default is the plugin's format. "
            "framework plugins formats lists all formats and their options.",
        ),
        framework_option(
            "--key-format-option",
            "key_format_options",
            cls=MappingOption,
            help="Option of the format of the keys. Repeatable.",
        ),
        framework_option(
            "--key-format",
            metavar="NAME",
            help="Format of the keys, such as utf8, int64 or uuid. The default is the plugin's format.",
        ),
    ):
        command = option(command)
    return command


def format_choice(given: dict[str, Any]) -> FormatChoice:
    """Takes the arguments about formats out of a command's arguments, and returns what they choose."""
    return FormatChoice(
        key=given.pop("key_format"),
        value=given.pop("value_format"),
        key_options=given.pop("key_format_options"),
        value_options=given.pop("value_format_options"),
        output_keys=given.pop("output_key_formats"),
        outputs=given.pop("output_formats"),
        output_options=given.pop("output_format_options"),
    )
