"""The entries of a instance's tables as checkpoints store them."""

from collections.abc import Mapping
from typing import Any

from framework.borders import shown
from framework.codecs import Codec
from framework.errors import CodecError
from framework.runtime.expiry import NotedTable
from framework.table import Table, stored_key
from framework.testing.instance import Instance, Stored

__all__ = ["Saved", "encoded"]

_AT_ONCE = 1000


class Saved:
    """The entries of an instance's tables as they were last saved; at first, as `stored` has them."""

    def __init__(self, codec: Codec, stored: Stored | None = None) -> None:
        self._codec = codec
        stored = stored or Stored()
        self._state, self._timers, self._written = map(self._encoded, (stored.state, stored.timers, stored.written))

    def save(self, instance: Instance) -> None:
        """Take the changes of the instance's tables."""
        instance.timers.store_counters()
        expiry = instance.expiry
        self._take(instance.table if expiry is None else expiry.state, self._state)
        self._take(instance.timers.table, self._timers)
        if expiry is not None:
            self._take(expiry.table, self._written)

    def _take(self, table: Table[Any, Any] | NotedTable, saved: dict[Any, bytes]) -> None:
        while table.add_tallies(_AT_ONCE):
            pass
        changed, _ = table.take_changed()
        data = table.view()
        for key in changed:
            saved.pop(key, None)
            if key in data:
                stored, value = encoded(self._codec, stored_key(data, key), data[key])
                saved[self._codec.decode(stored)] = value

    def load(self, instance: Instance) -> Stored:
        """State and timers as they were saved, with the progress of this instance."""
        state, timers, written = map(self._decoded, (self._state, self._timers, self._written))
        return Stored(state, timers, written, instance.watermark.time, instance.last_offset)

    def _encoded(self, entries: Mapping[Any, Any]) -> dict[Any, bytes]:
        return {key: self._codec.encode(value) for key, value in reversed([*entries.items()])}

    def _decoded(self, saved: dict[Any, bytes]) -> dict[Any, Any]:
        return {key: self._codec.decode(value) for key, value in reversed(saved.items())}


def encoded(codec: Codec, key: Any, value: Any) -> tuple[bytes, bytes]:
    """The bytes of a key and of its value. Raises `AssertionError` if the codec cannot hold them."""
    try:
        return codec.encode(key), codec.encode(value)
    except CodecError as error:
        raise AssertionError(f"codec {codec.name} cannot hold the state of key {shown(key)}: {error}") from error
