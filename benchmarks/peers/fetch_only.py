"""aiokafka's fetcher alone: batches are taken from it unchanged, and only their offsets are read.

No Python program that reads with this client can be faster. It reaches into aiokafka's internals.
"""

import asyncio
import time

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher, FetchResult

from benchmarks.protocol import read_task, report


async def consume() -> None:
    """Fetch all records of the task."""
    task = read_task()
    consumer = AIOKafkaConsumer(
        task.topic, bootstrap_servers=task.bootstrap_servers, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    fetcher = consumer._fetcher
    first, got = time.time(), 0
    while got < task.records:
        if not fetcher._records:
            await asyncio.wait([fetcher._create_fetch_waiter()], timeout=1)
        got += drain(fetcher)
    last = time.time()
    await consumer.stop()
    report(got, None, first, last)


def drain(fetcher: Fetcher) -> int:
    """Take all that is fetched, and let the fetcher go on behind it. Returns the number of offsets."""
    taken = 0
    while fetcher._records:
        tp, result = fetcher._records.popitem(last=False)
        if not isinstance(result, FetchResult):
            result.check_raise()
        state = result._assignment.state_value(tp)
        records, position = result._partition_records._records, state.position
        while records.has_next():
            position = records.next_batch().next_offset
        taken += position - state.position
        state.consumed_to(position)
        fetcher._notify(fetcher._wait_consume_future)
    return taken


if __name__ == "__main__":
    asyncio.run(consume())
