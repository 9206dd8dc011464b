"""The simulator finds bugs that are planted one at a time; so it would find them if somebody made them."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import pytest

from framework.event_time import NO_EVENT_TIME
from framework.observers import Observer
from framework.runtime import applier, attempt, failures, worker
from framework.runtime.expiry import Expiry, NotedTable
from framework.runtime.outbox import Outbox
from framework.runtime.ports import OutOfRange
from framework.runtime.saver import Saver
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.timer_queue import TimerQueue
from framework.runtime.timers import UnitTimers
from framework.runtime.watermark import Watermark
from framework.runtime.worker import Worker
from framework.stores import EXPIRY_TABLE, SAVED, memory, rules
from framework.stores.memory import MemoryStore
from framework.table import Table
from framework.testing.simulation import Simulation, SimulationError
from framework.testing.simulation.source import SimulatedSource
from framework.windows.aligned import AlignedKeeper

HISTORIES = 600
"""In so many, each bug must show."""

Mutation = Callable[[ExitStack], None]
MUTATIONS: dict[str, Mutation] = {}


def mutation(plant: Mutation) -> Mutation:
    MUTATIONS[plant.__name__] = plant
    return plant


def replaced(stack: ExitStack, owner: object, name: str, value: object) -> None:
    stack.enter_context(patch.object(owner, name, value))


# ---- fencing


def save_whatever(stack: ExitStack, *, epoch: bool, version: bool) -> None:
    """The store's check without some of its parts."""
    outcome_of = rules.outcome_of

    def check(stored, checkpoint):
        return outcome_of(
            stored and replace(stored, epoch=stored.epoch if epoch else checkpoint.epoch),
            checkpoint if version or stored is None else replace(checkpoint, version=stored.version + 1),
        )

    replaced(stack, memory, "outcome_of", check)


@mutation
def neither_epoch_nor_version_check_in_save(stack):
    save_whatever(stack, epoch=False, version=False)


@mutation
def claim_does_not_raise_the_epoch(stack):
    claim = MemoryStore.claim

    def claim_only(self, units, accept):
        claims = claim(self, units, accept)
        for index, (unit, claimed) in enumerate(zip(units, claims, strict=True)):
            if claimed.previous is not None:
                kept, epoch = self._units[unit], claimed.previous.epoch
                self._units[unit] = replace(kept, stored=replace(kept.stored, epoch=epoch))
                claims[index] = replace(claimed, epoch=epoch)
        return claims

    replaced(stack, MemoryStore, "claim", claim_only)


@mutation
def warm_memory_goes_on_after_another_owner(stack):
    replaced(stack, PartitionTask, "holds", lambda self, claim: self.applier is not None)


# ---- where reading goes on


def position_off_by(stack: ExitStack, offsets: int) -> None:
    load = PartitionTask.load

    def load_off(self, claim, data, timers=None):
        load(self, claim, data, timers)
        if self.live.last_offset >= 0:
            self.live.progress = replace(self.live.progress, position=self.live.position + offsets)

    replaced(stack, PartitionTask, "load", load_off)


@mutation
def reading_goes_on_at_n(stack):
    position_off_by(stack, -1)


@mutation
def reading_goes_on_at_n_plus_2(stack):
    position_off_by(stack, 1)


def released_off_by(stack: ExitStack, offsets: int) -> None:
    release = SimulatedSource.release

    def release_off(self, partition, position):
        release(self, partition, max(0, position + offsets))

    replaced(stack, SimulatedSource, "release", release_off)


@mutation
def source_is_released_too_early(stack):
    """Tasks skip what they have, but what is stored may be gone from the log."""
    released_off_by(stack, -1)


@mutation
def source_is_released_too_far(stack):
    released_off_by(stack, 1)


# ---- checkpoints


@mutation
def offset_is_taken_later_than_the_state(stack):
    save = Saver._save

    async def save_late(self, captured, flushed):
        await asyncio.sleep(0.01)
        late = []
        for task, checkpoint in captured:
            progress = task.applier.progress if task.applier else checkpoint.own_progress
            late.append((task, replace(checkpoint, progress={task.partition: progress})))
        return await save(self, late, flushed)

    replaced(stack, Saver, "_save", save_late)


@mutation
def changes_of_a_failed_save_are_dropped(stack):
    """The memory goes on as if nothing had been taken out of it."""
    save = Saver._save

    async def save_or_not(self, captured, flushed):
        try:
            return await save(self, captured, flushed)
        except Exception:
            for task, _ in captured:
                task._unsaved = False
            return []

    replaced(stack, Saver, "_save", save_or_not)


