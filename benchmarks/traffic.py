"""Records that are the same in every run."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

__all__ = ["OUT_OF_ORDER", "Made", "Traffic"]

OUT_OF_ORDER: Final = 2_000
"""The longest delay of a record of the kind `timed`, in milliseconds."""

_CHUNK: Final = 10_000
_VALUES: Final = 10_000
"""Number of different values, or of different notes in orders."""
_SYLLABLES: Final = ("ka", "lo", "mi", "ter", "so", "ver", "ne", "du", "ra", "bel", "tis", "on", "ex", "pa", "qui", " ")
_BEGINNING: Final = 1_767_225_600_000
"""The time of the first record of the kind `timed`, 2026-01-01, in milliseconds since the epoch."""
_STEP: Final = 2
_AT_ONCE: Final = 10
"""So many milliseconds pass with so many records of the kind `timed`, before their delays: 5,000 records a second. No
two times differ by an odd number, such as the gap of sessions, so that it does not matter if a gap belongs to them."""
_CURRENCIES: Final = (b"EUR", b"USD", b"GBP", b"JPY")


class Made(NamedTuple):
    """A record, the number of its key, and the number in its value: `n`, or `amount` in hundredths."""

    key_number: int
    number: int
    key: bytes
    value: bytes
    timestamp: int = 0
    """Milliseconds since the epoch; 0 for the time at which it is sent."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The records of a topic. By default, a record takes about 105 bytes in the log."""

    records: int
    keys: int = 100_000
    """Number of keys, which are drawn uniformly."""
    value_size: int = 86
    """Size of a value in bytes; of an order, it is the mean."""
    compression: str = "none"
    partitions: int = 4
    seed: int = 1
    kind: Literal["text", "orders", "timed"] = "text"
    """`text`: a value is a JSON object with a number `n` from 100 to 999, and some text. `orders`: a value is a JSON
    object with five fields, one of which is a decimal `amount` from 1.00 to 999.99; the key is the customer. `timed`:
    as `text`, with timestamps at a rate of 5,000 records a second, less delays of up to `OUT_OF_ORDER` ms."""

    @property
    def unit(self) -> int:
        """The number in `Made` that stands for 1."""
        return {"text": 1, "orders": 100, "timed": 1}[self.kind]

    def chunks(self) -> Iterator[list[Made]]:
        """All records."""
        chance = random.Random(self.seed)  # noqa: S311 - repeatable from its seed
        make = _KINDS[self.kind](chance, self)
        for first in range(0, self.records, _CHUNK):
            yield make(first, min(_CHUNK, self.records - first))

    def __str__(self) -> str:
        return (
            f"{self.records:,} records, {self.keys:,} keys, {self.kind} of {self.value_size} bytes, "
            f"compression {self.compression}, {self.partitions} partitions"
        )


_Make = Callable[[int, int], list[Made]]
"""Makes records: from this one on, this many."""


def _text(chance: random.Random, traffic: Traffic) -> _Make:
    values = [_value(chance, traffic.value_size) for _ in range(_VALUES)]
    keys = range(traffic.keys)

    def make(_: int, count: int) -> list[Made]:
        drawn = zip(chance.choices(keys, k=count), chance.choices(values, k=count), strict=True)
        return [Made(key, number, b"key-%06d" % key, value) for key, (number, value) in drawn]

    return make


def _value(chance: random.Random, size: int) -> tuple[int, bytes]:
    number = chance.randint(100, 999)
    text = "".join(chance.choices(_SYLLABLES, k=size))
    frame = f'{{"n":{number},"text":""}}'
    return number, f'{frame[:-2]}{text[: size - len(frame)]}"}}'.encode()


_ORDER: Final = b'{"order_id":%d,"customer":"%b","note":"%b","amount":%d.%02d,"currency":"%b"}'
_ORDER_SIZE: Final = 93
"""Mean size of an order without a note."""


def _orders(chance: random.Random, traffic: Traffic) -> _Make:
    size = traffic.value_size - _ORDER_SIZE
    notes = ["".join(chance.choices(_SYLLABLES, k=size))[:size].encode() for _ in range(_VALUES)]
    keys = range(traffic.keys)

    def make(first: int, count: int) -> list[Made]:
        drawn = zip(
            range(10_000_000 + first, 10_000_000 + first + count),
            chance.choices(keys, k=count),
            chance.choices(range(100, 100_000), k=count),
            chance.choices(notes, k=count),
            chance.choices(_CURRENCIES, k=count),
            strict=True,
        )
        return [_order(*one) for one in drawn]

    return make


def _order(order: int, key: int, cents: int, note: bytes, currency: bytes) -> Made:
    customer = b"customer-%06d" % key
    return Made(key, cents, customer, _ORDER % (order, customer, note, *divmod(cents, 100), currency))


def _timed(chance: random.Random, traffic: Traffic) -> _Make:
    untimed = _text(chance, traffic)

    def make(first: int, count: int) -> list[Made]:
        delays = chance.choices(range(0, OUT_OF_ORDER + 1, _STEP), k=count)
        times = (_BEGINNING + (first + number) // _AT_ONCE * _STEP - delay for number, delay in enumerate(delays))
        return [made._replace(timestamp=time) for made, time in zip(untimed(first, count), times, strict=True)]

    return make


_KINDS: Final[Mapping[str, Callable[[random.Random, Traffic], _Make]]] = {
    "text": _text,
    "orders": _orders,
    "timed": _timed,
}
