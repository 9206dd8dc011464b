"""Drives a processor over records in memory, as the runtime does."""

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from framework.errors import UsageError
from framework.output import Output, OutputRecord
from framework.processor import Options, Processor
from framework.records import Batch, Record, TopicPartition
from framework.state import State

__all__ = ["Driver", "Result", "pieces", "run_processor", "to_batch"]

PARTITION = TopicPartition("test", 0)


@dataclass(slots=True)
class Result:
    """What came of a run."""

    state: dict[Any, Any]
    outputs: list[OutputRecord]
    failed: dict[int, Exception] = field(default_factory=dict)
    """What each refused record raised, by its offset. Only with `on_error="skip"`."""


def run_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    *,
    options: Options | Mapping[str, Any] | None = None,
    state: Mapping[Any, Any] | None = None,
    batches: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
) -> Result:
    """Apply `records` to a new instance of `processor`, and give the state and the outputs.

    `records`: pairs (key, value), which get the offsets 0, 1, … of partition 0 of the topic `test`; or `Record`s of one
    partition. Keys and values are as after deserializing. `state`: what was there before. `batches`: how many records
    each `process_batch` gets; None runs `process` for one record after the other. `on_error`: as in `framework run`;
    with `stop`, what the processor raised comes out of here. An `async def process` is run to its end, so this cannot
    be called where an event loop runs.

    Raises `framework.UsageError` for records that are not of one partition in offset order and for batches without
    records, and pydantic's `ValidationError` for bad options.
    """
    if batches is not None and batches < 1:
        raise UsageError(f"a batch has at least one record, not {batches}")
    batch = to_batch(records)
    with Driver(processor, batch.source, options, state) as driver:
        for piece in pieces(batch, batches or 1):
            driver.apply(piece, fast=batches is not None, skip=on_error == "skip")
        return driver.take_result()


def to_batch(records: Iterable[Record | tuple[Any, Any]]) -> Batch:
    """All records as one batch. Raises `UsageError` where they cannot come from one partition."""
    made = [
        item if isinstance(item, Record) else Record(*PARTITION, offset, offset, *item)
        for offset, item in enumerate(records)
    ]
    source = TopicPartition(made[0].topic, made[0].partition) if made else PARTITION
    offsets = [record.offset for record in made]
    if any((record.topic, record.partition) != source for record in made) or offsets != sorted(set(offsets)):
        raise UsageError("the records for a processor must be of one partition, with rising offsets")
    return Batch(
        source,
        offsets[0] if offsets else 0,
        offsets[-1] + 1 if offsets else 0,
        offsets,
        [record.timestamp for record in made],
        [record.key for record in made],
        [record.value for record in made],
        [record.headers for record in made],
    )


def pieces(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in runs of `size` records; the last may be shorter."""
    for first in range(0, len(batch), size):
        yield batch.slice(first, min(first + size, len(batch)))


class Driver:
    """One instance of a processor with its state. A record that fails leaves no trace.

    A context manager: an `async def process` has one event loop, from its first record to the end of the block.
    """

    def __init__(
        self,
        processor: type[Processor],
        source: TopicPartition,
        options: Options | Mapping[str, Any] | None = None,
        state: Mapping[Any, Any] | None = None,
    ) -> None:
        made = options if isinstance(options, Options) else processor.Options(**(options or {}))
        self.processor = processor(made, source)
        self.state: State[Any, Any] = State(copy.deepcopy(dict(state or {})))
        self.needless: list[Exception] = []
        """What `process_batch` raised although every record of the batch could be applied."""
        self._output = Output(processor.name or processor.__name__.lower(), *source)
        self._failed: dict[int, Exception] = {}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._runner.close()

    def take_result(self) -> Result:
        """What came of it so far; the outputs are given once."""
        return Result(copy.deepcopy(dict(self.state.view())), self._output._take(), dict(self._failed))

    def apply(self, batch: Batch, *, fast: bool, skip: bool) -> None:
        """Apply a batch, through `process_batch` if `fast` and there is one; where that fails, record by record."""
        error: Exception | None = None
        if fast and _overrides(self.processor, "process_batch"):
            error = self._try_batch(batch, skip)
            if error is None:
                return
        failed = len(self._failed)
        for position in range(len(batch)):
            self._apply_record(batch.slice(position, position + 1), skip)
        if error and len(self._failed) == failed:
            self.needless.append(error)

    def _try_batch(self, batch: Batch, skip: bool) -> Exception | None:
        mark = self._output._mark()
        self.state.begin_undo()
        self._output._begin_batch(batch.offsets)
        try:
            self.processor.process_batch(batch, self.state, self._output)
            refused = self._output._take_refused()
            if refused and not skip:
                raise refused[min(refused)]
        except Exception as error:
            self._undo(mark)
            return error
        self._failed.update((batch.offsets[position], error) for position, error in sorted(refused.items()))
        self.state.end_undo()
        return None

    def _apply_record(self, batch: Batch, skip: bool) -> None:
        mark = self._output._mark()
        self.state.begin_undo()
        try:
            self._process(batch)
        except Exception as error:
            self._undo(mark)
            if not skip:
                raise
            self._failed[batch.offsets[0]] = error
        else:
            self.state.end_undo()

    def _process(self, batch: Batch) -> None:
        if not _overrides(self.processor, "process"):
            self._output._begin_batch(batch.offsets)
            self.processor.process_batch(batch, self.state, self._output)
            for error in self._output._take_refused().values():
                raise error
            return
        self._output._begin_record(batch.offsets[0])
        applied = self.processor.process(batch[0], self.state, self._output)
        if inspect.isawaitable(applied):
            self._runner.run(_wait(applied))

    def _undo(self, mark: int) -> None:
        self.state.undo()
        self._output._cut(mark)


async def _wait(applied: Awaitable[None]) -> None:
    await applied


def _overrides(processor: Processor, method: str) -> bool:
    return getattr(type(processor), method) is not getattr(Processor, method)
