"""Writers: they encode the keys and values of a plugin's outputs."""

from collections.abc import Mapping
from typing import Any, Protocol

from framework.borders import describe, is_plugin_failure, shown
from framework.errors import OutputError, UsageError
from framework.formats import Format, Part
from framework.output import Write, to_bytes

__all__ = ["MakeFormat", "Writers"]


class MakeFormat(Protocol):
    """As `Plugins.format`."""

    def __call__(
        self, declared: Any, part: Part, *, options: Mapping[str, Any] | None = None, topic: str | None = None
    ) -> Format: ...


class Writers:
    """Gives the function that encodes a key or a value, by the topic that it goes to."""

    def __init__(self, formats: Mapping[tuple[Part, str], Format], make: MakeFormat) -> None:
        """`formats`: those of topics that have a format of their own, which were opened."""
        self._formats = dict(formats)
        self._make = make
        self._made: dict[tuple[int, Part, str], tuple[Any, Write]] = {}

    def of(self, part: Part, topic: Any, declared: Any) -> Write:
        """The function for a key or a value that goes to this topic.

        `declared` is the format that the call of `send` names; None: the topic's, or else the usual one. Raises
        `OutputError` for a format that cannot be used.
        """
        if declared is None:
            form = self._formats.get((part, topic)) if isinstance(topic, str) else None
            return to_bytes if form is None else _writer(form)
        # By identity, as a type may be anything, also what cannot be hashed; the entry keeps it alive.
        known = self._made.get((id(declared), part, topic)) if isinstance(topic, str) else None
        if known is not None:
            return known[1]
        write = _writer(self._new(part, topic, declared))
        if isinstance(topic, str):
            self._made[id(declared), part, topic] = declared, write
        return write

    def _new(self, part: Part, topic: str, declared: Any) -> Format:
        try:
            form = self._make(declared, part, topic=topic)
        except UsageError as error:
            raise OutputError(f"{part}_format={shown(declared)}: {error}") from error
        if type(form).open is not Format.open:
            raise OutputError(
                f"{part}_format={shown(declared)}: this format must be opened before the run; name it in "
                "output_formats of the processor, or with --output-format"
            )
        return form


def _writer(form: Format) -> Write:
    def write(value: Any) -> bytes | None:
        if value is None:
            return None
        try:
            data = form.write(value)
        except NotImplementedError as error:
            raise OutputError(f"the format {form} can only be read") from error
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise OutputError(f"cannot send {shown(value)} as {form}: {describe(error)}") from error
        if type(data) is not bytes:
            raise OutputError(f"the format {form} has written {shown(data)}, not bytes")
        return data

    return write
