"""aiokafka's getmany in a loop, and no work at all."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer

from benchmarks.protocol import read_task, report


async def consume() -> None:
    """Get all records of the task."""
    task = read_task()
    consumer = AIOKafkaConsumer(
        task.topic, bootstrap_servers=task.bootstrap_servers, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    first, got = time.time(), 0
    while got < task.records:
        got += sum(map(len, (await consumer.getmany(timeout_ms=1000)).values()))
    last = time.time()
    await consumer.stop()
    report(got, None, first, last)


if __name__ == "__main__":
    asyncio.run(consume())
