"""Option `recovery`: whether it takes a snapshot each second into its own SQLite store.

With the option `window`, it counts in windows of event time.
With the option `amounts`, values are parsed, and it sums their amounts.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSink

from benchmarks.peers.loads import loads
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


class Sum(StatefulBatchLogic[float, float, float]):  # type: ignore[misc]
    """The sum of the amounts of one key, which is emitted at the end."""

    def __init__(self, total: float | None) -> None:
        self._total = total or 0.0

    def on_batch(self, values: list[float]) -> tuple[Iterable[float], bool]:
        self._total += sum(values)
        return (), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[float], bool]:
        return (self._total,), StatefulBatchLogic.RETAIN

    def snapshot(self) -> float:
        return self._total


def keyed(messages: list[Message]) -> list[tuple[str, None]]:
    """The keys."""
    return [(message.key.decode() if message.key else "", None) for message in messages]


def keyed_amounts(amounts: str) -> Callable[[list[Message]], list[tuple[str, float]]]:
    """The function for the keys and amounts, with values parsed in this way."""
    parse = loads(amounts)

    def keyed_amounts(messages: list[Message]) -> list[tuple[str, float]]:
        return [(message.key.decode() if message.key else "", parse(message.value)["amount"]) for message in messages]

    return keyed_amounts


def flow_of(task: Task, begin: Callable[[int], None], results: list[tuple[str, Any]]) -> Dataflow:
    """The flow from the topic to `results`; calls `begin` with the size of each batch."""
    amounts: str | None = task.options.get("amounts")
    logic, pairs = (Count, keyed) if amounts is None else (Sum, keyed_amounts(amounts))

    def begin_batch(messages: list[Message]) -> list[tuple[str, Any]]:
        begin(len(messages))
        return pairs(messages)

    flow = Dataflow("count")
    source = KafkaSource([task.bootstrap_servers], [task.topic], tail=False, batch_size=_BATCH)
    if "window" in task.options:
        messages = op.flat_map_batch("begin", op.input("read", flow, source), counted(begin))
        op.output("collect", windowed(task, messages), TestingSink(results))
        return flow
    stream = op.flat_map_batch("keys", op.input("read", flow, source), begin_batch)
    op.output("collect", op.stateful_batch("count", stream, logic), TestingSink(results))
    return flow


def counted(begin: Callable[[int], None]) -> Callable[[list[Message]], list[Message]]:
    """Passes batches on, after a call of `begin` with their sizes."""

    def pass_on(messages: list[Message]) -> list[Message]:
        begin(len(messages))
        return messages

    return pass_on


def windowed(task: Task, messages: Any) -> Any:
    """The stream of keys and counts of closed windows."""
    length = timedelta(milliseconds=int(task.options["length"]))
    # Its event time also goes on by the machine's clock, so with a shorter wait some old records would be late.
    clock = win.EventClock(lambda message: datetime.fromtimestamp(message.timestamp[1] / 1000, UTC), timedelta(hours=1))
    windower: Any = win.SessionWindower(length)
    if task.options["window"] == "tumbling":
        windower = win.TumblingWindower(length, datetime(1970, 1, 1, tzinfo=UTC))
    counts = win.count_window("count", messages, clock, windower, lambda message: (message.key or b"").decode())
    return op.map_value("numbers", counts.down, lambda window: window[1])


def main() -> None:
    """Count all records of the task, or sum their amounts."""
    task = read_task()
    results: list[tuple[str, Any]] = []
    batches: list[tuple[float, int]] = []
    flow = flow_of(task, lambda size: batches.append((time.time(), size)), results)
    interval = timedelta(seconds=1)
    cli_main(flow, epoch_interval=interval, recovery_config=recovery(task.directory, task.options["recovery"]))
    (first, _), last, total = batches[0], time.time(), sum(number for _, number in results)
    if "amounts" in task.options:
        report(sum(size for _, size in batches), len(results), first, last, total=total)
    else:
        report(total, len(results), first, last)


def recovery(directory: Path, wanted: bool) -> RecoveryConfig | None:
    """An empty recovery store, if one is wanted."""
    if not wanted:
        return None
    init_db_dir(directory, _STORES)
    return RecoveryConfig(directory)


if __name__ == "__main__":
    main()
