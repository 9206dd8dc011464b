"""Option `changelog`: whether its state is also written to changelog topics, without which it lives on one machine.

With the option `window`, it counts in tumbling windows, and tells only the number of records that it has read.
With the option `amounts`, its JSON deserializer parses the values, and it sums their amounts.
"""

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from quixstreams import Application, State

from benchmarks.protocol import read_task, report


class Adding:
    """Adds `number_of(value)` to the state of each key."""

    def __init__(self, number_of: Callable[[Any], Any]) -> None:
        self._number_of = number_of
        self.total: Any = 0
        self.first = 0.0
        self.records = 0
        self.keys = 0

    def __call__(self, value: Any, state: State) -> None:
        self.first = self.first or time.time()
        before = state.get("sum", 0)
        after = before + self._number_of(value)
        state.set("sum", after)
        self.records += 1
        self.keys += before == 0
        self.total += after - before


class Counting:
    """Counts the records that a windowed flow gets, and calls `done` at the last one."""

    def __init__(self, records: int, done: Callable[[], None]) -> None:
        self._expected = records
        self._done = done
        self.first = 0.0
        self.records = 0

    def __call__(self, value: Any) -> None:
        self.first = self.first or time.time()
        self.records += 1
        if self.records == self._expected:
            self._done()


def main() -> None:
    """Count all records of the task, or sum their amounts."""
    task = read_task()
    sums = "amounts" in task.options
    app = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=task.directory / "state",
        use_changelog_topics=task.options["changelog"],
        loglevel="WARNING",
    )
    topic = app.topic(task.topic, key_deserializer="str", value_deserializer="json" if sums else "bytes")
    if "window" in task.options:
        counting = Counting(task.records, app.stop)
        flow = app.dataframe(topic).update(counting)
        length, grace = (int(task.options[name]) for name in ("length", "out_of_order"))
        flow.tumbling_window(duration_ms=length, grace_ms=grace).count().final()
        app.run()
        report(counting.records, None, counting.first, time.time())
        return
    adding = Adding(itemgetter("amount") if sums else lambda _: 1)
    app.dataframe(topic).update(adding, stateful=True)
    app.run(count=task.records, collect=False)
    report(adding.records, adding.keys, adding.first, time.time(), total=adding.total if sums else None)


if __name__ == "__main__":
    main()
