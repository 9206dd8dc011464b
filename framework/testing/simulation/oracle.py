"""The oracle: what must be true of stored state and outputs, whatever happened."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from framework.changes import fold_rows
from framework.codecs import Codec
from framework.dead_letters import DEAD_LETTER_HEADERS
from framework.output import SOURCE_HEADERS, OutputRecord
from framework.policy import ErrorPolicy
from framework.records import TopicPartition
from framework.stores import STATE_TABLE, TIMERS_TABLE, Checkpoint, Claim, Outcome, Store, StoredUnit, Unit
from framework.testing.simulation.fold import Fold, Place
from framework.testing.simulation.history import Scribe, SimulationError
from framework.testing.simulation.log import PartitionLog
from framework.testing.simulation.processors import DEAD_LETTER_TOPIC, Model, timer_name

__all__ = ["Oracle"]

_NONE: Final = "nothing"


class _Watched:
    """What is known of a unit."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch
        self.stored: StoredUnit | None = None
        self.behind: Fold | None = None
        """The model up to what is stored."""
        self.ahead: list[Fold] = []
        """The model up to the last output seen; before a gap and after it, it sends different things."""
        self.missing = 0
        """Offsets that the stored state goes on without."""
        self.arrived: set[tuple[Place, str]] = set()
        """Outputs, with their bodies."""

    def begin(self, fold: Fold) -> None:
        """A state begins."""
        self.behind = fold
        self.ahead.append(fold.again())

    def leave_out(self, gap: range) -> bool:
        """The state goes on without these offsets; tells whether the log had really lost them."""
        if self.behind is None:
            return False
        self.behind.gaps.append(gap)
        self.ahead.append(self.behind.again())
        return self.behind.is_lost(gap)

    def expects(self, place: Place, body: Any) -> bool:
        """Whether an undisturbed run would have sent this."""
        for fold in self.ahead:
            fold.advance(place[1])
            fold.fire()
            fold.step_idle_before_next()
            fold.fire()
        return any(fold.outputs.get(place, _NONE) == body for fold in self.ahead)


