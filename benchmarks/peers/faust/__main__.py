"""Option `store`: where the table lives, as Faust writes it: memory:// or rocksdb://."""

import asyncio
import time

import faust
import mode.loop

from benchmarks.protocol import Task, read_task, report


async def count(task: Task) -> None:
    """Count all records of the task."""
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
    topic = app.topic(task.topic, key_type=str, key_serializer="raw", value_type=bytes, value_serializer="raw")
    counts = app.Table("counts", default=int, partitions=task.partitions, key_type=str, value_type=int)
    done: asyncio.Future[tuple[int, float]] = asyncio.get_running_loop().create_future()

    async def counting(stream: faust.Stream[bytes]) -> None:
        first, records, keys = 0.0, 0, 0
        async for event in stream.events():
            first = first or time.time()
            count = counts[event.key]
            counts[event.key] = count + 1
            records += 1
            keys += count == 0
            if records == task.records:
                done.set_result((keys, first))

    app.agent(topic)(counting)
    async with app:
        keys, first = await done
        await app.producer.flush()
        await app.consumer.commit()
        report(task.records, keys, first, time.time())


if __name__ == "__main__":
    mode.loop.use("uvloop")
    asyncio.run(count(read_task()))
