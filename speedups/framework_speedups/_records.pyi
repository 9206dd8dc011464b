from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, final

R = TypeVar("R", bound=tuple[Any, ...])

@final
class Rows(Iterator[R], Generic[R]):
    """Iterates over the records that columns of equal length hold."""

    def __new__(
        cls,
        record: type[R],
        topic: str,
        partition: int,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        keys: Sequence[Any],
        values: Sequence[Any],
        headers: Sequence[Any],
        /,
    ) -> Rows[R]:
        """Each record is `record.__new__` of the topic, the partition and one item of each column, but faster.

        Raises `ValueError` for columns of different lengths, and `TypeError` if `record` is no subclass of tuple.
        """
    def __next__(self) -> R: ...

def extent(numbers: Sequence[int], /) -> tuple[int, int] | None:
    """The smallest and the largest of a list of ints; None for anything else, and for an int beyond 64 bits."""
