"""Failures: what becomes of a record that cannot be applied."""

import logging
import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from framework.borders import describe, located, message_of, shown
from framework.dead_letters import to_dead_letter
from framework.errors import OutputError, ProcessingError, RecordError
from framework.records import Batch
from framework.runtime.definition import Definition
from framework.runtime.outbox import Outbox
from framework.stores import Unit

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
    """Follows the error policy for the records of one task."""

    def __init__(self, unit: Unit, definition: Definition, outbox: Outbox, clock: Callable[[], float]) -> None:
        self.skipped = 0
        """Records that were not applied, because they failed for good."""
        self._unit = unit
        self._definition = definition
        self._outbox = outbox
        self._clock = clock
        self._errors: dict[int, ProcessingError] = {}
        self._failing_offset = -1
        self._tries = 0
        self._retry_at = -math.inf

    @property
    def looks_at_each(self) -> bool:
        """Whether a record that `process_batch` refuses must be looked at alone."""
        policy = self._definition.on_error
        return policy.on_error == "stop" or bool(policy.retries)

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
        return offset == self._failing_offset

    def fail(self, raw: Batch, offset: int, key: Any, error: BaseException) -> None:
        """A record failed: have it tried again later, or do with it what the policy says.

        `raw` has the record as bytes. Raises `Retry` or `Refusal`; where it returns, the record is skipped.
        """
        self._tries = self._tries + 1 if offset == self._failing_offset else 1
        self._failing_offset = offset
        wait = self._definition.on_error.wait_after(self._tries)
        if wait is not None:
            self._retry_at = self._clock() + wait
            place = f"{self._unit.plugin} on {self._unit.topic_partition} offset {offset}"
            reason = located(describe(error), error)
            log.warning("%s: try %d failed, the next is in %g s: %s", place, self._tries, wait, reason)
            raise Retry(self._retry_at) from error
        self.refuse(raw, offset, self.record_error(offset, key, error), error)

    def refuse(self, raw: Batch, offset: int, error: ProcessingError, cause: BaseException) -> None:
        """A record failed for good: do with it what the policy says. Raises `Refusal`, or the record is skipped."""
        policy = self._definition.on_error
        self._errors[offset] = error
        if policy.on_error == "stop":
            raise Refusal(error) from cause
        if policy.dead_letter_topic is not None:
            record = raw[bisect_left(raw.offsets, offset)]
            self._outbox.add(to_dead_letter(policy.dead_letter_topic, record, self._unit.plugin, cause))
        self.skipped += 1

    def record_error(self, offset: int, key: Any, error: BaseException) -> RecordError:
        """The error of a record that its plugin failed on."""
        text = message_of(error) if isinstance(error, RecordError | OutputError) else describe(error)
        place = f"{self._unit.topic_partition} offset {offset}, key {shown(key)}"
        message = f"plugin {self._unit.plugin} failed on {place}: {located(text, error)}"
        if self._definition.on_error.on_error == "stop":
            message += "; the run stops before this record, and a restart tries it again"
        result = RecordError(message)
        result.__cause__ = error
        return result

    def report(self) -> None:
        """Tell the observers of what failed for good since the last call."""
        if self._errors:
            errors, self._errors = self._errors, {}
            self._definition.on_records_failed(self._unit.plugin, self._unit.topic_partition, errors)
