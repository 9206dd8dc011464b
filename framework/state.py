"""State: the interface of a processor's mapping of keys to values. `table.py` implements it."""

from abc import abstractmethod
from collections.abc import Iterable, MutableMapping
from typing import TypeVar

__all__ = ["State"]

K = TypeVar("K")
V = TypeVar("V")


class State(MutableMapping[K, V]):
    """A processor's mapping of keys to values for one partition.

    The runtime passes it to a processor as the argument `state`. It behaves like a dict, but the order of keys is
    unspecified, and may differ after a restart. Sort the keys where order matters.

    Changes in place are stored, too: reading a mutable value marks its key as changed, so `state[k].append(x)` works.
    Read a value again for each record before you change it. A change to a value that was read for an earlier record may
    be lost, because its key may count as saved by now. Do not store the same list, dict or set object under two keys,
    or twice in one value: after a load there would be two objects.

    Raises `ValueError` for a key that does not equal itself, such as NaN, because a lookup could never find it.
    """

    __slots__ = ()

    @abstractmethod
    def tally(self: "State[K, int]", keys: Iterable[K], /) -> None:
        """Add 1 to the value of a key for each time that it occurs in `keys`. A key without a value begins at 0.

        This is the fast way to count. It is meant for states whose values are all integers. If a value is not a number,
        `TallyError` is raised when that key is next read or stored, perhaps at a later record. As the record at hand is
        then not at fault, that error ends the run, and `--on-error` does not apply.
        """
