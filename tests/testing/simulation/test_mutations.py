"""The simulator finds bugs that are planted one at a time; so it would find them if somebody made them."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from unittest.mock import patch

import pytest

from framework.errors import StoreError
from framework.output import Output
from framework.runtime import capture
from framework.runtime.source import OutOfRange
from framework.runtime.task import PartitionTask, TaskStatus
from framework.runtime.worker import Worker
from framework.state import State
from framework.stores import _rules, memory
from framework.stores.memory import MemoryStore
from framework.testing.simulation import Simulation, SimulationError
from framework.testing.simulation.source import SimulatedSource

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


def save_whatever(stack: ExitStack, *, epoch: bool, previous_offset: bool) -> None:
    """The store's check without some of its parts."""

    def check(stored, checkpoint):
        if epoch:
            _rules.check_epoch(stored, checkpoint.epoch)
        if previous_offset:
            _rules.check_checkpoint(replace(stored, epoch=checkpoint.epoch), checkpoint)

    replaced(stack, memory, "check_checkpoint", check)


@mutation
def no_epoch_check_in_save(stack):
    save_whatever(stack, epoch=False, previous_offset=True)


@mutation
def neither_epoch_nor_previous_offset_check_in_save(stack):
    save_whatever(stack, epoch=False, previous_offset=False)


@mutation
def claim_does_not_raise_the_epoch(stack):
    claim = MemoryStore.claim

    def claim_only(self, unit, accept):
        claimed = claim(self, unit, accept)
        if claimed.previous is None:
            return claimed
        kept = self._units[unit]
        kept.stored = replace(kept.stored, epoch=claimed.previous.epoch)
        return replace(claimed, epoch=claimed.previous.epoch)

    replaced(stack, MemoryStore, "claim", claim_only)


@mutation
def warm_memory_goes_on_after_another_owner(stack):
    replaced(stack, PartitionTask, "holds", lambda self, claim: self._state is not None)


# ---- where reading goes on


def position_off_by(stack: ExitStack, offsets: int) -> None:
    loaded = PartitionTask.loaded

    def loaded_off(self, claim, data):
        loaded(self, claim, data)
        if data is not None and self.last_offset >= 0:
            self.position += offsets

    replaced(stack, PartitionTask, "loaded", loaded_off)


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
    save = Worker._save

    async def save_late(self, captured, acknowledgements):
        await asyncio.sleep(0.01)
        tasks = {task.unit: task for task in self.tasks}
        for index, checkpoint in enumerate(captured):
            if task := tasks.get(checkpoint.unit):
                captured[index] = replace(checkpoint, last_offset=task.last_offset, position=task.position)
        return await save(self, captured, acknowledgements)

    replaced(stack, Worker, "_save", save_late)


@mutation
def changes_of_a_failed_save_are_dropped(stack):
    save = Worker._save

    async def save_or_not(self, captured, acknowledgements):
        try:
            return await save(self, captured, acknowledgements)
        except StoreError:
            return []

    replaced(stack, Worker, "_save", save_or_not)


@mutation
def outputs_are_not_awaited(stack):
    save = Worker._save

    async def save_at_once(self, captured, acknowledgements):
        return await save(self, captured, [])

    replaced(stack, Worker, "_save", save_at_once)


@mutation
def deleted_keys_are_not_stored(stack):
    take_changed = State.take_changed
    replaced(stack, State, "take_changed", lambda self: {key for key in take_changed(self) if key in self.view()})


@mutation
def a_tally_is_lost_where_it_meets_a_checkpoint(stack):
    settle = State.settle

    def settle_some(self, most):
        left = settle(self, most)
        self._tallied.clear()
        return 0 if left else left

    replaced(stack, State, "settle", settle_some)
    stack.enter_context(patch.object(capture, "_SETTLED_AT_ONCE", 1))


@mutation
def reading_a_mutable_value_marks_nothing(stack):
    replaced(stack, State, "get", lambda self, key, /, default=None: self.view().get(key, default))
    replaced(stack, State, "__getitem__", lambda self, key: self.view()[key])


@mutation
def a_new_base_replaces_the_rows_since_it_began(stack):
    add_rows = memory._add_rows

    def add_rows_badly(kept, checkpoint):
        add_rows(kept, checkpoint)
        if checkpoint.base_ends:
            kept.changes.clear()

    replaced(stack, memory, "_add_rows", add_rows_badly)


@mutation
def a_base_goes_on_after_another_claim(stack):
    replaced(stack, PartitionTask, "_begin_base_anew", lambda self, stored: None)


# ---- rebalances


@mutation
def revoked_callback_does_nothing(stack):
    async def on_revoked(self, partitions):
        return

    replaced(stack, Worker, "on_revoked", on_revoked)


@mutation
def what_was_captured_but_not_stored_counts_as_stored(stack):
    never = property(lambda self: False, lambda self, value: None)
    stack.enter_context(patch.object(PartitionTask, "_unsaved", never, create=True))


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
    replaced(stack, PartitionTask, "void", lambda self: None)


@mutation
def a_rewind_drops_the_memory_late(stack):
    """While it waits for a save, which may fail, outputs of the record that failed are still there to be sent."""

    async def rewind(self, task):
        await self._finish_save()
        if task.status is TaskStatus.RUNNING:
            self._source.hold(task.source)
            task.void()
            task.move(TaskStatus.ASSIGNED)
            self._start_loading({task.source: [task]})

    replaced(stack, Worker, "_rewind", rewind)


@mutation
def a_skip_keeps_the_traces(stack):
    replaced(stack, State, "undo", State.end_undo)


@mutation
def a_skip_keeps_the_outputs(stack):
    replaced(stack, Output, "_cut", lambda self, mark: None)


@pytest.mark.parametrize("name", MUTATIONS)
def test_finds(name):
    with ExitStack() as stack:
        MUTATIONS[name](stack)
        assert found_in(HISTORIES) is not None


def no_previous_offset_check(stack):
    """The epoch fences; together with that, it is found as `neither_epoch_nor_previous_offset_check_in_save`."""
    save_whatever(stack, epoch=True, previous_offset=False)


def nothing_is_stored_on_revoke(stack):
    """Memory is void then, and the next owner reads again what was not stored."""

    async def drain(self, tasks):
        self._stop_applying(tasks)
        await self._finish_save()
        for task in tasks:
            if task.is_loaded:
                task.void()

    replaced(stack, Worker, "_drain", drain)


def records_fetched_before_a_rebalance_are_applied_after_it(stack):
    """Tasks skip what they have, and refuse a gap."""

    async def apply_fetched(self, fetching):
        try:
            fetched = fetching.result()
        except OutOfRange as error:
            await self._reload(error.partitions)
            return
        for batch in fetched:
            for task in (self._assigned or {}).get(batch.source, ()):
                if task.status is TaskStatus.RUNNING:
                    await self._apply(task, batch)

    replaced(stack, Worker, "_apply_fetched", apply_fetched)


@pytest.mark.parametrize(
    "plant",
    [no_previous_offset_check, nothing_is_stored_on_revoke, records_fetched_before_a_rebalance_are_applied_after_it],
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
