"""Decoding: turns the keys and values of fetched batches from bytes into the formats that a processor reads."""

from bisect import bisect_left
from collections.abc import Awaitable, Sequence
from typing import Any

from framework.borders import describe, is_plugin_failure, located, message_of
from framework.errors import DeserializationError, PluginError
from framework.formats import Format
from framework.records import Batch
from framework.runtime.definition import Definition

__all__ = ["Decoder"]

_Refused = Sequence[tuple[int, DeserializationError]]


class Decoder:
    """Decodes whole columns in a processor's formats."""

    def __init__(self, definition: Definition) -> None:
        self._columns = [
            ("value", "values", definition.formats.value),
            ("key", "keys", definition.formats.key),
        ]
        self._mutable = [(name, form) for _, name, form in self._columns if form.is_mutable]
        self._asked = [(name, form) for _, name, form in self._columns if type(form).missing is not Format.missing]
        self._times = definition.time.event_times
        self._advises = definition.on_error.on_error == "stop"

    def missing(self, raw: Batch) -> Awaitable[None] | None:
        """What the formats have to get before they can decode the batch, such as schemas; None for nothing.

        Raises `PluginError` if a format fails.
        """
        for name, form in self._asked:
            try:
                missing = form.missing(getattr(raw, name))
            except BaseException as error:
                if not is_plugin_failure(error):
                    raise
                raise PluginError(f"format {form}: missing failed: {located(describe(error), error)}") from error
            if missing is not None:
                return missing
        return None

    def decode(self, raw: Batch) -> tuple[Batch, _Refused]:
        """Returns the batch with decoded columns, and the position and error of each record that is not decodable.

        The timestamps are the event times.
        """
        columns: dict[str, Sequence[Any]] = {}
        refused: dict[int, DeserializationError] = {}
        for part, name, form in self._columns:
            if form.reads_anything:
                continue
            columns[name], bad = _read_column(raw, name, form)
            refused |= {index: self._error(raw, index, part, form, error) for index, error in bad.items()}
        if not self._times.reads_timestamps_alone:
            columns["timestamps"], without = self._times.read(raw, columns.get("values", raw.values), refused)
            refused |= {index: self._time_error(raw, index, error) for index, error in without.items()}
        return raw.with_columns(**columns), sorted(refused.items())

    def decode_again(self, piece: Batch, count: int, raw: Batch) -> Batch:
        """Decode the first `count` records of `piece` again from `raw`, which has them as bytes.

        A failed attempt may have changed their keys and values in place.
        """
        if not self._mutable:
            return piece
        count = min(count, len(piece))
        first = bisect_left(raw.offsets, piece.offsets[0])
        columns = {
            name: [*form.read_column(getattr(raw, name)[first : first + count]), *getattr(piece, name)[count:]]
            for name, form in self._mutable
        }
        return piece.with_columns(**columns)

    def _time_error(self, raw: Batch, index: int, error: BaseException) -> DeserializationError:
        text = f"{raw.topic_partition} offset {raw.offsets[index]}: the event time cannot be read: {_reason(error)}"
        if self._advises:
            text += "; set --event-time, or --on-error to go on without such records"
        return DeserializationError(text)

    def _error(self, raw: Batch, index: int, part: str, form: Format, error: BaseException) -> DeserializationError:
        text = f"{raw.topic_partition} offset {raw.offsets[index]}: the {part} is not {form}: {_reason(error)}"
        if self._advises:
            text += f"; set --{part}-format, or --on-error to go on without such records"
        return DeserializationError(text)


def _read_column(raw: Batch, name: str, form: Format) -> tuple[Sequence[Any], dict[int, BaseException]]:
    """Decode a whole column at once, or value by value if that fails. Returns the values, and errors by index."""
    try:
        if name == "keys" and form.reads_text:
            return raw.key_texts(), {}
        return form.read_column(getattr(raw, name)), {}
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        return _read_one_by_one(getattr(raw, name), form)


def _read_one_by_one(column: Sequence[bytes | None], form: Format) -> tuple[Sequence[Any], dict[int, BaseException]]:
    values: list[Any] = []
    bad: dict[int, BaseException] = {}
    read = form.read
    for index, data in enumerate(column):
        try:
            values.append(None if data is None else read(data))
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            bad[index] = error
            values.append(None)
    return values, bad


def _reason(error: BaseException) -> str:
    return message_of(error) if isinstance(error, ValueError) else describe(error)