class Oracle:
    """Compares what is stored and sent with the models. Every method that checks raises `SimulationError`."""

    def __init__(
        self,
        group: str,
        store: Store,
        codec: Codec,
        models: Mapping[str, Model],
        logs: Mapping[TopicPartition, PartitionLog],
        policy: ErrorPolicy,
        scribe: Scribe,
        idle_after: int | None,
        now: Callable[[], float],
    ) -> None:
        """`idle_after` is in milliseconds, as `TimeSettings.idle_after`. `now` returns seconds, for all processes."""
        self._group = group
        self._store = store
        self._codec = codec
        self._models = models
        self._logs = logs
        self._policy = policy
        self._scribe = scribe
        self._idle_after = idle_after
        self._now = now
        self._watched: dict[Unit, _Watched] = {}
        self._touched: dict[Unit, None] = {}
        self.failure: SimulationError | None = None
        """What went wrong where nobody could raise it."""

    # ---- watched while processes run: what goes wrong is kept for `check`

    def on_claimed(self, unit: Unit, claim: Claim) -> None:
        """A process has claimed a unit."""
        watched = self._watch(unit)
        self._scribe.add(f"claimed {unit.plugin} {unit.topic_partition}: epoch {claim.epoch}")
        if claim.epoch <= watched.epoch:
            self.fail(f"{unit}: a claim got epoch {claim.epoch}, an earlier one had {watched.epoch}")
        watched.epoch = max(watched.epoch, claim.epoch)

    def on_saved(self, checkpoints: Sequence[Checkpoint], outcomes: Sequence[Outcome]) -> None:
        """A process has saved checkpoints, or was refused."""
        for checkpoint, outcome in zip(checkpoints, outcomes, strict=True):
            unit = checkpoint.unit
            progress = checkpoint.own_progress
            what = f"{unit.plugin} {unit.topic_partition} up to {progress.last_offset}, version {checkpoint.version}"
            if outcome.error is not None:
                self._scribe.fault(f"save refused: {type(outcome.error).__name__}", what)
                continue
            if outcome.kind == "already saved":
                self._scribe.fault("asked again", what)
                continue
            self._scribe.history.checkpoints += 1
            self._scribe.add(f"saved {what}, position {progress.position}, epoch {checkpoint.epoch}")
            self._touched[unit] = None
            self._follow(unit, self._watch(unit), checkpoint)

    def _follow(self, unit: Unit, watched: _Watched, checkpoint: Checkpoint) -> None:
        progress, position = checkpoint.own_progress, checkpoint.own_progress.position or 0
        if watched.behind is None:
            if progress.last_offset >= 0:
                self.fail(f"{unit}: records were applied before it was stored where they begin")
            log = self._logs[unit.topic_partition].of(progress.anchor.topic_id)
            watched.begin(Fold(self._models[unit.plugin], log, self._policy, position))
        missing = progress.missing_offsets - watched.missing
        watched.missing = progress.missing_offsets
        if missing:
            gap = range(position - missing, position)
            if missing < 0 or not watched.leave_out(gap):
                self.fail(f"{unit}: offsets {gap.start} to {gap.stop - 1} were left out, but not lost")
        if watched.behind is not None:
            self._follow_idle(unit, watched, watched.behind, checkpoint)

    def _follow_idle(self, unit: Unit, watched: _Watched, fold: Fold, checkpoint: Checkpoint) -> None:
        """Event time that the records do not explain went on without one. That is stored before it has effects."""
        time = checkpoint.event_time.get(unit.topic_partition)
        if fold.timed is None or time is None:
            return
        position = checkpoint.own_progress.position or 0
        fold.advance(position - 1)
        fold.step_idle(position)
        if fold.timed.watermark is None or time <= fold.timed.watermark:
            return
        self._scribe.fault("idle step", f"{unit.plugin} {unit.topic_partition} to {time}")
        if self._idle_after is None or time > fold.timed.rule_after(int(self._now() * 1000) - self._idle_after):
            self.fail(f"{unit}: the watermark went on to {time} without records")
        for each in (fold, *watched.ahead):
            each.idle_steps.append((position, time))

    def on_set_aside(self, unit: Unit, aside: Unit) -> None:
        """A process has set a unit aside, to begin it anew."""
        self._scribe.fault("set aside", f"{unit.plugin} {unit.topic_partition} as {aside.group}")
        old = self._watched[aside] = self._watched[unit]
        new = self._watched[unit] = _Watched(old.epoch)
        new.ahead += old.ahead
        self._touched[aside] = None

    def on_output(self, record: OutputRecord) -> None:
        """An output or a dead letter has arrived on its topic."""
        named = {name: (value or b"").decode() for name, value in record.headers}
        body: Any
        if record.topic == DEAD_LETTER_TOPIC:
            plugin, topic, partition, offset = (named[name] for name in DEAD_LETTER_HEADERS[:4])
            index, body = "0", (record.key, record.value)
        else:
            plugin, topic, partition, offset, index = (named[name] for name in SOURCE_HEADERS)
            body = json.loads(record.value or b"null")
            if not index.startswith("timer-"):
                body = [record.timestamp, body, record.partition]
        unit, place = (
            Unit(self._group, plugin, topic, int(partition)),
            (record.topic, int(offset), _index(index, record)),
        )
        watched = self._watch(unit)
        if not watched.expects(place, body):
            self.fail(f"{unit}: output {place} (topic, offset, index) is {body}, which no undisturbed run sends")
        watched.arrived.add((place, repr(body)))

    def fail(self, what: str) -> None:
        """Keep a breach for the next check."""
        self._scribe.add(f"BREACH {what}")
        self.failure = self.failure or SimulationError(what)

    def _watch(self, unit: Unit) -> _Watched:
        return self._watched.setdefault(unit, _Watched())

    # ---- asked between steps

    def check(self, *, everything: bool = False) -> None:
        """Check each unit that was saved since the last check, or all."""
        if self.failure is not None:
            raise self.failure
        if not self._touched and not everything:
            return
        touched, self._touched = self._touched, {}
        for stored in self._store.stored():
            if everything or stored.unit in touched:
                self._check(stored)

    def _check(self, stored: StoredUnit) -> None:
        watched = self._watch(stored.unit)
        self._check_order(stored, watched)
        watched.stored = stored
        progress = stored.own_progress
        if watched.behind is None or progress.position is None:
            return
        fold = watched.behind
        fold.advance(progress.position - 1)
        fold.step_idle(progress.position)
        at = f"{stored.unit} at last offset {progress.last_offset}, position {progress.position}, epoch {stored.epoch}"
        self._require(progress.last_offset == fold.last_offset, f"{at}: the last record there is {fold.last_offset}")
        model = self._models[stored.unit.plugin]
        if model.timed is not None:
            self._check_time(stored, fold, at)
        state = self._load(stored, STATE_TABLE)
        if fold.timed is not None:  # keys that expire before the next record may be gone already
            fold.timed.expire([key for key in fold.expiring() if key not in state])
        expected = fold.state
        if stored.description and model.successor and stored.description.state_version == 2:
            expected = model.upgraded(expected)
        shown = model.view(state)
        self._require(shown == expected, lambda: f"{at}: {_difference(shown, expected)}")
        self._require(stored.keys == len(state), f"{at}: {stored.keys} keys are told, {len(state)} are there")
        missing = {(place, repr(body)) for place, body in fold.outputs.items()} - watched.arrived
        self._require(not missing, f"{at}: outputs {sorted(missing)} did not arrive")

    def _load(self, stored: StoredUnit, name: str) -> dict[Any, Any]:
        return fold_rows(self._codec, (row for table, row in self._store.load(stored.unit) if table == name))

    def _check_time(self, stored: StoredUnit, fold: Fold, at: str) -> None:
        """Let timers fire as many as the stored state has seen fire, and check the watermark."""
        _, fired = self._load(stored, TIMERS_TABLE).get((), (0, 0))
        fold.fire(fired)
        self._require(fired == fold.fired, f"{at}: {fired} timers have fired, not {fold.fired}")
        time = stored.event_time.get(stored.unit.topic_partition)
        expected = fold.timed and fold.timed.watermark
        self._require(time == expected, f"{at}: the watermark is {time}, not {expected}")

    def _check_order(self, stored: StoredUnit, watched: _Watched) -> None:
        before = watched.stored
        if before is None:
            return
        self._require(stored.epoch >= before.epoch, f"{stored.unit}: epoch {before.epoch} became {stored.epoch}")
        for what, old, new in (
            ("version", before.version, stored.version),
            ("last offset", before.own_progress.last_offset, stored.own_progress.last_offset),
            ("position", before.own_progress.position or 0, stored.own_progress.position or 0),
        ):
            self._require(new >= old, f"{stored.unit}: {what} went back from {old} to {new}")

    def _require(self, holds: bool, otherwise: str | Callable[[], str]) -> None:
        if not holds:
            what = otherwise if isinstance(otherwise, str) else otherwise()
            self._scribe.add(f"BREACH {what}")
            raise SimulationError(what)

    def stored_positions(self) -> dict[TopicPartition, int | None]:
        """Up to where every plugin's stored state covers each partition; None where one has not begun."""
        found = {stored.unit: stored.own_progress.position for stored in self._store.stored(self._group)}
        covered: dict[TopicPartition, int | None] = {}
        for partition in self._logs:
            positions = [found.get(Unit(self._group, plugin, *partition)) for plugin in self._models]
            begun = [position for position in positions if position is not None]
            covered[partition] = min(begun) if len(begun) == len(positions) else None
        return covered


def _index(text: str, record: OutputRecord) -> int | str:
    """The index in a place."""
    if text.startswith("timer-"):
        return timer_name((record.key or b"").decode(), record.timestamp or 0)
    return int(text)


def _difference(state: Mapping[Any, Any], expected: Mapping[Any, Any]) -> str:
    keys = [key for key in {**expected, **state} if state.get(key, _NONE) != expected.get(key, _NONE)]
    shown = "; ".join(f"key {key} is {state.get(key, _NONE)}, not {expected.get(key, _NONE)}" for key in keys[:3])
    return f"{len(keys)} keys differ: {shown}"
