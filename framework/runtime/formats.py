"""The formats of one processor: chosen from what it declares and what the user says, opened, and closed."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from framework.borders import describe, is_plugin_failure, located
from framework.errors import PluginError, UsageError
from framework.formats import Format, Part
from framework.processor import Processor
from framework.runtime.declarations import declared
from framework.runtime.writers import MakeFormat, Writers

__all__ = ["FormatChoice", "Formats", "output_formats"]

log = logging.getLogger("framework")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatChoice:
    """The formats that the user chose by name, for all processors. Options are values, or texts of them, by name."""

    key: str | None = None
    """None: the format that each processor declares."""
    value: str | None = None
    key_options: Mapping[str, Any] = field(default_factory=dict)
    value_options: Mapping[str, Any] = field(default_factory=dict)
    output_keys: Mapping[str, str] = field(default_factory=dict)
    """By topic."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Those of values that are sent, by topic."""
    output_options: Mapping[str, Any] = field(default_factory=dict)
    """Those of keys and values that are sent: by `NAME` for all topics, or by `TOPIC.NAME`."""


class Formats:
    """The formats of a processor. All units of a run share them."""

    def __init__(
        self, key: Format, value: Format, outputs: Mapping[tuple[Part, str], Format], writers: Writers
    ) -> None:
        self.key = key
        self.value = value
        self.writers = writers
        self._all = [key, value, *outputs.values()]

    @classmethod
    def of(cls, processor: type[Processor], options: Any, choice: FormatChoice, make: MakeFormat) -> "Formats":
        """Raises `UsageError` for formats and options that cannot be used, and `PluginError` if one cannot be made."""
        key = make(choice.key or processor.key_format, "key", options=choice.key_options)
        values = choice.value or declared(processor, "value_format_of", options)
        value = make(values, "value", options=choice.value_options)
        outputs = output_formats(processor, choice, make)
        return cls(key, value, outputs, Writers(outputs, make))

    async def open(self) -> None:
        """Open the formats. Raises `PluginError`, or the `UsageError` of a format, if one cannot be opened."""
        for form in self._all:
            try:
                await form.open()
            except UsageError:
                raise
            except BaseException as error:
                if not is_plugin_failure(error):
                    raise
                raise PluginError(
                    f"the format {form} could not be opened: {located(describe(error), error)}"
                ) from error

    async def close(self) -> None:
        """Close all formats, also those that were not opened. A failure is logged."""
        for form in self._all:
            try:
                await form.close()
            except BaseException as error:
                if not is_plugin_failure(error):
                    raise
                log.error("the format %s failed to close: %s", form, located(describe(error), error))


def output_formats(
    processor: type[Processor], choice: FormatChoice, make: MakeFormat
) -> Mapping[tuple[Part, str], Format]:
    """The formats of outputs that are chosen by topic. Raises as `Formats.of` does."""
    declared: dict[tuple[Part, str], Any] = {
        **{("value", topic): each for topic, each in {**processor.output_formats, **choice.outputs}.items()},
        **{("key", topic): each for topic, each in choice.output_keys.items()},
    }
    options = _by_topic(choice.output_options, {topic for _, topic in declared})
    return {
        (part, topic): make(each, part, options=options[topic], topic=topic) for (part, topic), each in declared.items()
    }


def _by_topic(given: Mapping[str, Any], topics: Collection[str]) -> dict[str, dict[str, Any]]:
    """The options of each topic's formats, from `NAME` for all topics and `TOPIC.NAME`, which wins, for one."""
    options: dict[str, dict[str, Any]] = {topic: {} for topic in topics}
    for name, value in sorted(given.items(), key=lambda item: "." in item[0]):
        topic, _, option = name.rpartition(".")  # options have no dots, topics may
        if topic not in options and (topic or not topics):
            raise UsageError(f"--output-format-option {name}: no --output-format names the topic")
        for each in [topic] if topic else topics:
            options[each][option] = value
    return options
