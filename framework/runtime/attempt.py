"""Attempts: apply either all of some records, or none of them; and let a timer fire, or leave no trace of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from framework.borders import describe, is_plugin_failure, message_of
from framework.errors import InternalError, TallyError
from framework.processor import Processor
from framework.records import Batch, Record
from framework.runtime.outbox import Outbox
from framework.runtime.timers import UnitTimers
from framework.table import Table
from framework.timers import Timer

__all__ = ["Attempt", "OnRefused"]

OnRefused = Callable[[Mapping[int, Exception]], BaseException | None]
"""Handles the records that `process_batch` refused, by position. Returns an error to let the whole batch fail."""


class Attempt:
    """Applies records and timers through one processor to one table, its timers and one outbox, with undo."""

    def __init__(self, processor: Processor, table: Table[Any, Any], timers: UnitTimers, outbox: Outbox) -> None:
        self._processor = processor
        self._table = table
        self._timers = timers
        self._outbox = outbox

    async def records(self, records: Sequence[Record]) -> tuple[int, BaseException | None]:
        """Apply all of these records through `process`, or none.

        Returns the number of records before the one that failed, and its error; the number of all records and None if
        none failed. Raises as `check_state` does.
        """
        process, table, outbox = self._processor.process, self._table, self._outbox
        mark = self._begin()
        outbox.begin_records()
        for position, record in enumerate(records):
            outbox.record = record
            try:
                result = process(record, table, outbox)
                if result is not None:
                    await result
            except BaseException as error:
                if not is_plugin_failure(error):
                    raise
                return position, self._undo(mark, error)
        self._keep()
        return len(records), None

    def batch(self, batch: Batch, on_refused: OnRefused) -> tuple[int, BaseException | None]:
        """Apply all of these records through `process_batch`, or none.

        Returns an estimate of the number of records that were applied before the failure, and the error; 0 and None if
        nothing failed. Raises as `check_state` does.
        """
        table, outbox = self._table, self._outbox
        mark = self._begin()
        outbox.begin_batch(batch.offsets)
        try:
            self._processor.process_batch(batch, table, outbox)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            got_through = table.touched
            return got_through, self._undo(mark, error)
        refused = outbox.take_refused()
        if refused:
            refusal = on_refused(refused)
            if refusal is not None:
                return 0, self._undo(mark, refusal)
        self._keep()
        return 0, None

    async def timer(self, offset: int, *, wall: bool) -> tuple[Timer, BaseException | None]:
        """Let the next timer fire; there must be one. `offset`: that of the last applied record.

        Returns the timer, and the error if it failed. A timer that failed is set as before. Raises as `check_state`.
        """
        mark = self._begin()
        timer = self._timers.take(wall=wall)
        self._outbox.begin_timer(offset, self._timers.fired)
        try:
            result = self._processor.on_timer(timer, self._table, self._outbox)
            if result is not None:
                await result
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            return timer, self._undo(mark, error)
        self._keep()
        return timer, None

    def split(self, timer: Timer) -> bool:
        """Replace a timer that failed by those of `Processor.split_timer`. Returns whether there are any.

        If the processor fails at that, there are none. Raises as `check_state`.
        """
        mark = self._begin()
        try:
            keys = list(self._processor.split_timer(timer, self._table))
            self._timers.replace(timer, keys)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            self._undo(mark, error)
            return False
        self._keep()
        return bool(keys)

    def _begin(self) -> int:
        self._table.begin_undo()
        self._timers.begin_undo()
        return self._outbox.mark()

    def _keep(self) -> None:
        self._table.end_undo()
        self._timers.end_undo()

    def _undo(self, mark: int, error: BaseException) -> BaseException:
        self._table.undo()
        self._timers.undo()
        self._outbox.cut(mark)
        self.check_state(error)
        return error

    def check_state(self, error: BaseException) -> None:
        """Raises `TallyError` or `InternalError` if a table is broken, so that the record at hand is not at fault."""
        broken = self._table.broken or self._timers.table.broken
        if isinstance(broken, TallyError):
            raise TallyError(message_of(broken)) from error
        if broken is not None:
            raise InternalError(f"a change to the state was interrupted: {describe(broken)}") from error
