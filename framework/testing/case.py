"""A case to check: a processor with its options and its records, and runs over them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from framework.borders import describe, is_plugin_failure
from framework.errors import FrameworkError, UsageError
from framework.processor import Options, Processor
from framework.records import Record
from framework.testing.instance import Instance, Result, Stored, pieces, stretches, to_batch

__all__ = ["Case"]

_RESTARTS = 32


class Case:
    """A processor with its options, and the records that it is checked with; see `run_processor` for the arguments."""

    def __init__(
        self,
        processor: type[Processor],
        records: Iterable[Record | tuple[Any, Any]],
        options: Options | Mapping[str, Any] | None = None,
        *,
        until: int | None = None,
        out_of_order: int | None = None,
        idle: Mapping[int, int] | None = None,
    ) -> None:
        self.processor = processor
        self.options = options if isinstance(options, Options) else processor.Options(**(options or {}))
        self.batch = to_batch(records)
        self.until = until
        self.out_of_order = out_of_order
        self.idle = idle
        self._parts = list(stretches(self.batch, idle, until))

    @cached_property
    def reference(self) -> Result:
        """The result of one run of `process`. Raises `UsageError` if all records are refused."""
        result = self.run(1, fast=False)
        if len(result.failed) == len(self.batch):
            reasons = "".join(f", the first with {describe(error)}" for error in [*result.failed.values()][:1])
            raise UsageError(
                f"the processor refuses each of the {len(self.batch)} records{reasons}; nothing can be checked"
            )
        return result

    @contextmanager
    def opened(self, stored: Stored | None = None) -> Iterator[Instance]:
        """An instance of the processor, which continues from what is stored. Raises `AssertionError` if it cannot."""
        with _named("the constructor"):
            instance = Instance(
                self.processor, self.batch.topic_partition, self.options, stored, out_of_order=self.out_of_order
            )
        with _named("open"):
            instance.open()
        try:
            yield instance
        finally:
            with _named("close"):
                instance.close()

    def run(self, size: int, *, fast: bool) -> Result:
        """The result of a run in batches of this size: by `process_batch` if `fast` is true, else by `process`."""
        with self.opened() as instance:
            for batch, time in self._parts:
                for piece in pieces(batch, size):
                    instance.apply(piece, fast=fast, skip=True)
                    if instance.needless:
                        raise AssertionError(
                            f"process_batch fails at offsets {piece.start} to {piece.end - 1} with "
                            f"{instance.needless[0]!r}, but process accepts each of these records"
                        )
                if time is not None:
                    instance.step(time)
                    instance.fire(skip=True)
            return instance.take_result()

    def steps(self, instance: Callable[[], Instance]) -> Iterator[str]:
        """Apply one record, or let one timer fire, at a time, and yield where this is. The instance may change."""
        for batch, time in self._parts:
            for record in pieces(batch, 1):
                instance().apply(record, fast=False, skip=True, fire=False)
                yield from _fired(instance, f"offset {record.offsets[0]}")
            if time is not None:
                instance().step(time)
                yield from _fired(instance, f"event time {time} before offset {batch.end}")

    @property
    def restart_after(self) -> int:
        """The number of steps from one restart to the next: two or more, so that a step sees what one before left."""
        return max(2, len(self.batch) // _RESTARTS)


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Report an error as that of `method`, which every start of a worker and every load of a state calls."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, FrameworkError) or not is_plugin_failure(error):
            raise
        raise AssertionError(f"{method} fails with {describe(error)}") from error


def _fired(instance: Callable[[], Instance], at: str) -> Iterator[str]:
    yield at
    fired = 0
    while instance().is_due:
        instance().fire(skip=True, most=1)
        fired += 1
        yield f"{at}, after {fired} timers"