@mutation
def a_lost_answer_counts_as_saved(stack):
    save = Saver._save

    async def save_once(self, captured, flushed):
        try:
            return await save(self, captured, flushed)
        except Exception:
            return [(task, checkpoint, SAVED) for task, checkpoint in captured]

    replaced(stack, Saver, "_save", save_once)


@mutation
def outputs_are_not_awaited(stack):
    save = Saver._save

    async def save_at_once(self, captured, flushed):
        return await save(self, captured, asyncio.sleep(0))

    replaced(stack, Saver, "_save", save_at_once)


@mutation
def outputs_that_could_not_be_sent_are_forgotten(stack):
    send_outputs = Saver.send_outputs

    async def send_or_not(self, task):
        try:
            await send_outputs(self, task)
        except Exception:
            task.live.is_whole = True

    replaced(stack, Saver, "send_outputs", send_or_not)


@mutation
def deleted_keys_are_not_stored(stack):
    take_changed = Table.take_changed

    def take_present(self):
        changed, deleted = take_changed(self)
        return {key for key in changed if key in self.view()}, deleted

    replaced(stack, Table, "take_changed", take_present)


@mutation
def reading_a_mutable_value_marks_nothing(stack):
    replaced(stack, Table, "get", lambda self, key, /, default=None: self.view().get(key, default))
    replaced(stack, Table, "__getitem__", lambda self, key: self.view()[key])


@mutation
def a_new_base_replaces_the_rows_since_it_began(stack):
    saved = memory._Table.saved

    def saved_badly(self, changes):
        table = saved(self, changes)
        return replace(table, changes=()) if changes.base_ends else table

    replaced(stack, memory._Table, "saved", saved_badly)


@mutation
def a_base_goes_on_after_another_claim(stack):
    def keep(self, claim):
        self.epoch = claim.epoch

    replaced(stack, PartitionTask, "keep", keep)


# ---- rebalances


@mutation
def revoked_callback_does_nothing(stack):
    async def on_revoked(self, partitions):
        return

    replaced(stack, Worker, "on_revoked", on_revoked)


@mutation
def memory_is_stored_whatever_was_raised(stack):
    """After any error a last checkpoint, of memory that counts as whole."""
    shut_down = Worker._shut_down

    async def store_all(self, *, in_order):
        for task in self.tasks:
            if task.applier is not None:
                task.applier.is_whole, task._unsaved = True, False
        return await shut_down(self, in_order=True)

    replaced(stack, Worker, "_shut_down", store_all)


@mutation
def errors_of_the_listener_are_ignored(stack):
    """A callback fails, and nobody is told: the worker sits there for ever with what the group thinks it works on."""
    on_assigned = Worker.on_assigned

    def fails_sometimes(self, partitions):
        if self._source.assignment > 4:
            raise RuntimeError
        on_assigned(self, partitions)

    replaced(stack, Worker, "on_assigned", fails_sometimes)
    replaced(stack, Worker, "on_source_failed", lambda self, error: None)


# ---- failing records


@mutation
def a_rewind_keeps_the_memory(stack):
    async def rewind(self, task):
        self._source.hold(task.partition)
        task.live.is_whole = True
        task.move(TaskStatus.ASSIGNED)
        await self.saver.finish()
        if task.status is TaskStatus.ASSIGNED:
            self._start_loading({task.partition: [task]})

    replaced(stack, Worker, "_rewind", rewind)


@mutation
def a_skip_keeps_the_traces(stack):
    replaced(stack, Table, "undo", Table.end_undo)


@mutation
def a_skip_keeps_the_outputs(stack):
    replaced(stack, Outbox, "cut", lambda self, mark: None)


# ---- exceptions that nobody named


def only_exceptions(stack: ExitStack, *modules: object) -> None:
    for module in modules:
        replaced(stack, module, "is_plugin_failure", lambda error: isinstance(error, Exception))


@mutation
def a_plugin_that_raises_systemexit_ends_the_run(stack):
    only_exceptions(stack, applier, attempt)


@mutation
def a_record_fails_with_what_its_text_raises(stack):
    def no_text(error):
        raise RuntimeError("nobody can tell")

    replaced(stack, failures, "describe", no_text)


@mutation
def observers_are_not_kept_apart(stack):
    def call(self, **arguments):
        for _, each in self._calls:
            each(**arguments)

    replaced(stack, Observer, "__call__", call)


@mutation
def a_store_that_raises_is_not_asked_again_but_trusted(stack):
    """The outcome of a save that raised after its effect is taken for a save that was refused, and saved anew."""
    finish = Saver.finish

    async def finish_or_go_on(self):
        try:
            await finish(self)
        except Exception:
            for task in self._assignment.tasks:
                task._unsaved = False

    replaced(stack, Saver, "finish", finish_or_go_on)


