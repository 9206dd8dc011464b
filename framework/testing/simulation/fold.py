"""A fold: one undisturbed run of a model over a log, to compare with what was stored and sent."""

from collections.abc import Iterable
from typing import Any, Final

from framework.policy import ErrorPolicy
from framework.testing.simulation.log import LogRecord, PartitionLog
from framework.testing.simulation.processors import DEAD_LETTER_TOPIC, OUTPUT_TOPIC, Model, is_marked

__all__ = ["Fold", "Place"]

Place = tuple[str, int, int | str]
"""Of an output: topic, offset of its source record, and index among that record's outputs. An output of a timer has
`timer_name` instead of the index, and the offset of the last record before it."""


_BAD: Final[Any] = object()


class Fold:
    """Applies the records of a log, from `start` on, as far as it is asked to; those in `gaps` were lost before."""

    def __init__(
        self,
        model: Model,
        log: PartitionLog,
        policy: ErrorPolicy,
        start: int,
        gaps: Iterable[range] = (),
        idle_steps: Iterable[tuple[int, int]] = (),
    ) -> None:
        """`idle_steps`: pairs of a position and the time to which the watermark went on there without a record."""
        self.start = start
        self.gaps = list(gaps)
        self.idle_steps = list(idle_steps)
        self._state: dict[Any, Any] = {}
        self.last_offset = -1
        self.outputs: dict[Place, Any] = {}
        self.timed = None if model.timed is None else model.timed()
        self.fired = 0
        """Number of timers that have fired."""
        self._model = model
        self._log = log
        self._policy = policy
        self._next = log.index(start)
        self._steps = 0
        """Idle steps that are applied."""

    def again(self) -> "Fold":
        """The same from the start, with the gaps that are known by now."""
        return Fold(self._model, self._log, self._policy, self.start, self.gaps, self.idle_steps)

    @property
    def state(self) -> dict[Any, Any]:
        """The state so far."""
        return self._state if self.timed is None else self.timed.state

    def advance(self, offset: int) -> None:
        """Apply the records up to `offset`, included. The timers that are due after the last one do not fire yet."""
        written = self._log.written
        while self._next < len(written) and written[self._next].offset <= offset:
            record = written[self._next]
            if not any(record.offset in gap for gap in self.gaps):
                self.step_idle(record.offset)
                self.fire()
                self._apply(record)
            self._next += 1

    def step_idle(self, position: int) -> None:
        """Apply the idle steps up to a position. The timers that are due after the last one do not fire yet."""
        while self.timed is not None and self._steps < len(self.idle_steps):
            at, time = self.idle_steps[self._steps]
            if at > position:
                return
            self.fire()
            self.timed.watermark = time
            self._steps += 1

    def step_idle_before_next(self) -> None:
        """Apply the idle steps up to the next record."""
        record = self._next_record()
        self.step_idle(self._log.end if record is None else record.offset)

    def _next_record(self) -> LogRecord | None:
        """The next record that is in no gap."""
        left = self._log.written[self._next :]
        return next((record for record in left if not any(record.offset in gap for gap in self.gaps)), None)

    def fire(self, fired: int | None = None) -> None:
        """Let the timers fire that are due, until so many have fired in all."""
        while self.timed is not None and self.timed.is_due() and (fired is None or self.fired < fired):
            for name, body in self.timed.fire().items():
                self.outputs[OUTPUT_TOPIC, self.last_offset, name] = body
            self.fired += 1

    def expiring(self) -> list[Any]:
        """The keys that expire before the next record. A checkpoint may be taken while some of them are removed."""
        if self.timed is None:
            return []
        record = self._next_record()
        is_read = record is not None and _value_of(record) is not _BAD
        return self.timed.expiring(self.timed.after(record.timestamp) if record and is_read else self.timed.watermark)

    def is_lost(self, gap: range) -> bool:
        """Whether the log has lost what is in the gap."""
        return gap.stop <= self._log.start

    def _apply(self, record: LogRecord) -> None:
        self.last_offset = record.offset
        value = _value_of(record)
        if value is _BAD:
            self._refuse(record)
            return
        if self.timed is not None:
            self.timed.expire(self.timed.expiring(self.timed.after(record.timestamp)))
        is_late = self.timed is not None and self.timed.is_late(record.timestamp)
        if is_late:
            pass
        elif self._policy.on_error != "stop" and self._model.can_fail and is_marked(value):
            self._refuse(record)
        else:
            self._fold(record, None if record.key is None else int(record.key), value)
        if self.timed is not None:
            self.timed.move(record.timestamp)

    def _fold(self, record: LogRecord, key: int | None, value: int | None) -> None:
        if self.timed is not None:
            self.timed.apply(record.timestamp, record.offset, key, value)
            return
        for index, body in enumerate(self._model.fold(self._state, record.offset, key, value)):
            self.outputs[OUTPUT_TOPIC, record.offset, index] = body

    def _refuse(self, record: LogRecord) -> None:
        if self._policy.dead_letter_topic is not None:
            self.outputs[DEAD_LETTER_TOPIC, record.offset, 0] = (record.key, record.value)


def _value_of(record: LogRecord) -> Any:
    """The value of a record; `_BAD` if it cannot be decoded."""
    try:
        return None if record.value is None else int(record.value)
    except ValueError:
        return _BAD
