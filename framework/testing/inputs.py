"""Records for checks: those of an input file, decoded as a run would decode them."""

import asyncio
from collections.abc import Iterable
from itertools import islice

from framework.codecs.json import JsonCodec
from framework.embedded.inputs import InputRecord
from framework.errors import DeserializationError
from framework.event_time import EventTimeChoice
from framework.plugins import ProcessorSpec, load
from framework.policy import ErrorPolicy
from framework.processor import Options
from framework.records import Batch, Record, TopicPartition
from framework.runtime.decoding import Decoder
from framework.runtime.definition import Definition
from framework.runtime.event_times import TimeSettings
from framework.runtime.formats import FormatChoice, Formats

__all__ = ["input_records"]

_TOPIC = TopicPartition("test", 0)
_MILLISECONDS = 1000


def input_records(
    spec: ProcessorSpec, options: Options, choice: FormatChoice, source: Iterable[InputRecord], most: int
) -> tuple[list[Record], list[DeserializationError]]:
    """Return the first `most` records of an input, decoded, as records of one partition a second apart.

    Also returns the errors of those that a format or the event time refuses: they never reach a processor. Raises
    `UsageError` and `PluginError` for formats that cannot be used or opened.
    """
    formats = Formats.of(spec.cls, options, choice, load([]).format)
    time = TimeSettings.of(spec.cls, options, EventTimeChoice(), formats.value, lambda: 0.0)
    definition = Definition(
        spec.name,
        spec.cls,
        options,
        JsonCodec(),
        formats,
        time,
        ErrorPolicy(on_error="skip"),
        keeps_rows=True,
        on_records_failed=lambda plugin, partition, errors: None,
    )
    return asyncio.run(_decoded(formats, Decoder(definition), _batch(list(islice(source, most)))))


async def _decoded(formats: Formats, decoder: Decoder, raw: Batch) -> tuple[list[Record], list[DeserializationError]]:
    try:
        await formats.open()
        while (missing := decoder.missing(raw)) is not None:
            await missing
        batch, refused = decoder.decode(raw)
    finally:
        await formats.close()
    left_out = {position for position, _ in refused}
    records = [record for position, record in enumerate(batch) if position not in left_out]
    return records, [error for _, error in refused]


def _batch(records: list[InputRecord]) -> Batch:
    offsets = list(range(len(records)))
    return Batch(
        _TOPIC,
        0,
        len(records),
        offsets,
        [offset * _MILLISECONDS for offset in offsets],
        [record.key for record in records],
        [record.value for record in records],
        [()] * len(records),
    )
