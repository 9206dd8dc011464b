"""Option `recovery`: whether it takes a snapshot each second into its own SQLite store."""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSink

from benchmarks.protocol import Task, read_task, report

Message: TypeAlias = KafkaSourceMessage[bytes | None, bytes | None]

_BATCH = 10_000
_STORES = 1


class Count(StatefulBatchLogic[None, int, int]):  # type: ignore[misc]
    """The count of one key, which is emitted at the end."""

    def __init__(self, count: int | None) -> None:
        self._count = count or 0

    def on_batch(self, values: list[None]) -> tuple[Iterable[int], bool]:
        self._count += len(values)
        return (), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[int], bool]:
        return (self._count,), StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        return self._count


def counting(task: Task, first: Callable[[], None], counts: list[tuple[str, int]]) -> Dataflow:
    """The flow from the topic to `counts`; calls `first` with each batch."""

    def keys(messages: list[Message]) -> list[tuple[str, None]]:
        first()
        return [(message.key.decode() if message.key else "", None) for message in messages]

    flow = Dataflow("count")
    source = KafkaSource([task.bootstrap_servers], [task.topic], tail=False, batch_size=_BATCH)
    keyed = op.flat_map_batch("keys", op.input("read", flow, source), keys)
    op.output("collect", op.stateful_batch("count", keyed, Count), TestingSink(counts))
    return flow


def main() -> None:
    """Count all records of the task."""
    task = read_task()
    counts: list[tuple[str, int]] = []
    times: list[float] = []
    flow = counting(task, lambda: times.append(time.time()), counts)
    interval = timedelta(seconds=1)
    cli_main(flow, epoch_interval=interval, recovery_config=recovery(task.directory, task.options["recovery"]))
    report(sum(count for _, count in counts), len(counts), times[0], time.time())


def recovery(directory: Path, wanted: bool) -> RecoveryConfig | None:
    """An empty recovery store, if one is wanted."""
    if not wanted:
        return None
    init_db_dir(directory, _STORES)
    return RecoveryConfig(directory)


if __name__ == "__main__":
    main()
