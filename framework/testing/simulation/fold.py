"""A fold: one undisturbed run of a model over a log, to compare with what was stored and sent."""

from collections.abc import Iterable
from typing import Any

from framework.policy import ErrorPolicy
from framework.testing.simulation.log import LogRecord, PartitionLog
from framework.testing.simulation.processors import DEAD_LETTER_TOPIC, OUTPUT_TOPIC, Model, is_marked

__all__ = ["Fold", "Place"]

Place = tuple[str, int, int]
"""Of an output: topic, offset of its source record, index among that record's outputs."""


class Fold:
    """Applies the records of a log, from `start` on, as far as it is asked to; those in `gaps` were lost before."""

    def __init__(
        self, model: Model, log: PartitionLog, policy: ErrorPolicy, start: int, gaps: Iterable[range] = ()
    ) -> None:
        self.start = start
        self.gaps = list(gaps)
        self.state: dict[Any, Any] = {}
        self.last_offset = -1
        self.outputs: dict[Place, Any] = {}
        self._model = model
        self._log = log
        self._policy = policy
        self._next = log.index(start)

    def again(self) -> "Fold":
        """The same from the start, with the gaps that are known by now."""
        return Fold(self._model, self._log, self._policy, self.start, self.gaps)

    def advance(self, offset: int) -> None:
        """Apply the records up to `offset`, included."""
        written = self._log.written
        while self._next < len(written) and written[self._next].offset <= offset:
            record = written[self._next]
            if not any(record.offset in gap for gap in self.gaps):
                self._apply(record)
            self._next += 1

    def is_lost(self, gap: range) -> bool:
        """Whether the log has lost what is in the gap."""
        return gap.stop <= self._log.start

    def _apply(self, record: LogRecord) -> None:
        self.last_offset = record.offset
        try:
            value = None if record.value is None else int(record.value)
        except ValueError:
            self._refuse(record)
            return
        if self._policy.on_error != "stop" and self._model.can_fail and is_marked(value):
            self._refuse(record)
            return
        key = None if record.key is None else int(record.key)
        for index, body in enumerate(self._model.fold(self.state, record.offset, key, value)):
            self.outputs[OUTPUT_TOPIC, record.offset, index] = body

    def _refuse(self, record: LogRecord) -> None:
        if self._policy.dead_letter_topic is not None:
            self.outputs[DEAD_LETTER_TOPIC, record.offset, 0] = (record.key, record.value)
