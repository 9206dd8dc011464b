"""The task of a contestant, and its result. It runs in each contestant's environment, so it imports nothing else.

A contestant is a command. The variable BENCHMARK holds its task, a JSON object: `bootstrap_servers`, `topic`,
`partitions`, `records`, `keys` (how many different ones there are), `group` (a name that no other run has),
`directory` (empty, for this run alone), `seconds` (after which it is killed) and its own options. It reads the topic
from the beginning, counts records by key, ends by itself when it has counted all, and then prints one line of JSON, the
last one on its standard output. With the option `amounts`, it sums the field `amount` of the JSON values by key
instead. The option says how it parses the values. With the option `window`, `tumbling` or `session`, it counts records
by key and window: of `length` milliseconds, or with a gap of so many. Event times are the timestamps of the records, of
which none is later than another one of its partition by more than `out_of_order` milliseconds. `keys` of its result are
then windows (null if it cannot tell those that are still open).

`records` and `keys` that it counted (keys may be null where it looks at none); `first`, the time at which it was ready
for its first fetch or, if it cannot tell, at which the first record reached its code; `last`, at which the last one was
counted and, where its state is durable, stored. Times are seconds since the epoch. If it sums, `total` is the sum of
the sums that it keeps: a text if they are exact decimals, a number if they are floats. If it measures a process of its
own, it adds that one's `cpu` (seconds) and `rss` (bytes).
"""

import json
import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["Task", "read_task", "report"]


@dataclass(frozen=True)
class Task:
    """The content of the variable BENCHMARK."""

    bootstrap_servers: str
    topic: str
    partitions: int
    records: int
    keys: int
    group: str
    directory: Path
    seconds: float
    options: dict[str, Any]


def read_task() -> Task:
    """The task of this process."""
    given = json.loads(os.environ["BENCHMARK"])
    names = [name for name in Task.__dataclass_fields__ if name not in ("directory", "options")]
    known = {name: given.pop(name) for name in names}
    return Task(**known, directory=Path(given.pop("directory")), options=given)


def report(
    records: int,
    keys: "int | None",
    first: float,
    last: float,
    *,
    total: "Decimal | float | None" = None,
    **measured: float,
) -> None:
    """Print the result."""
    result: dict[str, Any] = {"records": records, "keys": keys, "first": first, "last": last, **measured}
    if total is not None:
        result["total"] = str(total) if isinstance(total, Decimal) else total
    print(json.dumps(result), flush=True)  # noqa: T201 - the harness reads it
