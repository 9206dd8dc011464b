"""Option `store`: where the table lives, as Faust writes it: memory:// or rocksdb://.

With the option `window`, it counts in a table with tumbling windows.
With the option `amounts`, its JSON serializer parses the values, and it sums their amounts.
"""

import asyncio
import time
from datetime import timedelta
from operator import itemgetter
from typing import Any

import faust
import mode.loop

from benchmarks.protocol import Task, read_task, report


async def count(task: Task) -> None:
    """Count all records of the task, or sum their amounts."""
    sums = "amounts" in task.options
    number_of, kind = (itemgetter("amount"), float) if sums else (lambda _: 1, int)
    app = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap_servers}",
        store=task.options["store"],
        datadir=str(task.directory),
        topic_partitions=task.partitions,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        producer_linger=0.05,  # gathers what goes to the changelog; twice as fast
        web_enabled=False,
    )
    topic = app.topic(
        task.topic,
        key_type=str,
        key_serializer="raw",
        value_type=None if sums else bytes,  # Faust refuses dict
        value_serializer="json" if sums else "raw",
    )
    table: Any = app.Table("counts", default=kind, partitions=task.partitions, key_type=str, value_type=kind)
    if "window" in task.options:
        table = table.tumbling(int(task.options["length"]) / 1000, expires=timedelta(days=1000))
    done: asyncio.Future[tuple[int, float]] = asyncio.get_running_loop().create_future()

    async def adding(stream: faust.Stream[Any]) -> None:
        first, records, keys = 0.0, 0, 0
        async for event in stream.events():
            first = first or time.time()
            before = table[event.key].current(event) if "window" in task.options else table[event.key]
            table[event.key] = before + number_of(event.value)
            records += 1
            keys += before == 0
            if records == task.records:
                done.set_result((keys, first))

    app.agent(topic)(adding)
    async with app:
        keys, first = await done
        await app.producer.flush()
        await app.consumer.commit()
        last = time.time()
        report(task.records, keys, first, last, total=sum(table.values()) if sums else None)


if __name__ == "__main__":
    mode.loop.use("uvloop")
    asyncio.run(count(read_task()))
