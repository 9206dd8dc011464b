"""Reading stored state from a program, also while workers run."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from framework.changes import fold_rows
from framework.errors import StateCorruptError, StateIncompatibleError, StoreError, UsageError
from framework.plugins import load
from framework.stores import STATE_TABLE, Store, StoredUnit, Unit

__all__ = ["StoredState", "load_table", "read_state"]

_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state of a processor over one partition, as its last checkpoint has it."""

    unit: Unit
    """The group, the processor, the topic and the partition."""
    last_offset: int
    """The offset of the last record that the state has; -1 if it has none."""
    version: int
    """The number of the checkpoint."""
    state: Mapping[Any, Any]
    """Keys and values, as the processor stored them."""


def read_state(
    store: str,
    plugin: str,
    *,
    group: str | None = None,
    topic: str | None = None,
    partition: int | None = None,
    store_options: Mapping[str, Any] | None = None,
) -> Iterator[StoredState]:
    """Yield the stored states of a processor, one partition after the other. Each is of one checkpoint.

    Workers may run meanwhile; they are not disturbed. `store`: as `--store` takes it, with a location, such as
    `sqlite:state`. `plugin`: the name of the processor. `group`: its consumer group, by default `framework-PLUGIN`.
    `topic` and `partition`: only the state of these. `store_options`: as `--store-option` sets them. Yields nothing if
    nothing is stored.

    Raises `UsageError` for a store that is not there or keeps nothing beyond its process, `StateCorruptError` for
    damaged state, `StateIncompatibleError` if its codec is not installed, and `StoreError` if the store cannot be read,
    or if checkpoints are saved faster than the state is read.
    """
    plugins = load([])
    name = store.partition(":")[0]
    if not plugins.store(name).survives:
        raise UsageError(f"store {name} keeps nothing beyond the worker's own process; name another store")
    with closing(plugins.open_store(store, store_options or {}, read_only=True)) as opened:
        for stored in opened.stored(group or f"framework-{plugin}"):
            unit = stored.unit
            if unit.plugin == plugin and topic in (None, unit.topic) and partition in (None, unit.partition):
                yield _whole(opened, unit)


def _whole(store: Store, unit: Unit) -> StoredState:
    """The state of one checkpoint: it is loaded again if another one was saved meanwhile."""
    for _ in range(_TRIES):
        before = _find(store, unit)
        state = load_table(store, before, STATE_TABLE)
        after = _find(store, unit)
        if (before.epoch, before.version) == (after.epoch, after.version):
            return StoredState(unit, before.own_progress.last_offset, before.version, state)
    raise StoreError(
        f"{unit}: each of {_TRIES} attempts to read it met a new checkpoint; let the workers save less often "
        "(--checkpoint-interval), or read a copy of the store"
    )


def _find(store: Store, unit: Unit) -> StoredUnit:
    found = next((stored for stored in store.stored(unit.group) if stored.unit == unit), None)
    if found is None:
        raise StoreError(f"{unit}: its stored state was removed while it was read; look at {store.place(unit)}")
    return found


def load_table(store: Store, stored: StoredUnit, name: str) -> dict[Any, Any]:
    """The entries of a table of a stored unit. Raises `StateCorruptError` and `StateIncompatibleError`."""
    if stored.description is None:
        return {}
    try:
        codec = load([]).codec(stored.description.codec)()
    except UsageError as error:
        raise StateIncompatibleError(f"{stored.unit} cannot be read: {error}; install the plugin with it") from error
    rows = (row for table, row in store.load(stored.unit) if table == name)
    try:
        return fold_rows(codec, rows)
    except StateCorruptError as error:
        raise StateCorruptError(f"{stored.unit} in {store.place(stored.unit)}: {error}") from error
