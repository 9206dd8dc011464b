"""Option `changelog`: whether its state is also written to changelog topics, without which it lives on one machine."""

import time

from quixstreams import Application, State

from benchmarks.protocol import read_task, report


class Counting:
    """Counts in the state of each key, and in all."""

    def __init__(self) -> None:
        self.first = 0.0
        self.records = 0
        self.keys = 0

    def __call__(self, value: bytes, state: State) -> None:
        self.first = self.first or time.time()
        count = state.get("count", 0)
        state.set("count", count + 1)
        self.records += 1
        self.keys += count == 0


def main() -> None:
    """Count all records of the task."""
    task = read_task()
    app = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=task.directory / "state",
        use_changelog_topics=task.options["changelog"],
        loglevel="WARNING",
    )
    topic = app.topic(task.topic, key_deserializer="str", value_deserializer="bytes")
    counting = Counting()
    app.dataframe(topic).update(counting, stateful=True)
    app.run(count=task.records, collect=False)
    report(counting.records, counting.keys, counting.first, time.time())


if __name__ == "__main__":
    main()
