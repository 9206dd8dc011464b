"""State: what a plugin may call of its processor's mapping of keys to values. The engine behind it is `table.py`."""

from abc import abstractmethod
from collections.abc import Iterable, MutableMapping
from typing import TypeVar

__all__ = ["State"]

K = TypeVar("K")
V = TypeVar("V")


class State(MutableMapping[K, V]):
    """A processor's mapping of keys to values for one partition.

    The runtime makes it; a plugin gets it as the argument `state`. It behaves as a dict whose order is unspecified: the
    order of keys may differ after a restart. What needs an order sorts the keys.

    Changing a value in place is never lost: reading a value that can change marks its key as changed, so
    `state[k].append(x)` is stored. A value must not be kept and changed without reading it again: by then its key may
    count as saved. One container must not stand under two keys, or twice in one value: it would come back as two.

    Raises `ValueError` for a key that does not equal itself, such as NaN: it could never be found again.
    """

    __slots__ = ()

    @abstractmethod
    def tally(self: "State[K, int]", keys: Iterable[K], /) -> None:
        """Add 1 to the value of each key, as often as it comes; a key without a value begins at 0.

        The fast way to count, for states whose values are all whole numbers. For a value that is no number,
        `TallyError` comes when it is next read or stored. That error ends the run, whatever `--on-error` says, because
        it is not the fault of the record at hand.
        """
