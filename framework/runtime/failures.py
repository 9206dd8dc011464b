"""Failures: what becomes of a record that cannot be applied, and of a timer that fails."""

import logging
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from framework.borders import describe, located, message_of, shown
from framework.dead_letters import to_dead_letter
from framework.errors import LateRecordError, OutputError, ProcessingError, RecordError
from framework.event_time import time_text
from framework.records import Batch, Record
from framework.runtime.definition import Definition
from framework.runtime.outbox import Outbox
from framework.stores import Unit
from framework.timers import Timer

__all__ = ["Failures", "Refusal", "Retry"]

log = logging.getLogger("framework")


class Retry(Exception):  # noqa: N818 - a step of the task's life, not an error
    """A record failed and left no trace; read on from the task's position at the time `at` of the task's clock."""

    def __init__(self, at: float) -> None:
        super().__init__(at)
        self.at = at


class Refusal(Exception):  # noqa: N818 - only this module raises it, so nobody else can end a run in order
    """A record failed for good and left no trace, and the policy is to stop with `error`."""

    def __init__(self, error: ProcessingError) -> None:
        super().__init__(error)
        self.error = error


class Failures:
    """Follows the error policy for the records and the timers of one task."""

    def __init__(self, unit: Unit, definition: Definition, outbox: Outbox, clock: Callable[[], float]) -> None:
        self.skipped = 0
        """Records that were not applied, because they failed for good."""
        self.late = 0
        """Records that were not applied, because they came too late."""
        self.timers = 0
        """Timers that were skipped, because they failed for good."""
        self._unit = unit
        self._definition = definition
        self._outbox = outbox
        self._clock = clock
        self._errors: dict[int, ProcessingError] = {}
        self._late_offsets: list[int] = []
        self._failing: int | Timer = -1
        """Offset of the record that failed last, or the timer."""
        self._tries = 0
        self._retry_at = -math.inf

    @property
    def left_out(self) -> int:
        """Records that were not applied."""
        return self.skipped + self.late

    def to_handle_alone(self, refused: Mapping[int, Exception]) -> Exception | None:
        """The first error of records that `process_batch` refused, by position, if each must be handled alone."""
        policy = self._definition.on_error
        if policy.on_error != "stop" and not policy.retries:
            return None
        return next((refused[at] for at in sorted(refused) if not isinstance(refused[at], LateRecordError)), None)

    @property
    def is_waiting(self) -> bool:
        """Whether it is not yet time to try a record again."""
        return self._clock() < self._retry_at

    def check_waiting(self) -> None:
        """Raises `Retry` where it is not yet time to try a record again."""
        if self.is_waiting:
            raise Retry(self._retry_at)

    def failed_last_at(self, offset: int) -> bool:
        """Whether the record at this offset is the one that failed last."""
        return offset == self._failing

    def fail(self, raw: Batch, offset: int, key: Any, error: BaseException) -> None:
        """A record failed: have it tried again later, or do with it what the policy says.

        `raw` has the record as bytes. Raises `Retry` or `Refusal`; where it returns, the record is skipped.
        """
        if not isinstance(error, LateRecordError):
            self._try_again(offset, f"offset {offset}", error)
        self.leave_out(raw, offset, key, error)

    def leave_out(self, raw: Batch, offset: int, key: Any, error: BaseException) -> None:
        """A record failed for good or is late: do with it what the policy says.

        Raises `Refusal`; where it returns, the record is skipped.
        """
        if isinstance(error, LateRecordError):
            self._leave_late(raw, offset, error)
        else:
            self.refuse(raw, offset, self._record_error(offset, key, error), error)

    def _leave_late(self, raw: Batch, offset: int, error: LateRecordError) -> None:
        topic = self._definition.on_error.late_topic
        if topic is not None:
            self._outbox.add(to_dead_letter(topic, _record_at(raw, offset), self._unit.plugin, error))
        self._late_offsets.append(offset)
        self.late += 1

    def fail_timer(self, timer: Timer, offset: int, error: BaseException) -> None:
        """A timer failed after the record at `offset`, and was undone: try it again later, or do as the policy says.

        Raises `Retry` or `Refusal`. If it returns, the timer is to be skipped.
        """
        name = f"timer {timer.name!r}" if timer.name else "the timer"
        place = f"{name} of key {shown(timer.key)} at {time_text(timer.time)}"
        self._try_again(timer, place, error)
        policy = self._definition.on_error
        message = (
            f"plugin {self._unit.plugin} failed on {place}, {self._unit.topic_partition} after offset {offset}: "
            f"{located(_text_of(error), error)}"
        )
        if policy.on_error == "stop":
            message += "; the run stops before this timer, and a restart tries it again"
        if offset in self._errors:  # of the record, or of another timer
            self.report()
        self._errors[offset] = refusal = RecordError(message)
        refusal.__cause__ = error
        if policy.on_error == "stop":
            raise Refusal(refusal) from error
        self.timers += 1

    def _try_again(self, failing: int | Timer, place: str, error: BaseException) -> None:
        """Raises `Retry` if the policy has another retry for this record or timer."""
        self._tries = self._tries + 1 if failing == self._failing else 1
        self._failing = failing
        wait = self._definition.on_error.wait_after(self._tries)
        if wait is not None:
            self._retry_at = self._clock() + wait
            reason = located(describe(error), error)
            where = f"{self._unit.plugin} on {self._unit.topic_partition} {place}"
            log.warning("%s: try %d failed, the next is in %g s: %s", where, self._tries, wait, reason)
            raise Retry(self._retry_at) from error

    def refuse(self, raw: Batch, offset: int, error: ProcessingError, cause: BaseException) -> None:
        """A record failed for good: do with it what the policy says. Raises `Refusal`, or the record is skipped."""
        policy = self._definition.on_error
        self._errors[offset] = error
        if policy.on_error == "stop":
            raise Refusal(error) from cause
        if policy.dead_letter_topic is not None:
            letter = to_dead_letter(policy.dead_letter_topic, _record_at(raw, offset), self._unit.plugin, cause)
            self._outbox.add(letter)
        self.skipped += 1

    def _record_error(self, offset: int, key: Any, error: BaseException) -> RecordError:
        """The error of a record that its plugin failed on."""
        text = _text_of(error)
        place = f"{self._unit.topic_partition} offset {offset}, key {shown(key)}"
        message = f"plugin {self._unit.plugin} failed on {place}: {located(text, error)}"
        if self._definition.on_error.on_error == "stop":
            message += "; the run stops before this record, and a restart tries it again"
        result = RecordError(message)
        result.__cause__ = error
        return result

    def report(self) -> None:
        """Tell the observers of what failed for good and what was late since the last call."""
        if self._errors:
            errors, self._errors = self._errors, {}
            self._definition.on_records_failed(self._unit.plugin, self._unit.topic_partition, errors)
        if self._late_offsets:
            offsets, self._late_offsets = self._late_offsets, []
            self._definition.on_records_late(self._unit.plugin, self._unit.topic_partition, offsets)


def _record_at(raw: Batch, offset: int) -> Record:
    return raw[bisect_left(raw.offsets, offset)]


def _text_of(error: BaseException) -> str:
    return message_of(error) if isinstance(error, RecordError | OutputError) else describe(error)