@mutation
def a_load_that_was_cancelled_by_nobody_is_forgotten(stack):
    async def uncontained(call, *args):
        return await call(*args)

    loaded = Worker._loaded

    def loaded_or_cancelled(self, loading):
        if loading.cancelled():
            self._loading = [each for each in self._loading if each is not loading]
            return
        loaded(self, loading)

    replaced(stack, worker, "contained", uncontained)
    replaced(stack, Worker, "_loaded", loaded_or_cancelled)


@mutation
def versions_begin_anew_after_a_state_is_set_aside(stack):
    set_aside = MemoryStore.set_aside

    def begin_anew(self, unit, epoch):
        aside = set_aside(self, unit, epoch)
        self._units[unit] = replace(self._units[unit], stored=replace(self._units[unit].stored, version=0))
        return aside

    replaced(stack, MemoryStore, "set_aside", begin_anew)


# ---- time


@mutation
def a_timer_fires_twice(stack):
    begin_timer = Outbox.begin_timer
    fire_once = attempt.Attempt.timer

    async def fire(self, offset, *, wall):
        timer, error = await fire_once(self, offset, wall=wall)
        if error is None and self._timers.fired % 5 == 0:
            begin_timer(self._outbox, offset, self._timers.fired)
            self._processor.on_timer(timer, self._table, self._outbox)
        return timer, error

    replaced(stack, attempt.Attempt, "timer", fire)


@mutation
def timers_are_lost_when_they_are_loaded(stack):
    replaced(stack, UnitTimers, "index", lambda self, entries, most: 0)


@mutation
def timers_fire_early(stack):
    is_due = UnitTimers.is_due
    replaced(stack, UnitTimers, "is_due", lambda self, until, *, wall: is_due(self, until + 1, wall=wall))


@mutation
def timers_fire_late(stack):
    is_due = UnitTimers.is_due
    replaced(stack, UnitTimers, "is_due", lambda self, until, *, wall: is_due(self, until - 1, wall=wall))


@mutation
def timers_of_one_time_fire_in_the_reverse_order(stack):
    push = TimerQueue.push

    def push_reversed(self, entry):
        time, name, number, serial, key = entry
        push(self, (time, name, _Reversed(number), serial, key))

    replaced(stack, TimerQueue, "push", push_reversed)


class _Reversed(int):
    def __lt__(self, other):
        return int.__gt__(self, other)


@mutation
def a_step_of_the_watermark_is_split_a_record_too_late(stack):
    steps = Watermark.steps

    def late_steps(self, event_times):
        found = steps(self, event_times)
        return [(min(position + 1, len(event_times)), time) for position, time in found]

    replaced(stack, Watermark, "steps", late_steps)


@mutation
def batches_are_not_split_at_steps(stack):
    steps = Watermark.steps

    def last_step(self, event_times):
        found = steps(self, event_times)
        return [(len(event_times), found[-1][1])] if found else []

    replaced(stack, Watermark, "steps", last_step)


@mutation
def the_watermark_goes_back(stack):
    replaced(stack, Watermark, "advance", lambda self, time: setattr(self, "time", time))
    rule_only = Watermark.steps

    def steps(self, event_times):
        fresh = Watermark(self._rule)
        return rule_only(fresh, event_times)

    replaced(stack, Watermark, "steps", steps)


@mutation
def the_watermark_is_not_loaded(stack):
    load = PartitionTask.load

    def load_without(self, *arguments):
        load(self, *arguments)
        memory = self.applier.memory
        memory.watermark.time = memory.timers.event_time = memory.processor.event_time = NO_EVENT_TIME

    replaced(stack, PartitionTask, "load", load_without)


@mutation
def an_undo_forgets_the_timers(stack):
    replaced(stack, UnitTimers, "undo", UnitTimers.end_undo)


@mutation
def timers_that_have_fired_stay_stored(stack):
    capture = PartitionTask.capture

    def without_deletions(self, *arguments, **options):
        table = self.applier.memory.timers.table
        table._changed = {key for key in table._changed if key in table.view()}
        return capture(self, *arguments, **options)

    replaced(stack, PartitionTask, "capture", without_deletions)


@mutation
def an_idle_step_is_not_stored(stack):
    step_idle = Worker._step_idle

    async def nothing(tasks):
        pass

    async def step_without_save(self):
        with patch.object(self.saver, "save", nothing):
            await step_idle(self)

    replaced(stack, Worker, "_step_idle", step_without_save)


