"""Option `max_poll_records`: the largest batch."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from flechtwerk import Flechtwerk, IncomingMessage, Message, State, Transformer
from flechtwerk.attribute import INT, Attribute

from benchmarks.protocol import Task, read_task, report

_COUNT = Attribute("count", INT)
_LOOK_EVERY = 0.02


class Counting:
    """Counts in the state of each key, and in all."""

    def __init__(self) -> None:
        self.first = 0.0
        self.records = 0
        self.keys = 0

    async def transform(self, message: IncomingMessage, state: State) -> AsyncIterator[Message | State]:
        self.first = self.first or time.time()
        count = state.get(_COUNT) or 0
        self.records += 1
        self.keys += count == 0
        yield State({_COUNT: count + 1})


async def main() -> None:
    """Count all records of the task."""
    task = read_task()
    counting = Counting()
    application = Flechtwerk.of(
        application_id=task.group,
        bootstrap_servers=task.bootstrap_servers,
        client_id="flechtwerk",
        compression_type=None,
        max_poll_records=task.options["max_poll_records"],
        stage=Transformer.of(input_topics=[task.topic], transform=counting.transform),
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=task.bootstrap_servers)
    await admin.start()
    await create_changelog(admin, task)
    running = asyncio.create_task(application.run())
    while not running.done() and await committed(admin, task.group) < task.records:  # noqa: ASYNC110 - only the broker knows
        await asyncio.sleep(_LOOK_EVERY)
    last = time.time()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await admin.close()
    report(counting.records, counting.keys, counting.first, last)


async def create_changelog(admin: AIOKafkaAdminClient, task: Task) -> None:
    """As it would, and so that one broker is enough; beforehand, since it does not wait for the leaders."""
    configs = {"cleanup.policy": "compact", "min.insync.replicas": "1"}
    await admin.create_topics([NewTopic(f"{task.group}-changelog", task.partitions, 1, topic_configs=configs)])


async def committed(admin: AIOKafkaAdminClient, group: str) -> int:
    """Number of records that its transactions have committed."""
    offsets = await admin.list_consumer_group_offsets(group)
    return sum(max(0, offset.offset) for offset in offsets.values())


if __name__ == "__main__":
    uvloop.run(main())
