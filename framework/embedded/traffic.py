"""Generated traffic, for trying things out without data of one's own."""

import json
import random
import time
from collections.abc import Iterator

from framework.embedded.inputs import InputRecord

__all__ = ["generate"]

_FRUIT = (
    "apple", "banana", "cherry", "date", "elderberry", "fig", "grape", "honeydew", "kiwi", "lemon", "mango",
    "nectarine", "orange", "papaya", "quince", "raspberry", "strawberry", "tangerine",
)  # fmt: skip


_TICKS = 20
"""Portions a second in which throttled traffic comes."""


def generate(*, rate: int | None = None, seed: int = 0) -> Iterator[InputRecord]:
    """Purchases of fruit without end, some fruit far more often than others; the same ones for the same seed.

    `rate` is the records a second at the most; waiting for them blocks.
    """
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    weights = [1 / rank for rank in range(1, len(_FRUIT) + 1)]
    number, began = 0, time.monotonic()
    while True:
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        for fruit in chance.choices(_FRUIT, weights, k=max(1, (rate or 20_000) // _TICKS)):
            number += 1
            value = json.dumps({"fruit": fruit, "amount": round(chance.uniform(0.5, 20), 2)})
            yield InputRecord(fruit.encode(), value.encode(), number)