@mutation
def an_idle_step_goes_too_far(stack):
    idle_step = applier.Applier.idle_step

    def further(self, end):
        time = idle_step(self, end)
        return None if time is None else time + 500

    replaced(stack, applier.Applier, "idle_step", further)


@mutation
def an_idle_step_is_stored_after_timers_fire(stack):
    step_idle = Worker._step_idle

    async def save_later(self, tasks):
        await Worker._fire_timers(self)
        await Saver.save(self.saver, tasks)

    async def step(self):
        with patch.object(self.saver, "save", partial(save_later, self)):
            await step_idle(self)

    replaced(stack, Worker, "_step_idle", step)


@mutation
def a_key_that_was_written_again_expires(stack):
    def look_at(self, key, until):
        del self._bucket_of[key], self.table[key]
        self.state.remove(key)

    replaced(stack, Expiry, "_look_at", look_at)


@mutation
def keys_expire_before_unsaved_writes_are_seen(stack):
    replaced(stack, Expiry, "step", lambda self, until, most: self._expire(until, most) or self.state.note(most))


@mutation
def keys_never_expire_after_a_load(stack):
    replaced(stack, Expiry, "index", lambda self, entries, most: 0)
    replaced(stack, Expiry, "adopt", lambda self, keys, most: 0)


@mutation
def keys_expire_after_the_record_that_moves_the_watermark(stack):
    expire = applier.Applier._expire

    async def late(self, until, breathe):
        return await expire(self, self.memory.watermark.time, breathe)

    replaced(stack, applier.Applier, "_expire", late)


@mutation
def keys_that_have_expired_stay_stored(stack):
    take_changed = NotedTable.take_changed

    def take_present(self):
        changed, deleted = take_changed(self)
        return {key for key in changed if key in self.view()}, deleted

    replaced(stack, NotedTable, "take_changed", take_present)


@mutation
def times_of_writes_are_not_stored(stack):
    has_changed = PartitionTask._has_changed
    replaced(
        stack,
        PartitionTask,
        "_has_changed",
        lambda self, name, table: name != EXPIRY_TABLE and has_changed(self, name, table),
    )


@mutation
def late_records_get_into_closed_windows(stack):
    replaced(stack, AlignedKeeper, "_is_open", lambda self, span: True)


@mutation
def a_window_closes_without_its_grace(stack):
    closes = AlignedKeeper._set_timers

    def early(self, span, number):
        grace, self._grace = self._grace, 0
        closes(self, span, number)
        self._grace = grace

    replaced(stack, AlignedKeeper, "_set_timers", early)


@pytest.mark.parametrize("name", MUTATIONS)
def test_finds(name):
    with ExitStack() as stack:
        MUTATIONS[name](stack)
        assert found_in(HISTORIES) is not None


def no_version_check(stack):
    """The epoch fences; together with that, it is found as `neither_epoch_nor_version_check_in_save`."""
    save_whatever(stack, epoch=True, version=False)


def no_epoch_check(stack):
    """The version fences: whoever claimed a unit has saved it, too, before its first record."""
    save_whatever(stack, epoch=False, version=True)


def nothing_is_stored_on_revoke(stack):
    """Memory is void then, and the next owner reads again what was not stored."""

    async def drain(self, tasks):
        self._stop_applying(tasks)
        await self.saver.finish()
        for task in tasks:
            task.drop()

    replaced(stack, Worker, "_drain", drain)


def records_fetched_before_a_rebalance_are_applied_after_it(stack):
    """Tasks skip what they have, and refuse a gap."""
    apply_fetched = Worker._apply_fetched

    async def apply_all(self, fetching):
        with suppress(OutOfRange):
            fetching.result().assignment = self._source.assignment
        await apply_fetched(self, fetching)

    replaced(stack, Worker, "_apply_fetched", apply_all)


def a_last_checkpoint_after_any_error(stack):
    """Memory that is not whole, or unsaved, is not captured; see `memory_is_stored_whatever_was_raised`."""
    shut_down = Worker._shut_down
    replaced(stack, Worker, "_shut_down", lambda self, *, in_order: shut_down(self, in_order=True))


@pytest.mark.parametrize(
    "plant",
    [
        no_version_check,
        nothing_is_stored_on_revoke,
        records_fetched_before_a_rebalance_are_applied_after_it,
        a_last_checkpoint_after_any_error,
    ],
)
def test_another_defence_holds(plant):
    with ExitStack() as stack:
        plant(stack)
        assert found_in(30) is None


def found_in(histories: int) -> int | None:
    """The first seed whose history shows that something is wrong."""
    for seed in range(histories):
        try:
            Simulation(seed, 40, store="memory").run()
        except SimulationError:
            return seed
    return None
