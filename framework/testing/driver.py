"""Drives a processor over records in memory, as the runtime does."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from framework.errors import UsageError
from framework.processor import Options, Processor
from framework.records import Record
from framework.testing.instance import Instance, Result, Stored, pieces, stretches, to_batch

__all__ = ["run_processor"]


def run_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    *,
    options: Options | Mapping[str, Any] | None = None,
    state: Mapping[Any, Any] | None = None,
    batches: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    until: int | None = None,
    out_of_order: int | None = None,
    idle: Mapping[int, int] | None = None,
) -> Result:
    """Apply `records` to a new instance of `processor`, and return the state and the outputs.

    `records`: pairs (key, value), which get the offsets 0, 1, … of partition 0 of the topic `test`; or `Record`s of one
    partition. Keys and values are given as they are after deserializing. `state`: the state before the first record.
    `batches`: the number of records that each `process_batch` gets; None runs `process` for one record after the other.
    `on_error`: as in `framework run`; with `stop`, an exception of the processor is raised here, except
    `LateRecordError`.

    The timestamps of the records are the event times. `until`: after the last record, the watermark goes on to this
    time, in milliseconds since the epoch, as if a record of that event time came. `idle`: the same after other records,
    by their offsets, as with `--idle-after`. `out_of_order`: as `--out-of-order`, in milliseconds; None: as the
    processor declares.

    An `async def process` is run to its end, so this function cannot be called where an event loop runs.

    Raises `framework.UsageError` for records that are not of one partition in offset order and for batches without
    records, and pydantic's `ValidationError` for bad options.
    """
    if batches is not None and batches < 1:
        raise UsageError(f"a batch has at least one record, not {batches}")
    batch = to_batch(records)
    with Instance(
        processor, batch.topic_partition, options, Stored(state or {}), out_of_order=out_of_order
    ) as instance:
        for stretch, time in stretches(batch, idle, until):
            for piece in pieces(stretch, batches or 1):
                instance.apply(piece, fast=batches is not None, skip=on_error == "skip")
            if time is not None:
                instance.step(time)
                instance.fire(skip=on_error == "skip")
        return instance.take_result()
